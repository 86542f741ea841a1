//! What a file says about itself, and the ID3v2.4 tag that says it again at the beginning of the MP3.
//!
//! Players show these texts and pictures, so what is carried over is bounded and, but for line breaks in comments,
//! printable.

use std::borrow::Cow;

use id3::frame::{Comment, Picture, PictureType, Timestamp};
use id3::{Tag, TagLike, Version};
use symphonia::core::formats::{Attachment, FormatReader};
use symphonia::core::meta::{MetadataContainer, StandardTag, StandardVisualKey, Visual};

/// Characters of a title or a name; players show far less.
const MAX_TEXT: usize = 200;
/// Characters of a comment.
const MAX_COMMENT: usize = 4000;
/// Names of one kind, such as artists.
const MAX_NAMES: usize = 10;
/// Bytes of a cover; a larger one is left out.
const MAX_COVER: usize = 4 << 20;

/// What a file says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// The recording's name.
    pub title: Option<String>,
    artists: Vec<String>,
    album: Option<String>,
    album_artist: Option<String>,
    composer: Option<String>,
    genre: Option<String>,
    date: Option<String>,
    comment: Option<String>,
    track: Option<u32>,
    tracks: Option<u32>,
    disc: Option<u32>,
    discs: Option<u32>,
    cover: Option<Cover>,
}

/// A picture, JPEG or PNG.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cover {
    media_type: &'static str,
    data: Vec<u8>,
}

impl Tags {
    /// Gathers what an open file has: a title that was found elsewhere, then what is about itself, then about its track.
    /// What comes first counts.
    #[must_use]
    pub fn read(format: &mut dyn FormatReader, track: u32, title: Option<&str>) -> Self {
        let mut tags = Self::default();
        if let Some(title) = title {
            tags.take_one(&StandardTag::TrackTitle(title.to_owned().into()));
        }
        let mut metadata = format.metadata();
        loop {
            if let Some(revision) = metadata.current() {
                tags.take(&revision.media, false);
                let own = revision.per_track.iter().filter(|own| own.track_id == u64::from(track));
                own.for_each(|own| tags.take(&own.metadata, true));
            }
            // Newer ones, such as those behind the sound, say more than older ones, but say it later.
            if metadata.pop().is_none() {
                break;
            }
        }
        if tags.cover.is_none() {
            let files = format.attachments().iter().filter_map(|attachment| match attachment {
                Attachment::File(file) => Some(file),
                Attachment::VendorData(_) => None,
            });
            let covers = || files.clone().filter(|file| Cover::new(&file.data).is_some());
            let named = covers().find(|file| file.name.to_ascii_lowercase().contains("cover"));
            tags.cover = named.or_else(|| covers().next()).and_then(|file| Cover::new(&file.data));
        }
        tags
    }

    fn take(&mut self, container: &MetadataContainer, of_track: bool) {
        for tag in &container.tags {
            // A track's title names the track, such as "Director's commentary"; without another it is the best there is.
            match &tag.std {
                Some(std) => self.take_one(std),
                None if of_track => {}
                None => {
                    // What ID3 has no frame for has a frame for all, and its name in a field.
                    let described = tag.raw.sub_fields.iter().flat_map(|fields| fields.iter()).next();
                    let name = described.filter(|_| tag.raw.key == "TXXX").map(|field| field.value.to_string());
                    self.take_raw(name.as_deref().unwrap_or(&tag.raw.key), &tag.raw.value.to_string());
                }
            }
        }
        let front = |visual: &&Visual| visual.usage == Some(StandardVisualKey::FrontCover);
        let visuals = || container.visuals.iter();
        if self.cover.is_none() {
            let mut candidates = visuals().filter(front).chain(visuals().filter(|visual| !front(visual)));
            self.cover = candidates.find_map(|visual| Cover::new(&visual.data));
        }
    }

