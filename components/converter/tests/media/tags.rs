//! Titles, names and covers of real files, as ffprobe finds them in the MP3.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::workshop::{Workshop, ffmpeg};

const TEXTS: [(&str, &str); 7] = [
    ("title", "Über den Wolken"),
    ("artist", "Ada & Кирилл"),
    ("album", "音楽"),
    ("track", "3/12"),
    ("genre", "Chanson"),
    ("date", "2021-05-06"),
    ("comment", "Recorded live; 50 % off"),
];

fn probe(file: &Path) -> serde_json::Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_format", "-show_streams", "-of", "json"])
        .arg(file)
        .output()
        .expect("ffprobe, of Debian's package ffmpeg");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The picture that a file has, as it is.
fn cover(file: &Path) -> Vec<u8> {
    let options = ["-map", "0:v", "-c", "copy", "-f", "image2pipe", "-"].map(OsStr::new);
    ffmpeg([OsStr::new("-i"), file.as_os_str()].into_iter().chain(options))
}

#[test]
fn what_a_file_says_about_itself_is_carried_over() {
    let workshop = Workshop::new();
    let picture = |name: &str| {
        let path = workshop.path(name);
        let options = ["-f", "lavfi", "-i", "testsrc2=s=200x200", "-frames:v", "1", "-update", "1"].map(OsStr::new);
        ffmpeg(options.into_iter().chain([path.as_os_str()]));
        path
    };
    let (jpeg, png) = (picture("cover.jpg"), picture("cover.png"));
    for (name, image, codec) in [
        ("a.m4a", &jpeg, "aac"),
        ("b.m4a", &png, "alac"),
        ("a.flac", &jpeg, "flac"),
        ("b.flac", &png, "flac"),
        ("a.mp3", &jpeg, "libmp3lame"),
        ("a.mka", &jpeg, "flac"),
        ("a.ogg", &jpeg, "libvorbis"),
    ] {
        let path = workshop.path(name);
        let texts: Vec<String> = TEXTS.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let metadata: Vec<&str> = texts.iter().flat_map(|text| ["-metadata", text.as_str()]).collect();
        let image_text = image.to_str().expect("UTF-8");
        let attached =
            ["-attach", image_text, "-metadata:s:t", "mimetype=image/jpeg", "-metadata:s:t", "filename=cover.jpg"];
        let block = format!("METADATA_BLOCK_PICTURE={}", block(&fs::read(image).expect("the picture")));
        let sound = ["-f", "lavfi", "-i", "sine=duration=1"];
        let covered = match name {
            "a.mka" => [&sound[..], &attached].concat(),
            "a.ogg" => [&sound[..], &["-metadata:s:a", &block]].concat(),
            _ => {
                let map =
                    ["-i", image_text, "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"];
                [&sound[..], &map].concat()
            }
        };
        let arguments = [&covered[..], &["-c:a", codec], &metadata].concat();
        ffmpeg(arguments.iter().map(OsStr::new).chain([path.as_os_str()]));

        let mp3 = workshop.convert(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let bytes = fs::read(&mp3.path).expect("the MP3");
        assert_eq!(&bytes[..4], b"ID3\x04", "{name}");
        let found = probe(&mp3.path);
        for (key, value) in TEXTS {
            assert_eq!(found["format"]["tags"][key], value, "{name}: {key} in {found}");
        }
        let original = fs::read(image).expect("the picture");
        assert!(cover(&mp3.path) == original, "{name}: another cover");
    }
}

/// A picture as Vorbis comments carry it: a FLAC block in base64.
fn block(picture: &[u8]) -> String {
    use base64::Engine as _;
    let mut block = 3_u32.to_be_bytes().to_vec();
    block.extend(10_u32.to_be_bytes());
    block.extend(b"image/jpeg");
    block.extend([0; 4]);
    for number in [200_u32, 200, 24, 0, picture.len() as u32] {
        block.extend(number.to_be_bytes());
    }
    block.extend(picture);
    base64::engine::general_purpose::STANDARD.encode(block)
}

#[test]
fn a_cover_that_is_too_large_is_left_out() {
    let workshop = Workshop::new();
    let image = workshop.path("noise.png");
    let noise =
        ["-f", "lavfi", "-i", "nullsrc=s=2400x2400,geq=random(1)*255:128:128", "-frames:v", "1", "-update", "1"];
    ffmpeg(noise.iter().map(OsStr::new).chain([image.as_os_str()]));
    let size = fs::metadata(&image).expect("the picture").len();
    let path = workshop.path("a.flac");
    let map = ["-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"].map(OsStr::new);
    let input = ["-f", "lavfi", "-i", "sine=duration=1", "-i"].map(OsStr::new);
    ffmpeg(input.into_iter().chain([image.as_os_str()]).chain(map).chain([path.as_os_str()]));
    let mp3 = workshop.convert(&path).expect("an MP3");
    let streams = probe(&mp3.path)["streams"].as_array().expect("streams").len();
    assert_eq!(streams, 1, "a picture of {size} bytes");
    assert!(size > 4 << 20, "the picture is large: {size}");
}
