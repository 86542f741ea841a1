//! The outcomes of every capability call.

use std::error::Error as StdError;

/// What a failed call means for its caller.
///
/// One type serves all four contracts; each method's documentation names the outcomes it has. The
/// text is for whoever wrote the calling component; the source is for the host's log only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The named thing does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// A precondition did not hold; nothing was changed.
    #[error("conflict")]
    Conflict,
    /// A queue's group is at its depth limit; nothing was stored.
    #[error("full: {0}")]
    Full(String),
    /// Larger than a limit.
    #[error("too large: {0}")]
    TooLarge(String),
    /// Not granted.
    #[error("denied: {0}")]
    Denied(String),
    /// Malformed; trying again does not help.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A streamed body ended without having been completed; nothing was stored.
    #[error("incomplete: {0}")]
    Incomplete(String),
    /// A remote party refused for good; trying again does not help.
    #[error("rejected: {0}")]
    Rejected(String),
    /// A commit's publication was refused; nothing was applied.
    #[error("publication refused: {0}")]
    Publish(#[source] Box<Error>),
    /// The engine cannot serve the call now; trying again later may help.
    #[error("unavailable: {message}")]
    Unavailable {
        /// What is unavailable, without addresses or credentials.
        message: String,
        /// The cause, for the log.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// A fault of the host or its data.
    #[error("internal error: {message}")]
    Internal {
        /// What was being done.
        message: String,
        /// The cause, for the log.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

impl Error {
    /// An [`Error::Unavailable`] with its cause.
    pub fn unavailable(message: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable { message: message.into(), source: Some(source.into()) }
    }

    /// An [`Error::Internal`] with its cause.
    pub fn internal(message: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Internal { message: message.into(), source: Some(source.into()) }
    }
}

/// What capability calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
