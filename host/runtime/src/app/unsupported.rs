//! What components may import elsewhere and not here: refused at start, by name.

/// An interface's name without its version, what it is, and what to do instead.
const INTERFACES: &[(&str, &str, &str)] = &[
    ("fermyon:spin/llm", "large language models (Spin's Serverless AI)", MODELS),
    ("fermyon:spin/mqtt", "outgoing MQTT", QUEUES),
    ("spin:mqtt/mqtt", "outgoing MQTT", QUEUES),
    ("fermyon:spin/mysql", "MySQL", DATABASES),
    ("spin:mysql/mysql", "MySQL", DATABASES),
    ("fermyon:spin/postgres", "PostgreSQL", DATABASES),
    ("spin:postgres/postgres", "PostgreSQL", DATABASES),
    ("wasi:blobstore/", "`wasi:blobstore`", "use `tessera:blob/store@0.1.0`"),
    ("wasi:messaging/", "`wasi:messaging`", QUEUES),
    ("wasi:otel/", "`wasi:otel`", "build the component without it: the host traces every call"),
    ("wasi:nn/", "neural networks (`wasi:nn`)", MODELS),
];

const MODELS: &str = "call a model behind an HTTP API, which `allowed_outbound_hosts` has to name";
const QUEUES: &str = "use `tessera:queue/producer@0.1.0` and `consume`, or Redis";
const DATABASES: &str =
    "use SQLite (`sqlite_databases`), a key-value store, or a client that connects by `wasi:sockets`";

/// Why an import is not provided, if it is one that is known from elsewhere.
pub(super) fn reason(import: &str) -> Option<String> {
    let (_, what, instead) = INTERFACES.iter().find(|(name, ..)| {
        import.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('@') || name.ends_with('/'))
    })?;
    Some(format!("{what} is not provided here: {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_provided_is_named_in_any_version() {
        for import in [
            "fermyon:spin/llm@2.0.0",
            "fermyon:spin/llm",
            "spin:postgres/postgres@4.2.0",
            "wasi:otel/tracing@0.2.0-rc.2",
        ] {
            assert!(reason(import).is_some(), "{import}");
        }
        for import in ["fermyon:spin/key-value@2.0.0", "fermyon:spin/llms", "wasi:http/types@0.2.0"] {
            assert!(reason(import).is_none(), "{import}");
        }
    }
}
