//! What an owner wants of one MP3, beyond the application's defaults, and which values there are.

use serde::{Deserialize, Serialize};

/// The sample rates of MP3, in Hz.
pub const SAMPLE_RATES: [u32; 9] = [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
/// The loudness when it is asked for without a number, in LUFS.
pub const LOUDNESS: f64 = -16.0;

/// The bit rates offered at a sample rate, in kbit/s: those of its MPEG version, from 32 on.
#[must_use]
pub fn bitrates(sample_rate: u32) -> &'static [u32] {
    match sample_rate {
        ..16_000 => &[32, 40, 48, 56, 64],
        16_000..32_000 => &[32, 40, 48, 56, 64, 80, 96, 112, 128, 160],
        _ => &[32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    }
}

/// What an owner chose; what is absent is left to the application. Valid as the gateway keeps it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Choices {
    /// Constant bit rate, in kbit/s; never together with `vbr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u32>,
    /// Variable bit rate, by LAME's scale from 0 (best) to 9 (smallest).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vbr: Option<u8>,
    /// One channel, whatever the upload has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mono: bool,
    /// One of [`SAMPLE_RATES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Where the MP3 begins, in seconds of the upload's sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// Where it ends, in seconds of the upload's sound; behind `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// Integrated loudness (EBU R128), in LUFS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loudness: Option<f64>,
    /// Which of the upload's audio tracks, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<u32>,
    /// The language of the audio track: ISO 639, or a tag that begins with it (BCP 47).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_chosen_is_not_written() -> serde_json::Result<()> {
        assert_eq!(crate::to_json(&Choices::default())?, b"{}");
        let some = Choices { sample_rate: Some(22_050), mono: true, ..Choices::default() };
        assert_eq!(crate::to_json(&some)?, br#"{"mono":true,"sampleRate":22050}"#);
        assert_eq!(crate::from_json::<Choices>(br#"{"mono":true,"sampleRate":22050,"newer":1}"#)?, some);
        Ok(())
    }

    #[test]
    fn every_sample_rate_has_bit_rates() {
        for rate in SAMPLE_RATES {
            assert!(bitrates(rate).contains(&64) && bitrates(rate).is_sorted(), "{rate}");
        }
        assert_eq!((bitrates(12_000).last(), bitrates(24_000).last()), (Some(&64), Some(&160)));
    }
}
