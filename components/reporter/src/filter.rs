//! Which topics a list shows.

/// The longest filter, in bytes.
pub const MAX_FILTER: usize = 255;

/// A condition on topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of them.
    All,
    /// Those that contain this, without regard to case.
    Contains(String),
    /// Those that a queue pattern names: `*` is one word, `#` any number of words.
    Pattern(String),
}

impl Filter {
    /// A text with `*` or `#` is a pattern, another is contained.
    ///
    /// # Errors
    /// It is longer than [`MAX_FILTER`].
    pub fn parse(text: Option<&str>) -> Result<Self, String> {
        match text {
            None | Some("#") => Ok(Self::All),
            Some(text) if text.len() > MAX_FILTER => Err(format!("filter has more than {MAX_FILTER} bytes")),
            Some(text) if text.contains(['*', '#']) => Ok(Self::Pattern(text.into())),
            Some(text) => Ok(Self::Contains(text.to_lowercase())),
        }
    }

    /// True if a topic is shown.
    #[must_use]
    pub fn accepts(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Contains(text) => topic.to_lowercase().contains(text),
            Self::Pattern(pattern) => matches(pattern, topic),
        }
    }
}

/// Matches word by word. `reached` holds how many words of the topic the pattern so far may cover,
/// so the time is the product of both lengths whatever the pattern.
fn matches(pattern: &str, topic: &str) -> bool {
    let words: Vec<&str> = topic.split('.').collect();
    let mut reached = vec![false; words.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for part in pattern.split('.') {
        if part == "#" {
            let mut any = false;
            for cell in &mut reached {
                any |= *cell;
                *cell = any;
            }
        } else {
            let stepped = words.iter().zip(&reached).map(|(word, before)| *before && (part == "*" || part == *word));
            reached = std::iter::once(false).chain(stepped).collect();
        }
    }
    reached.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(filter: &str, topic: &str) -> bool {
        Filter::parse(Some(filter)).unwrap().accepts(topic)
    }

    #[test]
    fn plain_text_is_contained() {
        assert!(accepts("mail", "events.mailed") && accepts("MAIL", "events.mail-failed"));
        assert!(!accepts("video", "mp3"));
        assert!(Filter::parse(None).unwrap().accepts("anything"));
    }

    #[test]
    fn patterns_match_words() {
        for (pattern, topic) in [
            ("events.*", "events.mailed"),
            ("#", "mp3"),
            ("events.#", "events"),
            ("#.b.#", "a.b.c.d"),
            ("*.#.d", "a.d"),
        ] {
            assert!(accepts(pattern, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in [("events.*", "events"), ("*", "a.b"), ("#.x", "a.b"), ("events.*", "events.a.b")] {
            assert!(!accepts(pattern, topic), "{pattern} {topic}");
        }
    }

    #[test]
    fn a_pattern_cannot_take_long() {
        let pattern = vec!["#"; 127].join(".");
        let topic = vec!["a"; 127].join(".");
        assert!(accepts(&pattern, &topic));
        assert!(Filter::parse(Some(&"#".repeat(300))).is_err());
    }
}
