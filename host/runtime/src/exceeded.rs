//! A limit that a component met. The text says which one, and where in the manifest it is.

use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use wasmtime::component::ResourceTableError;

/// What a component had too much of.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error(
        "component `{component}` needs more memory than {limit} (`limits.memory` in `[component.{component}.tool.tessera]`)"
    )]
    Memory { component: Arc<str>, limit: ByteSize },
    #[error(
        "component `{component}` computed for more than {limit:?} (`limits.cpu_time` in `[component.{component}.tool.tessera]`)"
    )]
    CpuTime { component: Arc<str>, limit: Duration },
    #[error(
        "component `{component}` has too much work: {concurrency} calls at a time and {waiting} more that wait (`limits.concurrency` and `limits.waiting` in `[component.{component}.tool.tessera]`)"
    )]
    Work { component: Arc<str>, concurrency: usize, waiting: usize },
    #[error("there is no room for another instance of component `{component}`: {most} are at work")]
    Instances { component: Arc<str>, most: usize },
    #[error(
        "the response of component `{component}` is longer than {limit} (`limits.response_body` in `[component.{component}.tool.tessera]`)"
    )]
    ResponseBody { component: Arc<str>, limit: ByteSize },
}

/// Whether an instance trapped because it had too many resources, streams and futures open.
pub(crate) fn is_of_resources(error: &wasmtime::Error) -> bool {
    // Of the limit of handles Wasmtime tells by this text alone; a test notices if it gets another.
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || error.chain().any(|cause| cause.to_string().contains("store handle limit exceeded"))
}

impl Exceeded {
    /// Whether it refused work before any began.
    pub(crate) fn is_overload(&self) -> bool {
        matches!(self, Self::Work { .. } | Self::Instances { .. })
    }
}
