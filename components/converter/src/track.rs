//! Which of a file's audio tracks is converted.

use isolang::Language;
use messages::Choices;

/// What the owner said about the track; by default the file's own choice counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pick {
    /// The default track, or else the first one that can be decoded.
    #[default]
    Default,
    /// The audio track of this number, counted from 1.
    Number(u32),
    /// The first audio track in this language, the default one before others.
    Language(String),
}

impl From<&Choices> for Pick {
    fn from(choices: &Choices) -> Self {
        match (choices.track, &choices.language) {
            (Some(number), _) => Self::Number(number),
            (None, Some(language)) => Self::Language(language.clone()),
            (None, None) => Self::Default,
        }
    }
}

/// True if both name the same language, be it with two letters, three, or with a region behind.
#[must_use]
pub fn same_language(one: &str, other: &str) -> bool {
    let (one, other) = (primary(one), primary(other));
    one == other || language(&one).is_some_and(|known| language(&other) == Some(known))
}

/// The part of a language tag that names the language.
fn primary(tag: &str) -> String {
    tag.split(['-', '_']).next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn language(code: &str) -> Option<Language> {
    // ISO 639-2/B, which Matroska has, differs from the other lists in these twenty.
    let code = match code {
        "alb" => "sqi",
        "arm" => "hye",
        "baq" => "eus",
        "bur" => "mya",
        "chi" => "zho",
        "cze" => "ces",
        "dut" => "nld",
        "fre" => "fra",
        "geo" => "kat",
        "ger" => "deu",
        "gre" => "ell",
        "ice" => "isl",
        "mac" => "mkd",
        "mao" => "mri",
        "may" => "msa",
        "per" => "fas",
        "rum" => "ron",
        "slo" => "slk",
        "tib" => "bod",
        "wel" => "cym",
        code => code,
    };
    Language::from_639_1(code).or_else(|| Language::from_639_3(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_has_several_codes() {
        for (one, other) in
            [("de", "ger"), ("DE", "deu"), ("pt-BR", "por"), ("fr", "fre"), ("eng", "en-US"), ("und", "und")]
        {
            assert!(same_language(one, other), "{one} {other}");
        }
        for (one, other) in [("de", "dut"), ("en", "und"), ("", "en"), ("xx", "yy")] {
            assert!(!same_language(one, other), "{one} {other}");
        }
    }
}
