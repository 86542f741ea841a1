//! How records are written: one byte of format version, then postcard.

use serde::{Serialize, de::DeserializeOwned};

use super::fault::Fault;

/// The version of every record's format.
const FORMAT: u8 = 1;

pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Fault> {
    postcard::to_extend(record, vec![FORMAT]).map_err(Fault::Encode)
}

pub(super) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Fault> {
    decode_prefix(what, bytes).map(|(record, _)| record)
}

/// A record and the bytes that follow it.
pub(super) fn decode_prefix<'a, T: DeserializeOwned>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), Fault> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::take_from_bytes(rest).map_err(|source| Fault::Decode { what, source }),
        Some((&format, _)) => Err(Fault::Format { what, format }),
        None => Err(Fault::Format { what, format: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_format_is_refused() {
        let mut bytes = encode(&7_u64).unwrap();
        assert_eq!(decode::<u64>("number", &bytes).unwrap(), 7);
        bytes[0] = 9;
        assert!(matches!(decode::<u64>("number", &bytes), Err(Fault::Format { format: 9, .. })));
        assert!(decode::<u64>("number", &[]).is_err());
    }

    #[test]
    fn what_follows_a_record_is_handed_back() {
        let mut bytes = encode(&(1_u64, Some(2_u64))).unwrap();
        bytes.extend(b"value");
        let (record, rest): ((u64, Option<u64>), _) = decode_prefix("pair", &bytes).unwrap();
        assert_eq!((record, rest), ((1, Some(2)), &b"value"[..]));
    }
}