    fn take_one(&mut self, tag: &StandardTag) {
        let text = |field: &mut Option<String>, value: &str| {
            if field.is_none() {
                *field = Some(clean(value, MAX_TEXT)).filter(|value| !value.is_empty());
            }
        };
        let number = |field: &mut Option<u32>, value: u64| {
            *field = field.or(u32::try_from(value).ok().filter(|value| (1..10_000).contains(value)));
        };
        match tag {
            StandardTag::TrackTitle(value) => text(&mut self.title, value),
            StandardTag::Artist(value) if self.artists.len() < MAX_NAMES => {
                let name = clean(value, MAX_TEXT);
                if !name.is_empty() && !self.artists.contains(&name) {
                    self.artists.push(name);
                }
            }
            StandardTag::Album(value) => text(&mut self.album, value),
            StandardTag::AlbumArtist(value) => text(&mut self.album_artist, value),
            StandardTag::Composer(value) => text(&mut self.composer, value),
            StandardTag::Genre(value) => text(&mut self.genre, value),
            StandardTag::RecordingDate(value)
            | StandardTag::RecordingTime(value)
            | StandardTag::ReleaseDate(value)
            | StandardTag::ReleaseTime(value) => text(&mut self.date, value),
            StandardTag::RecordingYear(year) | StandardTag::ReleaseYear(year) => {
                text(&mut self.date, &year.to_string())
            }
            StandardTag::Comment(value) | StandardTag::Description(value) if self.comment.is_none() => {
                self.comment = Some(clean_lines(value, MAX_COMMENT)).filter(|value| !value.is_empty());
            }
            StandardTag::TrackNumber(value) => number(&mut self.track, *value),
            StandardTag::TrackTotal(value) => number(&mut self.tracks, *value),
            StandardTag::DiscNumber(value) => number(&mut self.disc, *value),
            StandardTag::DiscTotal(value) => number(&mut self.discs, *value),
            _ => {}
        }
    }

    /// What Symphonia hands on without a meaning, under the names that ffmpeg writes into MP3, Matroska and WAV.
    fn take_raw(&mut self, key: &str, value: &str) {
        let value = || std::sync::Arc::new(value.to_owned());
        // Matroska's names stand behind what they are about, mostly an album.
        let key = key.rsplit('@').next().unwrap_or_default().to_ascii_uppercase();
        let tag = match key.as_str() {
            "TITLE" | "INAM" => StandardTag::TrackTitle(value()),
            "ARTIST" | "IART" => StandardTag::Artist(value()),
            "ALBUM" | "IPRD" => StandardTag::Album(value()),
            "ALBUM_ARTIST" => StandardTag::AlbumArtist(value()),
            "COMPOSER" => StandardTag::Composer(value()),
            "GENRE" | "IGNR" => StandardTag::Genre(value()),
            "DATE" | "DATE_RECORDED" | "ICRD" => StandardTag::RecordingDate(value()),
            "COMMENT" | "ICMT" => StandardTag::Comment(value()),
            "TRACK" | "PART_NUMBER" | "IPRT" => {
                let value = value();
                let mut parts = value.split('/').map(|part| part.trim().parse().ok());
                if let Some(Some(number)) = parts.next() {
                    self.take_one(&StandardTag::TrackNumber(number));
                }
                match parts.next() {
                    Some(Some(total)) => StandardTag::TrackTotal(total),
                    _ => return,
                }
            }
            _ => return,
        };
        self.take_one(&tag);
    }

    /// Names the MP3 by the upload if the file has no name of its own; and whoever is the album's artist is the artist.
    #[must_use]
    pub fn or_named(mut self, file_name: &str) -> Self {
        let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
        let candidates = || [stem, file_name].into_iter().map(|name| clean(name, MAX_TEXT));
        if self.artists.is_empty() {
            self.artists.extend(self.album_artist.clone());
        }
        self.title = self.title.or_else(|| candidates().find(|title| !title.is_empty()));
        self
    }

    /// The tag's bytes.
    ///
    /// # Errors
    /// None that these texts can cause.
    pub fn id3v2(&self) -> id3::Result<Vec<u8>> {
        let mut tag = Tag::new();
        let artists = (!self.artists.is_empty()).then(|| Cow::from(self.artists.join("; ")));
        let texts = [
            ("TIT2", self.title.as_deref().map(Cow::from)),
            ("TPE1", artists),
            ("TALB", self.album.as_deref().map(Cow::from)),
            ("TPE2", self.album_artist.as_deref().map(Cow::from)),
            ("TCOM", self.composer.as_deref().map(Cow::from)),
            ("TCON", self.genre.as_deref().map(Cow::from)),
            ("TRCK", numbered(self.track, self.tracks)),
            ("TPOS", numbered(self.disc, self.discs)),
        ];
        for (frame, text) in texts {
            if let Some(text) = text {
                tag.set_text(frame, text);
            }
        }
        // Only what the standard has: a year, and more of a date if it is there.
        if let Some(date) = self.date.as_deref().and_then(timestamp) {
            tag.set_date_recorded(date);
        }
        if let Some(text) = &self.comment {
            tag.add_frame(Comment { lang: "XXX".into(), description: String::new(), text: text.clone() });
        }
        if let Some(cover) = &self.cover {
            tag.add_frame(Picture {
                mime_type: cover.media_type.into(),
                picture_type: PictureType::CoverFront,
                description: String::new(),
                data: cover.data.clone(),
            });
        }
        let mut bytes = Vec::new();
        tag.write_to(&mut bytes, Version::Id3v24)?;
        Ok(bytes)
    }
}

