//! PCM to MP3 with LAME.
//!
//! LAME begins its output with an empty frame in place of the info frame (Xing/LAME header), which it
//! knows only at the end: length, seek table, encoder delay and padding. So the output of [`Mp3`] is a
//! body whose first bytes are to be replaced by [`Mp3::info_frame`], which is as long.

use messages::Choices;
use messages::choices::{SAMPLE_RATES, bitrates};
use mp3lame_encoder::{BuildError, Builder, DualPcm, Encoder, FlushGap, FlushNoGap, MonoPcm, Quality, VbrMode};

use crate::loudness::Measured;
use crate::resample::Resampler;

/// The most sound of one file, in seconds: a day. A film has a hundredth of it, a bomb may have years.
const LONGEST: u32 = 24 * 60 * 60;
/// Samples per channel given to LAME at once.
const BLOCK: usize = 4608;
/// What LAME asks for at most when it flushes.
const FLUSH_BYTES: usize = 7200;

const QUALITIES: [Quality; 10] = [
    Quality::Best,
    Quality::SecondBest,
    Quality::NearBest,
    Quality::VeryNice,
    Quality::Nice,
    Quality::Good,
    Quality::Decent,
    Quality::Ok,
    Quality::SecondWorst,
    Quality::Worst,
];

/// How many bits a second may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BitRate {
    /// kbit/s; LAME takes the nearest that MP3 has at the sample rate.
    Constant(u32),
    /// LAME's scale from 0 (best) to 9 (smallest).
    Variable(u8),
}

/// How to convert.
#[derive(Clone)]
pub struct Settings {
    bit_rate: BitRate,
    quality: Option<Quality>,
    /// What the owner of this file wants.
    pub choices: Choices,
    /// What the file's sound was measured to be; without it no loudness is set.
    pub measured: Option<Measured>,
    /// The most sound that is converted, in seconds.
    pub longest: u32,
}

impl Default for Settings {
    /// 128 kbit/s at LAME's own choice of quality.
    fn default() -> Self {
        Self {
            bit_rate: BitRate::Constant(128),
            quality: None,
            choices: Choices::default(),
            measured: None,
            longest: LONGEST,
        }
    }
}

/// A setting has a value that LAME does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// Not a bit rate that is offered.
    #[error("MP3_BITRATE is `{0}`; set it to one of 32 40 48 56 64 80 96 112 128 160 192 224 256 320 (kbit/s)")]
    Bitrate(String),
    /// Not a quality.
    #[error("MP3_QUALITY is `{0}`; set it to a number from 0 (best) to 9 (fastest)")]
    Quality(String),
}

impl Settings {
    /// From the component's environment: `MP3_BITRATE` in kbit/s and `MP3_QUALITY`, 0 (best) to 9 (fastest);
    /// absent or empty means the default.
    ///
    /// # Errors
    /// A value is not one of the possible ones.
    pub fn parse(bitrate: Option<&str>, quality: Option<&str>) -> Result<Self, InvalidSetting> {
        let mut settings = Self::default();
        if let Some(text) = bitrate.map(str::trim).filter(|text| !text.is_empty()) {
            let known = text.parse().ok().filter(|kbit| bitrates(48_000).contains(kbit));
            settings.bit_rate = BitRate::Constant(known.ok_or_else(|| InvalidSetting::Bitrate(text.into()))?);
        }
        if let Some(text) = quality.map(str::trim).filter(|text| !text.is_empty()) {
            let known = text.parse().ok().and_then(|index: usize| QUALITIES.get(index));
            settings.quality = Some(*known.ok_or_else(|| InvalidSetting::Quality(text.into()))?);
        }
        Ok(settings)
    }

    /// With what the owner of a file wants.
    #[must_use]
    pub fn with(mut self, choices: Choices) -> Self {
        match (choices.bitrate, choices.vbr) {
            (Some(kbit), _) => self.bit_rate = BitRate::Constant(kbit),
            (None, Some(level)) => self.bit_rate = BitRate::Variable(level),
            (None, None) => {}
        }
        self.choices = choices;
        self
    }
}

