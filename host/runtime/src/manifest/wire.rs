//! The manifest as it is written: shapes and names of keys, nothing about their meaning.
//!
//! Every table refuses unknown keys, as Spin does. Values whose meaning is checked later carry
//! their place in the file.

mod profile;
mod version1;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use toml::{Spanned, Table};

use self::profile::Profile;
pub(super) use self::version1::Manifest1;

type Map<T> = BTreeMap<Spanned<String>, T>;

/// Read first: what it says decides how the rest is read.
#[derive(Deserialize)]
pub(super) struct Version {
    #[serde(alias = "spin_version")]
    pub(super) spin_manifest_version: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    #[serde(rename = "spin_manifest_version")]
    _version: IgnoredAny,
    pub(super) application: Application,
    #[serde(default)]
    pub(super) variables: Map<Variable>,
    pub(super) trigger: Option<Triggers>,
    #[serde(default)]
    pub(super) component: Map<Component>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Application {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) version: String,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default, rename = "authors")]
    _authors: Vec<String>,
    #[serde(default, rename = "targets")]
    _targets: IgnoredAny,
    #[serde(default)]
    pub(super) trigger: BTreeMap<String, Spanned<Table>>,
    #[serde(default, rename = "tool")]
    _tool: BTreeMap<String, Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variable {
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    pub(super) required: bool,
    pub(super) default: Option<String>,
    #[serde(default, rename = "secret")]
    _secret: bool,
}

/// `[trigger]`: the types that are known, and the names of the others.
#[derive(Default)]
pub(super) struct Triggers {
    pub(super) http: Vec<Spanned<HttpTrigger>>,
    pub(super) redis: Vec<Spanned<RedisTrigger>>,
    pub(super) others: Vec<Spanned<String>>,
}

impl<'de> Deserialize<'de> for Triggers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TriggersVisitor;

        impl<'de> Visitor<'de> for TriggersVisitor {
            type Value = Triggers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of lists, one for each type of trigger")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Triggers, A::Error> {
                let mut triggers = Triggers::default();
                while let Some(kind) = map.next_key::<Spanned<String>>()? {
                    if kind.get_ref() == "http" {
                        triggers.http = map.next_value()?;
                    } else if kind.get_ref() == "redis" {
                        triggers.redis = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        triggers.others.push(kind);
                    }
                }
                Ok(triggers)
            }
        }

        deserializer.deserialize_map(TriggersVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpTrigger {
    #[serde(default)]
    pub(super) id: String,
    pub(super) component: Option<Spanned<StringOr<Box<Component>>>>,
    pub(super) static_response: Option<Spanned<StaticResponse>>,
    pub(super) route: Spanned<StringOr<PrivateRoute>>,
    pub(super) executor: Option<Executor>,
    /// Spin's middleware.
    pub(super) dependencies: Option<Spanned<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedisTrigger {
    #[serde(default, rename = "id")]
    _id: String,
    pub(super) component: Spanned<StringOr<Box<Component>>>,
    pub(super) channel: Spanned<String>,
    pub(super) address: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrivateRoute {
    pub(super) private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Executor {
    pub(super) r#type: Spanned<String>,
    pub(super) argv: Option<Spanned<String>>,
    pub(super) entrypoint: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StaticResponse {
    pub(super) status_code: Option<u16>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    pub(super) source: Spanned<StringOr<Source>>,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    pub(super) variables: Map<Spanned<String>>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) files: Vec<Spanned<StringOr<Placement>>>,
    #[serde(default)]
    pub(super) exclude_files: Vec<String>,
    #[serde(default)]
    pub(super) allowed_http_hosts: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) allowed_outbound_hosts: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) key_value_stores: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) sqlite_databases: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) ai_models: Vec<Spanned<String>>,
    #[serde(default, rename = "targets")]
    _targets: IgnoredAny,
    pub(super) build: Option<Build>,
    #[serde(default)]
    pub(super) tool: Tools,
    #[serde(default)]
    pub(super) dependencies_inherit_configuration: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) dependencies: Map<Spanned<StringOr<Dependency>>>,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Placement {
    pub(super) source: String,
    pub(super) destination: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Build {
    pub(super) command: StringOr<Vec<String>>,
    pub(super) workdir: Option<String>,
    #[serde(default)]
    pub(super) watch: Vec<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
}

impl Build {
    /// A command and nothing else.
    fn of(command: StringOr<Vec<String>>) -> Self {
        Self { command, workdir: None, watch: Vec::new(), environment: BTreeMap::new() }
    }
}

/// One of Spin's five forms; which keys make which form is checked later.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dependency {
    pub(super) component: Option<Spanned<String>>,
    pub(super) path: Option<String>,
    pub(super) export: Option<String>,
    pub(super) inherit_configuration: Option<Spanned<toml::Value>>,
    pub(super) version: Option<Spanned<String>>,
    pub(super) url: Option<Spanned<String>>,
    #[serde(rename = "registry")]
    _registry: Option<String>,
    #[serde(rename = "package")]
    _package: Option<String>,
    pub(super) digest: Option<Spanned<String>>,
}