impl Cover {
    /// A picture by its first bytes, whatever it is called; none if it is of another kind, or too large.
    fn new(data: &[u8]) -> Option<Self> {
        let media_type = match data {
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
            _ => return None,
        };
        (data.len() <= MAX_COVER).then(|| Self { media_type, data: data.to_vec() })
    }
}

fn numbered(number: Option<u32>, total: Option<u32>) -> Option<Cow<'static, str>> {
    Some(Cow::from(match (number?, total) {
        (number, Some(total)) if total >= number => format!("{number}/{total}"),
        (number, _) => number.to_string(),
    }))
}

/// A date as ID3v2.4 has it, from any that begins with a year.
fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let year = text.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()))?;
        let date = text.get(..10).and_then(|date| date.parse().ok());
        date.or_else(|| year.parse().ok())
    })
}

fn clean(text: &str, most: usize) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    printable.trim().to_owned()
}

fn clean_lines(text: &str, most: usize) -> String {
    let printable = text.chars().filter(|c| *c == '\n' || !c.is_control()).take(most);
    printable.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn titled(own: Option<&str>, file_name: &str) -> String {
        let mut tags = Tags::default();
        if let Some(title) = own {
            tags.take_one(&StandardTag::TrackTitle(title.to_owned().into()));
        }
        tags.or_named(file_name).title.unwrap_or_default()
    }

    #[test]
    fn the_medias_own_title_goes_before_the_files_name() {
        assert_eq!(titled(Some("Harvest"), "vid_01.mp4"), "Harvest");
        assert_eq!(titled(Some(" \0 "), "my.holiday.mp4"), "my.holiday");
        assert_eq!(titled(None, ".mp4"), ".mp4");
        assert_eq!(titled(None, "a\r\nb\u{7}"), "a  b");
        assert_eq!(titled(None, &"ä".repeat(500)).chars().count(), MAX_TEXT);
    }

    #[test]
    fn the_tag_can_be_read_back() -> id3::Result<()> {
        let mut tags = Tags::default();
        for tag in [
            StandardTag::TrackTitle("Ünïcode 音楽 🎵".to_owned().into()),
            StandardTag::Artist("One".to_owned().into()),
            StandardTag::Artist("Two".to_owned().into()),
            StandardTag::Artist("One".to_owned().into()),
            StandardTag::ReleaseDate("2021-05-06T00:00:00Z".to_owned().into()),
            StandardTag::Comment("first line\nsecond\0".to_owned().into()),
            StandardTag::TrackNumber(3),
            StandardTag::TrackTotal(12),
            StandardTag::DiscNumber(u64::MAX),
        ] {
            tags.take_one(&tag);
        }
        tags.cover = Cover::new(b"\x89PNG\r\n\x1a\nrest");
        let bytes = tags.id3v2()?;
        assert_eq!(&bytes[..4], b"ID3\x04");
        let tag = Tag::read_from2(Cursor::new(&bytes))?;
        assert_eq!((tag.title(), tag.artist()), (Some("Ünïcode 音楽 🎵"), Some("One; Two")));
        assert_eq!((tag.track(), tag.total_tracks(), tag.disc()), (Some(3), Some(12), None));
        assert_eq!(tag.date_recorded().map(|date| (date.year, date.month, date.day)), Some((2021, Some(5), Some(6))));
        assert_eq!(tag.comments().map(|comment| comment.text.as_str()).collect::<Vec<_>>(), ["first line\nsecond"]);
        // The library is built without reading pictures.
        let picture = b"APIC";
        assert!(bytes.windows(4).any(|four| four == picture) && bytes.ends_with(b"\x89PNG\r\n\x1a\nrest"));
        Ok(())
    }

    #[test]
    fn covers_are_pictures_of_a_bounded_size() {
        assert_eq!(Cover::new(b"GIF89a"), None);
        assert_eq!(Cover::new(b"\xff\xd8\xff\xe0").map(|cover| cover.media_type), Some("image/jpeg"));
        let mut large = vec![0; MAX_COVER + 1];
        large[..3].copy_from_slice(b"\xff\xd8\xff");
        assert_eq!(Cover::new(&large), None);
    }

    #[test]
    fn dates_that_are_none_are_left_out() {
        let date = |text: &str| timestamp(text).map(|date| date.to_string());
        assert_eq!(date("1999"), Some("1999".into()));
        assert_eq!(date("1999-12-31"), Some("1999-12-31".into()));
        assert_eq!(date("1999 or so"), Some("1999".into()));
        assert_eq!(date("yesterday"), None);
        assert_eq!(date("日本語日本語"), None);
    }
}
