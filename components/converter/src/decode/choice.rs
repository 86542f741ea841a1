//! Which of a file's tracks is converted.

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::formats::{FormatReader, Track, TrackFlags};
use symphonia::core::units::TimeBase;

use super::ticks::seconds;
use crate::codecs;
use crate::reason::Reason;
use crate::track::{Pick, same_language};

/// Channels that are believed; buffers are made for as many.
const MAX_CHANNELS: usize = 64;
const CROWDED: &str = "sound of more than 64 channels";

/// The track, and what its header says.
pub(super) struct Chosen {
    pub(super) id: u32,
    /// Samples at the start that the codec says are not meant to be heard.
    pub(super) priming: Option<u32>,
    pub(super) rate: Option<u32>,
    pub(super) time_base: Option<TimeBase>,
    pub(super) seconds: Option<f64>,
}

/// The track that was asked for. Otherwise the default audio track if it can be decoded, or else the first one that
/// can.
pub(super) fn choose(
    format: &dyn FormatReader,
    pick: &Pick,
    languages: &[(u32, String)],
) -> Result<(Chosen, Box<dyn AudioDecoder>), Reason> {
    let language = |track: &Track| {
        let elsewhere = || languages.iter().find(|(id, _)| *id == track.id).map(|(_, language)| language.clone());
        track.language.clone().or_else(elsewhere)
    };
    let audio = |track: &&Track| matches!(track.codec_params, Some(CodecParameters::Audio(_)));
    let is_default = |track: &&Track| track.flags.contains(TrackFlags::DEFAULT);
    let all = || format.tracks().iter().filter(audio);
    let picked: Vec<&Track> = match pick {
        Pick::Default => all().collect(),
        Pick::Number(number) => all().skip(number.saturating_sub(1) as usize).take(1).collect(),
        Pick::Language(wanted) => {
            all().filter(|track| language(track).is_some_and(|own| same_language(&own, wanted))).collect()
        }
    };
    if picked.is_empty() && all().next().is_some() {
        return Err(match pick {
            Pick::Language(_) => Reason::NoSuchLanguage(listed(all().filter_map(language))),
            _ => Reason::NoSuchTrack(all().count()),
        });
    }
    let tracks = || picked.iter().copied();
    let mut refused = None;
    for track in tracks().filter(is_default).chain(tracks().filter(|track| !is_default(track))) {
        let Some(CodecParameters::Audio(params)) = &track.codec_params else { continue };
        let crowded = params.channels.as_ref().is_some_and(|channels| channels.count() > MAX_CHANNELS);
        let decoder = if crowded { Err(Reason::Unsupported(Some(CROWDED))) } else { codecs::decoder(params) };
        match decoder {
            Ok(decoder) => {
                let chosen = Chosen {
                    id: track.id,
                    priming: codecs::priming(params),
                    rate: params.sample_rate,
                    time_base: track.time_base,
                    seconds: track.time_base.zip(track.duration).and_then(|(base, ticks)| seconds(base, ticks.get())),
                };
                return Ok((chosen, decoder));
            }
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    let unknown = format.tracks().iter().any(|track| track.codec_params.is_none());
    Err(refused.unwrap_or(if unknown && !has_pictures(format) { Reason::Unsupported(None) } else { Reason::NoAudio }))
}

/// Languages, for people; only what is fit to be shown.
fn listed(languages: impl Iterator<Item = String>) -> String {
    let printable = |language: &String| language.bytes().all(|byte| byte.is_ascii_graphic()) && language.len() < 36;
    let mut languages: Vec<String> =
        languages.filter(|language| language != "und" && printable(language)).take(20).collect();
    languages.dedup();
    languages.join(", ")
}

fn has_pictures(format: &dyn FormatReader) -> bool {
    format.tracks().iter().any(|track| matches!(track.codec_params, Some(CodecParameters::Video(_))))
}
