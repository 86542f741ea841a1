//! What an upload's parameters ask of the MP3: query parameters and form fields have the same names.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use api::Problem;
use http::StatusCode;
use messages::choices::{self, Choices};

/// The names that mean something; others are ignored.
pub const NAMES: [&str; 9] = ["bitrate", "vbr", "mono", "sampleRate", "start", "end", "loudness", "track", "language"];
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 64;

/// The latest time within an upload that can be named, in seconds: 100 hours.
const LATEST: f64 = 360_000.0;
const LOUDNESS: RangeInclusive<f64> = -40.0..=-5.0;
const TRACKS: RangeInclusive<u32> = 1..=99;

/// Choices as they come in, one parameter at a time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    choices: Choices,
    given: Vec<&'static str>,
}

impl Draft {
    /// Takes a parameter. An empty value counts as absent, as browsers send what was left blank.
    ///
    /// # Errors
    /// 400 for a value that makes no sense, or a second one.
    pub fn take(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let value = value.trim();
        let Some(name) = NAMES.into_iter().find(|known| *known == name).filter(|_| !value.is_empty()) else {
            return Ok(());
        };
        if self.given.contains(&name) {
            return Err(wrong(name, "is given twice"));
        }
        self.given.push(name);
        let choices = &mut self.choices;
        match name {
            "bitrate" => choices.bitrate = Some(one_of(name, value, choices::bitrates(48_000), " (kbit/s)")?),
            "vbr" => {
                let digit = value.strip_prefix(['V', 'v']).unwrap_or(value);
                choices.vbr = Some(within(name, digit, 0..=9, "V0 (best) to V9 (smallest)")?);
            }
            "mono" => {
                choices.mono = switch(value).ok_or_else(|| wrong(name, "is true or false"))?;
            }
            "sampleRate" => choices.sample_rate = Some(one_of(name, value, &choices::SAMPLE_RATES, " (Hz)")?),
            "start" => choices.start = Some(time(name, value)?),
            "end" => choices.end = Some(time(name, value)?),
            "loudness" => {
                choices.loudness = match switch(value) {
                    Some(wanted) => wanted.then_some(choices::LOUDNESS),
                    None => Some(within(name, value, LOUDNESS, "true, or a number from -40 to -5 (LUFS)")?),
                };
            }
            "track" => choices.track = Some(within(name, value, TRACKS, "a number from 1 to 99")?),
            _ => choices.language = Some(language(name, value)?),
        }
        Ok(())
    }

    /// What was chosen so far.
    ///
    /// # Errors
    /// 422 if the values, each possible by itself, do not go together.
    pub fn finish(&self) -> Result<Choices, Problem> {
        let Choices { bitrate, vbr, sample_rate, start, end, track, language, .. } = &self.choices;
        if bitrate.is_some() && vbr.is_some() {
            return Err(conflict("vbr", "bitrate (constant) and vbr (variable) exclude one another: choose one"));
        }
        if let (Some(bitrate), Some(rate)) = (bitrate, sample_rate)
            && !choices::bitrates(*rate).contains(bitrate)
        {
            let offered = list(choices::bitrates(*rate));
            let detail = format!("MP3 has no bitrate of {bitrate} kbit/s at a sampleRate of {rate} Hz, but {offered}");
            return Err(conflict("bitrate", detail));
        }
        if let Some(end) = end
            && *end <= start.unwrap_or(0.0)
        {
            return Err(conflict("end", "end must be later than start"));
        }
        if track.is_some() && language.is_some() {
            return Err(conflict("language", "track and language both name the audio track: choose one"));
        }
        Ok(self.choices.clone())
    }
}

fn wrong(name: &str, what: impl Display) -> Problem {
    Problem::bad_request(format!("{name} {what}")).with("parameter", name)
}

fn conflict(name: &str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("parameter", name)
}

fn list(values: &[u32]) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn one_of(name: &str, value: &str, known: &[u32], unit: &str) -> Result<u32, Problem> {
    let number = value.parse().ok().filter(|number| known.contains(number));
    number.ok_or_else(|| wrong(name, format!("is one of {}{unit}", list(known))))
}

