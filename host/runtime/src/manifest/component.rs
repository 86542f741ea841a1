//! What a component is and what it may do. Values of these types are valid.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tessera_capability::queue::{Group, Pattern, Policy};

use super::{Inherit, Limits, Reuse, Route, Template};

/// A Wasm component with its grants; what is not in here is denied.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    /// The line of the manifest where its table begins, from 1.
    pub(crate) line: usize,
    /// Its Wasm file; whether it exists is not checked.
    pub(crate) source: PathBuf,
    /// Where to get its Wasm file, in place of `source`.
    pub(crate) remote: Option<Remote>,
    /// Environment variables.
    pub(crate) environment: BTreeMap<String, String>,
    /// Files it may read.
    pub(crate) files: Vec<Files>,
    /// Patterns of files that it may not read although `files` has them.
    pub(crate) exclude_files: Vec<String>,
    /// Its variables; [`super::resolve_variables`] gives their values.
    pub(crate) variables: BTreeMap<String, Template>,
    /// Key-value stores it may use, by label.
    pub(crate) key_value_stores: BTreeSet<String>,
    /// The Redis channels whose messages it gets.
    pub(crate) redis: Vec<RedisTrigger>,
    /// Labels of SQL databases.
    pub(crate) sqlite_databases: BTreeSet<String>,
    /// Blob stores it may use, by label.
    pub(crate) blob_stores: BTreeMap<String, BlobAccess>,
    /// Network destinations; [`super::resolve_variables`] makes them a matcher.
    pub(super) outbound_hosts: Vec<Template>,
    /// Queues it may publish to.
    pub(crate) publish: Vec<Pattern>,
    /// Whether and as whom it may send mail.
    pub(crate) mail: Option<MailGrant>,
    /// What it consumes, one for each group.
    pub(crate) consume: Vec<Consume>,
    /// Of each of its instances, and of their number.
    pub(crate) limits: Limits,
    /// How many requests an instance may serve; `None`: what its version of WASI suggests.
    pub(crate) reuse: Option<Reuse>,
    /// How to build it.
    pub(crate) build: Option<Build>,
    /// What satisfies which of its imports, by the import's name.
    pub(crate) dependencies: BTreeMap<String, Dependency>,
    /// The arguments to run it with for each request, if it is a program (WAGI).
    pub(crate) wagi: Option<String>,
}

/// Files that a component may read. Paths are as written, relative to the manifest's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Files {
    /// Those that match a glob pattern, under their own relative path.
    Pattern(String),
    /// A file or directory, at an absolute path in the guest.
    Placed {
        /// On the host.
        source: String,
        /// In the guest; begins with `/` and has no `..`.
        destination: String,
    },
}

/// What a component may do with a blob store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlobAccess {
    /// Get, head and list.
    Read,
    /// Everything.
    ReadWrite,
}

/// Permission to send mail as the configured sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MailGrant {
    /// Addresses that it may use as the sender besides.
    pub(crate) from: Vec<String>,
}

/// A group of consumers that a component's instances are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consume {
    /// The group; no other component has it.
    pub(crate) group: Group,
    /// The queues.
    pub(crate) patterns: Vec<Pattern>,
    /// How many messages are handled at the same time, at least 1.
    pub(crate) concurrency: usize,
    /// How long one attempt may take.
    pub(crate) timeout: Duration,
    /// What happens to failed deliveries.
    pub(crate) policy: Policy,
    /// How many messages the group may hold.
    pub(crate) max_depth: u64,
}

/// How a component is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Build {
    /// Shell commands, one after another; at least one.
    pub(crate) commands: Vec<String>,
    /// Where they run.
    pub(crate) workdir: PathBuf,
    /// Environment variables for them.
    pub(crate) environment: BTreeMap<String, String>,
    /// Patterns, relative to `workdir`, of the files that the commands read; empty: whatever is there.
    pub(crate) watch: Vec<String>,
}

/// What satisfies an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dependency {
    /// Another component of the application, in its own sandbox with its own grants.
    Component {
        /// Its id; it exists.
        id: String,
        /// The export to use; `None`: the one named as the import.
        export: Option<String>,
    },
    /// A component file, with the grants of who depends on it as far as it inherits them.
    File {
        /// The file; whether it exists is not checked.
        path: PathBuf,
        /// Where to get the file, in place of `path`.
        remote: Option<Remote>,
        /// What it inherits.
        inherit: Inherit,
        /// The export to use; `None`: the one named as the import.
        export: Option<String>,
    },
}

/// A Redis channel whose messages call a component.
#[derive(Debug, Clone)]
pub(crate) struct RedisTrigger {
    /// The server's URL.
    pub(crate) address: Template,
    /// The channel.
    pub(crate) channel: Template,
}

/// A file somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// By `http` or `https`.
    pub(crate) url: String,
    /// In lower-case hexadecimal.
    pub(crate) sha256: String,
}

/// What answers an HTTP route.
#[derive(Debug, Clone)]
pub(crate) struct HttpTrigger {
    /// The paths; `None` for a private route, which only other components reach.
    pub(crate) route: Option<Route>,
    /// The answer.
    pub(crate) handler: Handler,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Handler {
    /// The component with this id; it exists.
    Component(String),
    /// The host itself.
    Static(StaticResponse),
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StaticResponse {
    /// 200 to 599.
    pub(crate) status: u16,
    /// By name.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body.
    pub(crate) body: String,
}
