//! An MP3 that is made in parts sounds at their joints as one that is made at one go.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use converter::convert::{Conversion, Converted};
use converter::encode::Settings;
use converter::source::Source;
use converter::span::Span;
use messages::Choices;

use super::workshop::{Workshop, ffmpeg, samples};

const FRAME: usize = 1152;
/// Half a second of what lies around a joint.
const AROUND: usize = 22_050;

fn whole(workshop: &Workshop, source: &Path, settings: &Settings) -> PathBuf {
    let mut conversion = open(source, settings, Span::WHOLE);
    let mut body = Vec::new();
    while conversion.step(&mut body).expect("a step") {}
    let head = conversion.head().expect("a head");
    body.splice(..head.replaces, head.bytes);
    written(workshop.path("whole.mp3"), &body)
}

fn joined(workshop: &Workshop, source: &Path, settings: &Settings, spans: &[Span]) -> PathBuf {
    let mut body = Vec::new();
    let parts: Vec<Converted> = spans
        .iter()
        .map(|span| {
            let mut conversion = open(source, settings, *span);
            while conversion.step(&mut body).expect("a step") {}
            conversion.converted().expect("a part")
        })
        .collect();
    let head = open(source, settings, Span::WHOLE).joint_head(&parts).expect("a head");
    body.splice(..head.replaces, head.bytes);
    written(workshop.path("joined.mp3"), &body)
}

fn open(source: &Path, settings: &Settings, span: Span) -> Conversion {
    let bytes = fs::read(source).expect("the source");
    Conversion::open_span(Source::new(bytes), "source", settings.clone(), span).expect("a conversion")
}

fn written(path: PathBuf, bytes: &[u8]) -> PathBuf {
    fs::write(&path, bytes).expect("room for the MP3");
    File::open(&path).expect("the MP3").sync_all().expect("the disk");
    path
}

/// By how much a sound is stronger than what is wrong with it, in dB, between two samples of both channels.
fn snr(sound: &[f32], heard: &[f32], from: usize, to: usize) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for (one, other) in sound.iter().zip(heard).take(to * 2).skip(from * 2) {
        signal += f64::from(one * one);
        noise += f64::from((one - other) * (one - other));
    }
    10.0 * (signal / noise).log10()
}

#[test]
fn joints_are_as_good_as_what_lies_between() {
    let workshop = Workshop::new();
    let music = "aevalsrc='0.3*sin(2*PI*(200+30*t)*t)+0.2*sin(2*PI*(1400-11*t)*t)+0.05*(random(0)-0.5)\
                 |0.3*sin(2*PI*(300+17*t)*t)+0.2*sin(2*PI*(2000-23*t)*t)+0.05*(random(1)-0.5)':s=44100:d=30";
    let variable = Settings::default().with(Choices { vbr: Some(2), ..Default::default() });
    for (name, codec) in [("a.m4a", "aac"), ("a.wav", "pcm_s16le"), ("a.flac", "flac")] {
        let source = workshop.path(name);
        ffmpeg(["-f", "lavfi", "-i", music, "-c:a", codec, "-b:a", "256k", source.to_str().expect("UTF-8")]);
        for settings in [&Settings::default(), &variable] {
            let spans = Span::share(30 * 44_100 / FRAME as u64, 4);
            let sound = samples(&source, 2);
            let single = samples(&whole(&workshop, &source, settings), 2);
            let parts = samples(&joined(&workshop, &source, settings, &spans), 2);
            assert_eq!(parts.len(), single.len(), "{name}");
            for span in &spans[1..] {
                let joint = span.from as usize * FRAME;
                let quality = |heard: &[f32]| snr(&sound, heard, joint - AROUND, joint + AROUND);
                let (one, other) = (quality(&single), quality(&parts));
                println!("{name} at {:.2} s: {one:.2} dB at one go, {other:.2} dB in parts", joint as f64 / 44_100.0);
                assert!(one > 5.0, "the sounds lie over one another: {one:.1} dB");
                assert!(one - other < 1.0, "{name} at sample {joint}: {other:.1} dB instead of {one:.1} dB");
            }
        }
    }
}

/// Whoever makes a later part does not decode what comes before, and must not come out elsewhere for that.
#[test]
fn parts_of_a_film_whose_packets_are_said_to_last_longer_than_they_do_fit_together() {
    let workshop = Workshop::new();
    let source = workshop.path("slow.m4a");
    let sound = "aevalsrc='0.4*sin(2*PI*(200+40*t)*t)':s=44100:d=20";
    let options = ["-c:a", "aac", "-bsf:a", "setts=ts=PTS*1.05"];
    ffmpeg(["-f", "lavfi", "-i", sound].iter().chain(&options).chain(&[source.to_str().expect("UTF-8")]));
    let settings = Settings::default();
    let spans = Span::share(20 * 44_100 / FRAME as u64, 3);
    let single = samples(&whole(&workshop, &source, &settings), 2);
    let parts = samples(&joined(&workshop, &source, &settings, &spans), 2);
    assert_eq!(parts.len(), single.len());
    for second in 0..19 {
        let alike = snr(&single, &parts, second * 44_100, (second + 1) * 44_100);
        assert!(alike > 15.0, "from {second} s on: {alike:.1} dB");
    }
}