/// LAME refused or failed; what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("LAME: {0}")]
pub struct EncodeError(String);

impl EncodeError {
    /// The channels have not as many samples each.
    pub(crate) fn uneven() -> Self {
        Self("the planes differ in length".into())
    }
}

impl From<BuildError> for EncodeError {
    fn from(error: BuildError) -> Self {
        Self(error.to_string())
    }
}

impl From<mp3lame_encoder::EncodeError> for EncodeError {
    fn from(error: mp3lame_encoder::EncodeError) -> Self {
        Self(error.to_string())
    }
}

/// An MP3 in the making.
pub struct Mp3 {
    lame: Encoder,
    /// Where the MP3 has another rate than the sound.
    resampler: Option<Resampler>,
    rate: u32,
    mp3_rate: u32,
    samples: u64,
}

impl Mp3 {
    /// An encoder for 1 or 2 channels at a sample rate, which is converted if MP3 does not know it. It begins with the
    /// place of an info frame, if that is wanted.
    ///
    /// # Errors
    /// LAME refuses the combination or has no memory.
    pub fn new(rate: u32, channels: usize, settings: Settings, info: bool) -> Result<Self, EncodeError> {
        let mut builder = Builder::new().ok_or(BuildError::NoMem)?;
        builder.set_num_channels(if channels == 1 { 1 } else { 2 })?;
        let mp3_rate = output_rate(rate, &settings.choices);
        builder.set_sample_rate(mp3_rate)?;
        builder.set_output_sample_rate(core::num::NonZeroU32::new(mp3_rate))?;
        match settings.bit_rate {
            BitRate::Constant(kbit) => {
                builder.set_vbr_mode(VbrMode::Off)?;
                set_bitrate(&mut builder, kbit)?;
            }
            BitRate::Variable(level) => {
                builder.set_vbr_mode(VbrMode::Mtrh)?;
                builder.set_vbr_quality(QUALITIES.get(usize::from(level)).copied().unwrap_or(Quality::Worst))?;
            }
        }
        if let Some(quality) = settings.quality {
            builder.set_quality(quality)?;
        }
        builder.set_to_write_vbr_tag(info)?;
        let lame = builder.build()?;
        let resampler = if rate == mp3_rate {
            None
        } else {
            let resampler = Resampler::new(rate, mp3_rate, if channels == 1 { 1 } else { 2 });
            Some(resampler.ok_or_else(|| EncodeError(format!("{rate} Hz cannot be converted")))?)
        };
        Ok(Self { lame, resampler, rate, mp3_rate, samples: 0 })
    }

    /// Encodes one plane of samples (-1 to 1) per channel, equally long, and appends what is ready to `out`.
    ///
    /// # Errors
    /// LAME failed.
    pub fn encode(&mut self, planes: &[&[f32]], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.samples = self.samples.saturating_add(planes.first().map_or(0, |plane| plane.len()) as u64);
        match &mut self.resampler {
            Some(resampler) => {
                let planes = resampler.process(planes);
                self.encode_resampled(&planes.iter().map(Vec::as_slice).collect::<Vec<_>>(), out)
            }
            None => self.encode_resampled(planes, out),
        }
    }

    fn encode_resampled(&mut self, planes: &[&[f32]], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (Some(left), right) = (planes.first(), planes.get(1)) else { return Ok(()) };
        let mut at = 0;
        while let Some(rest) = left.get(at..).filter(|rest| !rest.is_empty()) {
            let count = rest.len().min(BLOCK);
            out.reserve(mp3lame_encoder::max_required_buffer_size(BLOCK));
            match (rest.get(..count), right.map(|right| right.get(at..at + count))) {
                (Some(mono), None) => self.lame.encode_to_vec(MonoPcm(mono), out)?,
                (Some(left), Some(Some(right))) => self.lame.encode_to_vec(DualPcm { left, right }, out)?,
                _ => return Err(EncodeError::uneven()),
            };
            at += count;
        }
        Ok(())
    }