/// A Wasm file that is not here: by URL, or of a registry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) url: Option<Spanned<String>>,
    pub(super) digest: Option<Spanned<String>>,
    #[serde(default, rename = "registry")]
    _registry: IgnoredAny,
    #[serde(default, rename = "package")]
    _package: IgnoredAny,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
}

/// `[component.X.tool]`: one table is ours; the names of the others are kept to find slips.
#[derive(Default)]
pub(super) struct Tools {
    pub(super) tessera: Option<Tessera>,
    pub(super) others: Vec<Spanned<String>>,
}

impl<'de> Deserialize<'de> for Tools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ToolsVisitor;

        impl<'de> Visitor<'de> for ToolsVisitor {
            type Value = Tools;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of tables, one for each tool")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tools, A::Error> {
                let mut tools = Tools::default();
                while let Some(name) = map.next_key::<Spanned<String>>()? {
                    if name.get_ref() == "tessera" {
                        tools.tessera = Some(map.next_value()?);
                    } else {
                        map.next_value::<Table>()?;
                        tools.others.push(name);
                    }
                }
                Ok(tools)
            }
        }

        deserializer.deserialize_map(ToolsVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tessera {
    #[serde(default)]
    pub(super) blob_stores: Map<BlobAccess>,
    #[serde(default)]
    pub(super) publish: Vec<Spanned<String>>,
    pub(super) mail: Option<Mail>,
    #[serde(default)]
    pub(super) consume: Vec<Spanned<Consume>>,
    #[serde(default)]
    pub(super) limits: Limits,
    pub(super) reuse: Option<Reuse>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BlobAccess {
    Read,
    ReadWrite,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MailTable {
    pub(super) from: Vec<Spanned<String>>,
}

/// `true`, `false` or `{ from = […] }`.
pub(super) enum Mail {
    Switch(bool),
    Senders(MailTable),
}

impl<'de> Deserialize<'de> for Mail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MailVisitor;

        impl<'de> Visitor<'de> for MailVisitor {
            type Value = Mail;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, or a table with `from`, the senders' addresses")
            }

            fn visit_bool<E>(self, switch: bool) -> Result<Mail, E> {
                Ok(Mail::Switch(switch))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Mail, A::Error> {
                MailTable::deserialize(MapAccessDeserializer::new(map)).map(Mail::Senders)
            }
        }

        deserializer.deserialize_any(MailVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consume {
    pub(super) queue: Spanned<String>,
    pub(super) group: Option<Spanned<String>>,
    pub(super) concurrency: Option<Spanned<i64>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) max_attempts: Option<Spanned<i64>>,
    pub(super) max_depth: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) backoff: Backoff,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Backoff {
    pub(super) first: Option<Spanned<String>>,
    pub(super) max: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) memory: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) cpu_time: Option<Spanned<String>>,
    pub(super) concurrency: Option<Spanned<i64>>,
    pub(super) waiting: Option<Spanned<i64>>,
    pub(super) request_body: Option<Spanned<String>>,
    pub(super) response_body: Option<Spanned<String>>,
    pub(super) resources: Option<Spanned<i64>>,
    pub(super) connections: Option<Spanned<i64>>,
    pub(super) log_rate: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReuseTable {
    pub(super) requests: Option<Spanned<i64>>,
    pub(super) concurrent: Option<Spanned<i64>>,
}

/// `"never"` or `{ requests = N, concurrent = M }`.
pub(super) enum Reuse {
    Never,
    Bounded(ReuseTable),
}

impl<'de> Deserialize<'de> for Reuse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReuseVisitor;

        impl<'de> Visitor<'de> for ReuseVisitor {
            type Value = Reuse;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`\"never\"`, or a table with `requests` and `concurrent`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Reuse, E> {
                match text {
                    "never" => Ok(Reuse::Never),
                    other => Err(E::unknown_variant(other, &["never"])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Reuse, A::Error> {
                ReuseTable::deserialize(MapAccessDeserializer::new(map)).map(Reuse::Bounded)
            }
        }

        deserializer.deserialize_any(ReuseVisitor)
    }
}

/// A string, or a longer form in its place. Serde's untagged enums would lose both the place and
/// the reason of a fault in the longer form.
pub(super) enum StringOr<T> {
    String(String),
    Long(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for StringOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringOrVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for StringOrVisitor<T> {
            type Value = StringOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or its long form")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(StringOr::String(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(StringOr::Long)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                T::deserialize(SeqAccessDeserializer::new(seq)).map(StringOr::Long)
            }
        }

        deserializer.deserialize_any(StringOrVisitor(PhantomData))
    }
}
