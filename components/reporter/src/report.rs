//! What is kept of a delivery, and under which key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use messages::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The prefix of all reports; what follows sorts by time.
pub const REPORT_PREFIX: &str = "report/";
/// The prefix of the counters, one for each topic.
pub const COUNT_PREFIX: &str = "count/";

/// One event, as it is kept and listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The message's id.
    pub id: String,
    /// The queue it was published to.
    pub topic: String,
    /// When it was published, in RFC 3339.
    pub created_time: String,
    /// The message's body: its JSON, or its text, or `{"base64": …}` of other bytes.
    pub report_data: Value,
}

impl Report {
    /// What is kept of a message.
    #[must_use]
    pub fn new(id: &str, topic: &str, published: Timestamp, body: &[u8]) -> Self {
        Self { id: id.into(), topic: topic.into(), created_time: api::rfc3339(published), report_data: data(body) }
    }
}

fn data(body: &[u8]) -> Value {
    match (serde_json::from_slice(body), std::str::from_utf8(body)) {
        (Ok(json), _) => json,
        (_, Ok(text)) => text.into(),
        _ => serde_json::json!({ "base64": STANDARD.encode(body) }),
    }
}

/// A report's key: in byte order, reports are in the order of their publication.
#[must_use]
pub fn key(published: Timestamp, id: &str) -> Vec<u8> {
    format!("{REPORT_PREFIX}{published:020}/{id}").into_bytes()
}

/// The key of a topic's counter.
#[must_use]
pub fn count_key(topic: &str) -> Vec<u8> {
    format!("{COUNT_PREFIX}{topic}").into_bytes()
}

/// The topic and the number of a counter's entry; none for what is no counter.
#[must_use]
pub fn count<'a>(key: &'a [u8], value: &[u8]) -> Option<(&'a str, u64)> {
    let topic = std::str::from_utf8(key).ok()?.strip_prefix(COUNT_PREFIX)?;
    Some((topic, std::str::from_utf8(value).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_time_and_repeat_with_their_message() {
        assert!(key(999, "z") < key(1_000, "a"));
        assert!(key(u64::MAX - 1, "z") < key(u64::MAX, "a"));
        assert_eq!(key(5, "m"), key(5, "m"));
        assert_ne!(key(5, "m"), key(5, "n"));
        assert!(key(5, "m").starts_with(REPORT_PREFIX.as_bytes()));
    }

    #[test]
    fn any_body_can_be_kept() {
        let data = |body: &[u8]| Report::new("m", "t", 0, body).report_data;
        assert_eq!(data(br#"{"a":1}"#), serde_json::json!({"a": 1}));
        assert_eq!(data(b"plain words"), "plain words");
        assert_eq!(data(b""), "");
        assert_eq!(data(&[0xff, 0xfe]), serde_json::json!({"base64": "//4="}));
        let deep = "[".repeat(100_000);
        assert_eq!(data(deep.as_bytes()), deep, "too deep for JSON, so it is text");
    }

    #[test]
    fn reports_are_listed_as_the_api_says() {
        let json = serde_json::to_value(Report::new("m", "video", 1_700_000_000_000, b"1")).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"id": "m", "topic": "video", "createdTime": "2023-11-14T22:13:20.000Z", "reportData": 1})
        );
    }

    #[test]
    fn counters_are_read_back() {
        assert_eq!(count(&count_key("events.mailed"), b"7"), Some(("events.mailed", 7)));
        assert_eq!(count(b"report/1", b"7"), None);
        assert_eq!(count(&count_key("x"), b"-1"), None);
    }
}