    /// Encodes what LAME still holds and appends it to `out`; the body is complete then.
    ///
    /// # Errors
    /// LAME failed.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.samples == 0 {
            return Ok(());
        }
        if let Some(resampler) = &mut self.resampler {
            let planes = resampler.finish();
            self.encode_resampled(&planes.iter().map(Vec::as_slice).collect::<Vec<_>>(), out)?;
        }
        out.reserve(mp3lame_encoder::max_required_buffer_size(0).max(FLUSH_BYTES));
        self.lame.flush_to_vec::<FlushGap>(out)?;
        Ok(())
    }

    /// Appends the rest of the frames encoded so far to `out`; what follows borrows no bits of theirs.
    ///
    /// # Errors
    /// LAME failed.
    pub fn flush_frames(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.reserve(mp3lame_encoder::max_required_buffer_size(0).max(FLUSH_BYTES));
        self.lame.flush_to_vec::<FlushNoGap>(out)?;
        Ok(())
    }

    /// Samples per channel in a frame (ISO 11172-3 and 13818-3).
    #[must_use]
    pub fn frame_samples(&self) -> u64 {
        if self.mp3_rate >= 32_000 { 1152 } else { 576 }
    }

    /// True if no sample rate is converted.
    #[must_use]
    pub fn keeps_rate(&self) -> bool {
        self.rate == self.mp3_rate
    }

    /// How long the info frame is, when something was encoded, in bytes; 0 if there is none.
    #[must_use]
    pub fn info_bytes(&self) -> usize {
        self.lame.lame_tag_size()
    }

    /// The info frame of the body that was finished; it takes the place of as many bytes at its start.
    /// Empty below 64 kbit/s, where a frame has no room for it.
    ///
    /// # Errors
    /// LAME makes none, as when nothing was encoded.
    pub fn info_frame(&self) -> Result<Vec<u8>, EncodeError> {
        let size = self.info_bytes();
        if self.samples == 0 {
            return Err(EncodeError("nothing was encoded".into()));
        }
        let mut frame = Vec::with_capacity(size);
        self.lame.lame_tag_encode_to_vec(&mut frame);
        if frame.len() == size { Ok(frame) } else { Err(EncodeError("no info frame".into())) }
    }

    /// Samples per channel encoded.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Seconds of sound encoded.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(self.rate)
    }
}

/// The rate of the MP3: the one that was chosen; or the input's, or the next higher one that exists and has the chosen
/// bit rate; or, above them all, the one of which the input's is a multiple.
fn output_rate(input: u32, choices: &Choices) -> u32 {
    if let Some(rate) = choices.sample_rate {
        return rate;
    }
    let fits = |rate: u32| choices.bitrate.is_none_or(|kbit| bitrates(rate).contains(&kbit));
    let next = SAMPLE_RATES.into_iter().find(|rate| *rate >= input && fits(*rate));
    next.unwrap_or(if input.is_multiple_of(11_025) { 44_100 } else { 48_000 })
}

