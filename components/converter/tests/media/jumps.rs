//! Parts go at once to their place in the file where its tables say where everything lies.

use std::fs;

use converter::convert::{Conversion, Converted};
use converter::decode::Audio;
use converter::encode::Settings;
use converter::plan::Made;
use converter::source::Source;
use converter::span::Span;

use super::workshop::{Workshop, ffmpeg};

/// All samples, and how many of them, at the start, were not given.
fn decoded(bytes: &[u8], from: u64) -> (u64, Vec<Vec<f32>>) {
    let mut audio = Audio::open(Source::new(bytes.to_vec()), "a").expect("a file");
    let skipped = audio.skip_before(from);
    let mut all = vec![Vec::new(); audio.channels()];
    while let Some(planes) = audio.next_block() {
        for (all, plane) in all.iter_mut().zip(planes) {
            all.extend(plane);
        }
    }
    assert_eq!(audio.warning(), None);
    (skipped, all)
}

#[test]
fn what_follows_a_jump_is_what_is_there_without_it() {
    let workshop = Workshop::new();
    for (name, options, jumps) in [
        ("a.m4a", "-vn -c:a aac -aac_pns 0", true),
        ("film.mp4", "-c:v mpeg4 -c:a aac -aac_pns 0", true),
        ("fast.mp4", "-c:v mpeg4 -c:a aac -aac_pns 0 -movflags +faststart", true),
        ("short pictures.mp4", "-c:v mpeg4 -t 7 -c:a aac -aac_pns 0", true),
        ("mp3.mp4", "-c:v mpeg4 -c:a libmp3lame", true),
        ("alac.m4a", "-vn -c:a alac", true),
        ("pcm.mov", "-c:v mpeg4 -c:a pcm_s16le", true),
        ("fragments.mp4", "-vn -c:a aac -aac_pns 0 -movflags +frag_keyframe+empty_moov -frag_duration 500000", false),
        ("a.flac", "-vn", false),
    ] {
        let source = workshop.make(name, &options.split(' ').collect::<Vec<_>>());
        let bytes = fs::read(source).expect("the fixture");
        let (_, whole) = decoded(&bytes, 0);
        let length = whole[0].len();
        for from in [0, 5000, 120_000, 200_001, length - 1, length + 99_999] {
            let (skipped, rest) = decoded(&bytes, from as u64);
            // Of packets of a sample each, some more.
            assert!(skipped > 0 || !jumps || from < 100_000, "{name} from {from}");
            assert!(skipped == 0 || jumps && from > 0, "{name} from {from}: {skipped} skipped");
            assert!(skipped <= from as u64, "{name} from {from}: {skipped} skipped");
            assert_eq!(skipped + rest[0].len() as u64, length as u64, "{name} from {from}");
            for (whole, rest) in whole.iter().zip(&rest) {
                let end = whole.get(from..).unwrap_or_default();
                assert!(rest.ends_with(end), "{name} from {from}");
            }
        }
    }
}

#[test]
fn what_nobody_listens_to_is_silence_as_long_as_the_sound() {
    let workshop = Workshop::new();
    for (name, options, most) in [
        ("a.mkv", "-vn -c:a aac -aac_pns 0", 0.0),
        ("film.mkv", "-c:v mpeg4 -c:a aac -aac_pns 0", 0.0),
        ("fragments.mp4", "-vn -c:a aac -aac_pns 0 -movflags +frag_keyframe+empty_moov -frag_duration 500000", 0.0),
        // What Opus remembers fades away.
        ("a.opus", "-vn -c:a libopus", 1e-3),
        ("a.webm", "-vn -c:a libopus -frame_duration 10", 1e-3),
        ("surround.mka", "-vn -ac 6 -c:a libopus -mapping_family 1", 1e-3),
        ("speech.webm", "-vn -c:a libopus -application voip -b:a 16k -ac 1 -frame_duration 60", 2e-2),
    ] {
        let source = workshop.make(name, &options.split(' ').collect::<Vec<_>>());
        let bytes = fs::read(source).expect("the fixture");
        let (_, whole) = decoded(&bytes, 0);
        let length = whole[0].len();
        for from in [0, 120_000, 200_001, length - 1, length + 99_999] {
            let (_, rest) = decoded(&bytes, from as u64);
            assert_eq!(rest[0].len(), length, "{name} from {from}");
            for (whole, rest) in whole.iter().zip(&rest) {
                let begun = rest.iter().skip(6000).position(|sample| *sample != 0.0).unwrap_or(length);
                assert!(begun > 50_000 || from == 0, "{name} from {from}: sound at {begun}");
                let apart = |(one, other): (&f32, &f32)| (one - other).abs();
                let furthest = whole.iter().zip(rest).skip(from).map(apart).fold(0.0, f32::max);
                assert!(furthest <= most, "{name} from {from}: {furthest}");
            }
        }
    }
}

#[test]
fn a_track_that_breaks_off_in_a_part_ends_there() {
    let workshop = Workshop::new();
    let source = workshop.path("broken.mp4");
    let sound = "aevalsrc='0.4*sin(2*PI*(200+10*t)*t)':s=8000:d=200";
    // With pictures, so that it lies in many pieces.
    let inputs = ["-f", "lavfi", "-i", sound, "-f", "lavfi", "-i", "color=s=16x16:r=1:d=200"];
    ffmpeg(inputs.iter().chain(&["-c:v", "mpeg4", "-c:a", "aac", source.to_str().expect("UTF-8")]));
    let mut bytes = fs::read(&source).expect("the fixture");
    // A chunk at a third of the file that lies nowhere.
    let table = bytes.windows(4).rposition(|four| four == b"stco").expect("chunks");
    let chunks = u32::from_be_bytes(bytes[table + 8..table + 12].try_into().expect("a count")) as usize;
    assert!(chunks > 30, "{chunks} chunks");
    let broken = table + 12 + chunks / 3 * 4;
    bytes[broken..broken + 4].copy_from_slice(&0x7fff_0000_u32.to_be_bytes());

    let convert = |span| {
        let opened = Conversion::open_span(Source::new(bytes.clone()), "a", Settings::default(), span);
        let mut conversion = opened.expect("a conversion");
        let mut body = Vec::new();
        while conversion.step(&mut body).expect("a step") {}
        (conversion.warning(), conversion)
    };
    let (warning, single) = convert(Span::WHOLE);
    let seconds = single.seconds();
    assert!(warning.is_some() && (30.0..100.0).contains(&seconds), "{seconds} s, {warning:?}");
    let mut plan = single.share(3).expect("parts");
    let spans: Vec<Span> = (0..3).filter_map(|index| plan.missing(index)).collect();
    for (index, span) in spans.iter().enumerate() {
        let (warning, conversion) = convert(*span);
        plan.make(index, Made { converted: conversion.converted().expect("a part"), warning });
    }
    let made = plan.complete().expect("all parts");
    let parts: Vec<Converted> = made.iter().map(|made| made.converted.clone()).collect();
    assert_eq!(made.iter().find_map(|made| made.warning), warning);
    assert_eq!(parts.iter().find_map(|part| part.samples).map(|samples| single.seconds_of(samples)), Some(seconds));
    let frames: u64 = parts.iter().map(|part| part.part.frames).sum();
    assert_eq!(frames, single.converted().expect("a measure").part.frames);
}
