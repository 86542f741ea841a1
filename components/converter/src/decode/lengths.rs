//! How long packets are, for whom they need not be decoded.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_OPUS};
use symphonia::core::formats::FormatId;
use symphonia::core::formats::well_known::{FORMAT_ID_ISOMP4, FORMAT_ID_MKV};
use symphonia::core::packet::Packet;

use super::{Audio, LOOK_BACK, MAX_SILENCE};
use crate::codecs;

/// The least that is decoded before the first sample that is listened to: four times the 80 ms that Opus wants (RFC 7845,
/// section 4.6), behind which a difference can still be measured.
const LEAST_LOOK_BACK: i64 = 4 * 3840;

/// What tells how many samples a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lengths {
    /// The container, to the sample.
    Container,
    /// The packet before: all of the stream are equally long.
    Usual,
    /// The packet's first bytes.
    Packet,
    /// Nothing but its decoder.
    Decoder,
}

impl Lengths {
    pub(super) fn of(container: FormatId, codec: AudioCodecId) -> Self {
        match (container, codec) {
            (FORMAT_ID_ISOMP4, _) => Self::Container,
            (_, CODEC_ID_OPUS) => Self::Packet,
            // Elsewhere, a stream of AAC may become another in its course.
            (FORMAT_ID_MKV, CODEC_ID_AAC) => Self::Usual,
            _ => Self::Decoder,
        }
    }
}

impl Audio {
    /// Whether what nobody listens to need not be decoded.
    #[must_use]
    pub fn can_skip(&self) -> bool {
        self.lengths != Lengths::Decoder
    }

    /// How many samples a packet has that begins there, if it is known without decoding it.
    pub(super) fn length(&self, packet: &Packet, start: i64, announced: Option<u64>) -> Option<u64> {
        let usual = self.usual as u64;
        let length = match self.lengths {
            // What packets are said to last and what they give may differ; whoever skips some must not come out
            // elsewhere.
            Lengths::Container => announced.filter(|length| *length == usual),
            // It is so as long as each packet begins where the one before ended, but for what times are rounded by.
            Lengths::Usual => {
                let follows = start.abs_diff(self.next_start) <= u64::from(self.rate / 500);
                (follows && self.is_plain(packet)).then_some(usual)
            }
            Lengths::Packet => codecs::opus_samples(&packet.data).filter(|_| self.is_plain(packet)),
            Lengths::Decoder => None,
        };
        length.filter(|length| (1..=MAX_SILENCE).contains(length))
    }

    /// Whether a packet's samples are all to be given as they are.
    fn is_plain(&self, packet: &Packet) -> bool {
        self.resampler.is_none() && packet.trim_start.get() == 0 && packet.trim_end.get() == 0
    }

    /// Whether a packet that begins there lies so far before what is listened to that not even the decoder looks back to
    /// it.
    pub(super) fn is_unheard(&self, start: i64, length: i64) -> bool {
        // Elsewhere than in a container that says it all, blocks are given one after the other, whatever their times.
        let place = if self.lengths == Lengths::Container { start } else { start.max(self.produced) };
        place.saturating_add(length.saturating_mul(LOOK_BACK).max(LEAST_LOOK_BACK)) < self.skipped
    }
}