/// A constant bit rate, of which the library's own type lacks one that MP3 has.
#[expect(unsafe_code, reason = "LAME's own setter, called as the library does")]
fn set_bitrate(builder: &mut Builder, kbit: u32) -> Result<(), BuildError> {
    let kbit = i32::try_from(kbit).map_err(|_| BuildError::BadBRate)?;
    // SAFETY: the pointer is LAME's and alive as long as the builder, and only a number is set.
    match unsafe { mp3lame_sys::lame_set_brate(builder.as_ptr(), kbit) } {
        0.. => Ok(()),
        _ => Err(BuildError::BadBRate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, seconds: f64) -> Vec<f32> {
        let count = (f64::from(rate) * seconds) as usize;
        (0..count).map(|i| (i as f64 / f64::from(rate) * 440.0 * std::f64::consts::TAU).sin() as f32 * 0.5).collect()
    }

    fn encode(rate: u32, channels: usize, seconds: f64, settings: Settings) -> Result<(Vec<u8>, f64), EncodeError> {
        let plane = sine(rate, seconds);
        let planes = vec![plane.as_slice(); channels];
        let mut mp3 = Mp3::new(rate, channels, settings, true)?;
        let mut body = Vec::new();
        mp3.encode(&planes, &mut body)?;
        mp3.finish(&mut body)?;
        let info = mp3.info_frame()?;
        body.splice(..info.len(), info);
        Ok((body, mp3.seconds()))
    }

    #[test]
    fn the_body_starts_with_an_info_frame_that_says_its_length() -> Result<(), EncodeError> {
        let (body, seconds) = encode(44_100, 2, 3.0, Settings::default())?;
        assert!((seconds - 3.0).abs() < 1e-9);
        let at = body.windows(4).position(|four| four == b"Info").expect("an Info header");
        assert_eq!(body[0], 0xff);
        let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().expect("four bytes"));
        let (flags, frames, bytes) = (number(at + 4), number(at + 8), number(at + 12));
        assert_eq!(flags & 3, 3);
        assert_eq!(bytes as usize, body.len());
        let lame = &body[at + 120..];
        assert_eq!(&lame[..4], b"LAME");
        let delay = u32::from(lame[21]) << 4 | u32::from(lame[22]) >> 4;
        let padding = (u32::from(lame[22]) & 15) << 8 | u32::from(lame[23]);
        assert_eq!(frames * 1152 - delay - padding, 3 * 44_100);
        Ok(())
    }

    #[test]
    fn every_bitrate_quality_rate_and_channel_count_works() -> Result<(), EncodeError> {
        for kbit in bitrates(44_100) {
            let settings = Settings::parse(Some(&kbit.to_string()), None).expect("a known bit rate");
            let (body, _) = encode(44_100, 2, 2.0, settings)?;
            let expected = *kbit as f64 * 1000.0 / 8.0 * 2.0;
            assert!((body.len() as f64 / expected - 1.0).abs() < 0.1, "{kbit}: {}", body.len());
        }
        for quality in 0..10 {
            let settings = Settings::parse(None, Some(&quality.to_string())).expect("a known quality");
            encode(32_000, 1, 0.2, settings)?;
        }
        for rate in [2000, 8000, 11_025, 22_050, 37_800, 44_100, 48_000, 88_200, 96_000, 192_000, 384_000] {
            for channels in [1, 2] {
                let (body, _) = encode(rate, channels, 0.5, Settings::default())?;
                assert!(body.len() > 1000, "{rate} {channels}: {}", body.len());
            }
        }
        Ok(())
    }

    #[test]
    fn a_single_sample_is_enough_but_nothing_is_not() -> Result<(), EncodeError> {
        assert!(encode(44_100, 2, 0.000_03, Settings::default())?.0.len() > 400);
        assert!(encode(44_100, 2, 0.0, Settings::default()).is_err());
        Ok(())
    }

    #[test]
    fn settings_that_lame_does_not_know_are_named() {
        assert!(matches!(Settings::parse(Some("129"), None), Err(InvalidSetting::Bitrate(text)) if text == "129"));
        assert!(matches!(Settings::parse(None, Some("best")), Err(InvalidSetting::Quality(_))));
        assert!(Settings::parse(Some(" "), Some("")).is_ok());
    }

    #[test]
    fn rates_are_kept_or_raised_or_divided() {
        let cases = [(1, 8000), (8000, 8000), (37_800, 44_100), (96_000, 48_000), (88_200, 44_100), (50_000, 48_000)];
        for (input, output) in cases {
            assert_eq!(output_rate(input, &Choices::default()), output);
        }
        let chosen = Choices { bitrate: Some(192), ..Choices::default() };
        assert_eq!((output_rate(8000, &chosen), output_rate(22_050, &chosen)), (32_000, 32_000));
        let chosen = Choices { sample_rate: Some(22_050), ..Choices::default() };
        assert_eq!(output_rate(48_000, &chosen), 22_050);
    }
}
