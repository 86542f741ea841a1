//! What can go wrong with the store itself, as opposed to a refusal that the contracts name.

use tessera_capability::Error;

/// A failure that aborts the whole transaction.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the store failed: {0}")]
    Store(#[from] fjall::Error),
    #[error("reading or writing the leases failed: {0}")]
    Leases(#[source] std::io::Error),
    #[error("a record cannot be written: {0}")]
    Encode(#[source] postcard::Error),
    #[error("a {what} record is damaged: {source}")]
    Decode { what: &'static str, source: postcard::Error },
    #[error("a {what} record has format {format}, which this version of Tessera does not know")]
    Format { what: &'static str, format: u8 },
    #[error("a {0} record is missing")]
    Missing(&'static str),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(_) | Fault::Leases(_) => Error::unavailable("the embedded store failed", fault),
            _ => Error::internal("read the embedded store", fault),
        }
    }
}

/// A step's answer to its caller, or the fault that aborts the transaction.
pub(super) type Step<T> = Result<Result<T, Error>, Fault>;
