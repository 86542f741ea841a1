//! `[telemetry]`: where spans and metrics go.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::Config;
use super::reader::{Reader, Text};

/// A collector of OTLP over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    /// Its URL, without `/v1/traces`.
    pub(crate) endpoint: String,
    /// Sent with each message.
    pub(crate) headers: Vec<(String, SecretString)>,
    /// What the application is called there.
    pub(crate) service: String,
    /// The share of traces begun here that are recorded, from 0 to 1.
    pub(crate) sample: f64,
    /// How often metrics are sent.
    pub(crate) interval: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TelemetryTable {
    endpoint: Spanned<String>,
    service_name: Option<String>,
    sample: Option<Spanned<f64>>,
    interval: Option<Spanned<String>>,
    #[serde(default)]
    headers: BTreeMap<String, Text>,
}

const SERVICE: &str = "tessera";
const INTERVAL: Duration = Duration::from_secs(60);

pub(super) fn telemetry(reader: &mut Reader<'_>, value: Spanned<DeValue<'_>>) -> Option<Telemetry> {
    let table: TelemetryTable = reader.table(value)?;
    let endpoint = table.endpoint.get_ref();
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        reader.error(table.endpoint.span(), "this is no HTTP URL", "it looks like `http://localhost:4318`");
        return None;
    }
    let sample = table.sample.as_ref().map_or(1.0, |sample| *sample.get_ref());
    if !(0.0..=1.0).contains(&sample) {
        let span = table.sample.map_or(0..0, |sample| sample.span());
        reader.error(span, "a share is from 0.0 to 1.0", "1.0 records every trace");
        return None;
    }
    let interval = match &table.interval {
        Some(text) => super::engines::duration(reader, text)?,
        None => INTERVAL,
    };
    Some(Telemetry {
        endpoint: table.endpoint.into_inner(),
        headers: table.headers.into_iter().map(|(name, value)| (name, value.into_secret())).collect(),
        service: table.service_name.unwrap_or_else(|| SERVICE.to_owned()),
        sample,
        interval,
    })
}

impl Config {
    /// The collector that the configuration names, else the one that the environment does.
    pub(crate) fn collector(&self) -> Option<Telemetry> {
        self.telemetry.clone().or_else(|| Telemetry::from_environment(|name| std::env::var(name).ok()))
    }
}

impl Telemetry {
    /// What OpenTelemetry's usual environment variables say.
    fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let endpoint = variable("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|endpoint| !endpoint.is_empty())?;
        let headers = variable("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
        let headers = headers.split(',').filter_map(|header| header.split_once('='));
        let number = |name: &str| variable(name).and_then(|value| value.parse::<f64>().ok());
        let interval = variable("OTEL_METRIC_EXPORT_INTERVAL").and_then(|value| value.parse().ok());
        Some(Self {
            endpoint,
            headers: headers.map(|(name, value)| (name.trim().to_owned(), value.trim().into())).collect(),
            service: variable("OTEL_SERVICE_NAME").unwrap_or_else(|| SERVICE.to_owned()),
            sample: number("OTEL_TRACES_SAMPLER_ARG").filter(|share| (0.0..=1.0).contains(share)).unwrap_or(1.0),
            interval: interval.map_or(INTERVAL, Duration::from_millis).max(Duration::from_millis(100)),
        })
    }
}
