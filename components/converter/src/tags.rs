//! The ID3v2 tag that begins an MP3.

use id3::{Tag, TagLike, Version};

/// Characters of a title; players show far less.
const MAX_TITLE: usize = 200;

/// The title of an MP3: the one the media has, or else the upload's name without its extension.
#[must_use]
pub fn title(own: Option<&str>, file_name: &str) -> String {
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
    let candidates = [own.unwrap_or_default(), stem, file_name];
    candidates.into_iter().map(clean).find(|title| !title.is_empty()).unwrap_or_default()
}

fn clean(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TITLE).collect();
    printable.trim().to_owned()
}

/// The tag's bytes, as ID3v2.3, which every player reads.
///
/// # Errors
/// None that a title can cause.
pub fn id3v2(title: &str) -> id3::Result<Vec<u8>> {
    let mut tag = Tag::new();
    tag.set_title(title);
    let mut bytes = Vec::new();
    tag.write_to(&mut bytes, Version::Id3v23)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_medias_own_title_goes_before_the_files_name() {
        assert_eq!(title(Some("Harvest"), "vid_01.mp4"), "Harvest");
        assert_eq!(title(Some(" \0 "), "my.holiday.mp4"), "my.holiday");
        assert_eq!(title(None, ".mp4"), ".mp4");
        assert_eq!(title(None, "a\r\nb\u{7}"), "a  b");
        assert_eq!(title(None, &"ä".repeat(500)).chars().count(), MAX_TITLE);
    }

    #[test]
    fn the_tag_can_be_read_back() -> id3::Result<()> {
        let bytes = id3v2("Ünïcode 音楽 🎵")?;
        assert_eq!(&bytes[..3], b"ID3");
        assert_eq!(Tag::read_from2(std::io::Cursor::new(&bytes))?.title(), Some("Ünïcode 音楽 🎵"));
        Ok(())
    }
}