fn within<T>(name: &str, value: &str, limits: RangeInclusive<T>, words: &str) -> Result<T, Problem>
where
    T: FromStr + PartialOrd,
{
    let number = value.parse().ok().filter(|number| limits.contains(number));
    number.ok_or_else(|| wrong(name, format!("is {words}")))
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Seconds, or `m:s`, or `h:m:s`; seconds may have a fraction.
fn time(name: &str, value: &str) -> Result<f64, Problem> {
    let parts: Vec<&str> = value.split(':').collect();
    let seconds = match parts.as_slice() {
        [seconds] => decimal(seconds),
        [minutes, seconds] => clock("0", minutes, seconds),
        [hours, minutes, seconds] => clock(hours, minutes, seconds),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| *seconds <= LATEST);
    seconds.ok_or_else(|| wrong(name, "is a time in seconds (90.5) or in hours, minutes and seconds (1:01:30.5)"))
}

fn clock(hours: &str, minutes: &str, seconds: &str) -> Option<f64> {
    let whole = |text: &str| decimal(text).filter(|_| !text.contains('.'));
    let hours = whole(hours)?;
    let minutes = whole(minutes).filter(|minutes| *minutes < 60.0 || hours == 0.0)?;
    let seconds = decimal(seconds).filter(|seconds| *seconds < 60.0)?;
    Some((hours * 60.0 + minutes) * 60.0 + seconds)
}

/// Digits, perhaps with a fraction: no signs, exponents or names of numbers.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

/// A language tag whose first part is a code of ISO 639.
fn language(name: &str, value: &str) -> Result<String, Problem> {
    let mut parts = value.split('-');
    let code = parts.next().unwrap_or_default();
    let well_formed = matches!(code.len(), 2 | 3)
        && code.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| matches!(part.len(), 1..=8) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if well_formed && value.len() <= MAX_VALUE {
        Ok(value.to_ascii_lowercase())
    } else {
        Err(wrong(name, "is a language's code, such as en, deu or pt-BR"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(parameters: &[(&str, &str)]) -> Result<Choices, Problem> {
        let mut draft = Draft::default();
        for (name, value) in parameters {
            draft.take(name, value)?;
        }
        draft.finish()
    }

    #[test]
    fn every_choice_can_be_made() {
        let all = draft(&[
            ("bitrate", "192"),
            ("mono", "true"),
            ("sampleRate", "44100"),
            ("start", "1:02:03.5"),
            ("end", " 4000 "),
            ("loudness", "-23"),
            ("language", "pt-BR"),
            ("unknown", "x"),
        ]);
        let expected = Choices {
            bitrate: Some(192),
            vbr: None,
            mono: true,
            sample_rate: Some(44_100),
            start: Some(3723.5),
            end: Some(4000.0),
            loudness: Some(-23.0),
            track: None,
            language: Some("pt-br".into()),
        };
        assert_eq!(all, Ok(expected));
        assert_eq!(draft(&[("vbr", "V0"), ("track", "2")]).map(|made| (made.vbr, made.track)), Ok((Some(0), Some(2))));
        assert_eq!(draft(&[("loudness", "true")]).map(|made| made.loudness), Ok(Some(-16.0)));
        assert_eq!(draft(&[("bitrate", ""), ("mono", "0"), ("loudness", "off")]), Ok(Choices::default()));
    }

    #[test]
    fn times_have_two_forms() {
        for (text, seconds) in [("0", 0.0), ("90.25", 90.25), ("1:30", 90.0), ("90:00", 5400.0), ("0:0:1.5", 1.5)] {
            assert_eq!(time("start", text), Ok(seconds), "{text}");
        }
        for text in
            ["-1", "+1", "1e3", "nan", "inf", ".5", "1:60", "1:60:00", "1.5:00", "1:2:3:4", "a", ":", "1:", "400000"]
        {
            assert!(time("start", text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_that_make_no_sense_are_400_and_name_their_parameter() {
        for (name, value) in [
            ("bitrate", "129"),
            ("bitrate", "8"),
            ("bitrate", "128k"),
            ("vbr", "10"),
            ("vbr", "-1"),
            ("mono", "stereo"),
            ("sampleRate", "96000"),
            ("loudness", "16"),
            ("loudness", "NaN"),
            ("loudness", "-70"),
            ("track", "0"),
            ("language", "klingon"),
            ("language", "e/n"),
            ("start", "soon"),
        ] {
            let problem = draft(&[(name, value)]).expect_err(value);
            assert_eq!(problem.status(), 400, "{name}={value}");
            assert!(problem.detail().starts_with(name), "{problem:?}");
        }
        assert_eq!(draft(&[("vbr", "2"), ("vbr", "3")]).expect_err("twice").detail(), "vbr is given twice");
    }

    #[test]
    fn values_that_exclude_one_another_are_422() {
        for parameters in [
            [("bitrate", "128"), ("vbr", "2")],
            [("bitrate", "320"), ("sampleRate", "22050")],
            [("bitrate", "80"), ("sampleRate", "8000")],
            [("start", "10"), ("end", "10")],
            [("start", "1:00"), ("end", "30")],
            [("track", "1"), ("language", "en")],
        ] {
            assert_eq!(draft(&parameters).expect_err("refused").status(), 422, "{parameters:?}");
        }
        assert_eq!(draft(&[("end", "0")]).expect_err("nothing is left").status(), 422);
    }
}
