//! What users choose for each upload, and what ffmpeg finds in the MP3 that they get.

use std::path::Path;

use futures::StreamExt as _;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::client::{User, Visitor, accepted, problem};
use crate::support::media;
use crate::support::server::shared;
use crate::support::sound::Sound;

/// Converts a file with these parameters in the query; answers the job and the MP3's place.
async fn converted(user: &User, source: &Path, query: &[(&str, &str)], into: &Path) -> Value {
    let name = source.file_name().and_then(|name| name.to_str()).unwrap();
    let request = user.request(Method::POST, "/upload").query(&[("filename", name)]).query(query);
    let request = request.header("content-type", "application/octet-stream").body(std::fs::read(source).unwrap());
    let id = accepted(request.send().await.unwrap()).await;
    let job = user.done(&id).await;
    std::fs::write(into, user.download(&id).await.bytes().await.unwrap()).unwrap();
    job
}

#[tokio::test]
async fn bit_rate_channels_and_sample_rate_are_as_chosen() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.mp3");
    for (query, kbit, channels, rate) in [
        (&[("bitrate", "32")][..], 32, 2, "44100"),
        (&[("bitrate", "56"), ("mono", "true")], 56, 1, "44100"),
        (&[("bitrate", "192")], 192, 2, "44100"),
        (&[("bitrate", "320"), ("sampleRate", "48000")], 320, 2, "48000"),
        (&[("sampleRate", "22050"), ("bitrate", "64")], 64, 2, "22050"),
        (&[("sampleRate", "8000"), ("mono", "1")], 64, 1, "8000"),
    ] {
        let job = converted(&user, &media::clip("wav"), query, &path).await;
        let found = media::probe(&path);
        let stream = &found["streams"][0];
        assert_eq!((&stream["codec_name"], &stream["channels"]), (&json!("mp3"), &json!(channels)), "{query:?}");
        assert_eq!(stream["sample_rate"], rate, "{query:?}");
        let got: f64 = found["format"]["bit_rate"].as_str().unwrap().parse().unwrap();
        assert!((got / 1000.0 / f64::from(kbit) - 1.0).abs() < 0.05, "{query:?}: {got}");
        assert!((job["durationSeconds"].as_f64().unwrap() - 6.0).abs() < 0.05, "{query:?}: {job}");
        let heard = Sound::of(&path).seconds();
        assert!((heard - 6.0).abs() < 0.1, "{query:?}: {heard} s");
    }
}

#[tokio::test]
async fn variable_bit_rates_follow_their_scale() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.mp3");
    let mut sizes = Vec::new();
    for level in ["V0", "v4", "9"] {
        let job = converted(&user, &media::clip("wav"), &[("vbr", level)], &path).await;
        assert_eq!(job["choices"], json!({"vbr": level.trim_start_matches(['V', 'v']).parse::<u8>().unwrap()}));
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.windows(4).take(4096).any(|four| four == b"Xing"), "a header for variable rates");
        assert!((Sound::of(&path).seconds() - 6.0).abs() < 0.05);
        sizes.push(bytes.len());
    }
    assert!(sizes.is_sorted_by(|better, smaller| better > smaller), "{sizes:?}");
}

#[tokio::test]
async fn a_piece_is_cut_out() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let directory = tempfile::tempdir().unwrap();
    let (path, reference) = (directory.path().join("a.mp3"), directory.path().join("piece.wav"));
    for source in [media::clip("wav"), media::clip("mp4"), media::clip("mkv")] {
        let job = converted(&user, &source, &[("start", "0:01.5"), ("end", "4.25")], &path).await;
        assert_eq!(job["choices"], json!({"start": 1.5, "end": 4.25}));
        assert!((job["durationSeconds"].as_f64().unwrap() - 2.75).abs() < 0.001, "{job}");
        media::piece(&source, 1.5, 4.25, &reference);
        let (expected, heard) = (Sound::of(&reference), Sound::of(&path));
        assert!((heard.seconds() - 2.75).abs() < 0.05, "{}", heard.seconds());
        let correlation = expected.correlation(&heard);
        assert!(correlation > 0.98, "{}: correlation {correlation}", source.display());
    }
    // To the end, and from behind it.
    let job = converted(&user, &media::clip("wav"), &[("start", "5")], &path).await;
    assert!((job["durationSeconds"].as_f64().unwrap() - 1.0).abs() < 0.001, "{job}");
    let bytes = std::fs::read(media::clip("wav")).unwrap();
    let request = user.request(Method::POST, "/upload?filename=a.wav&start=1:00").body(bytes);
    let id = accepted(request.send().await.unwrap()).await;
    let job = user.finished(&id).await;
    assert_eq!(job["status"], "failed");
    assert_eq!(job["reason"], "The start you chose is behind the sound's end, at 0:00:06.");
}

#[tokio::test]
async fn the_audio_track_is_chosen_by_number_or_language() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.mp3");
    for extension in ["mkv", "mp4"] {
        let source = media::two_languages(extension);
        for (query, pitch) in [
            (&[][..], 440.0),
            (&[("track", "2")], 880.0),
            (&[("track", "1")], 440.0),
            (&[("language", "de")], 880.0),
            (&[("language", "deu")], 880.0),
            (&[("language", "en-GB")], 440.0),
        ] {
            converted(&user, &source, query, &path).await;
            let heard = Sound::of(&path).pitch();
            assert!((heard - pitch).abs() < 5.0, "{extension} {query:?}: {heard} Hz");
        }
        for (query, reason) in [
            ("track=3", "The file has no audio track of the number you chose: it has 2."),
            ("language=fr", "The file has no audio track in the language you chose. Its languages are: eng, ger."),
        ] {
            let request = user.request(Method::POST, &format!("/upload?{query}")).body(std::fs::read(&source).unwrap());
            let id = accepted(request.send().await.unwrap()).await;
            assert_eq!(user.finished(&id).await["reason"], reason, "{extension}");
        }
    }
}

#[tokio::test]
async fn loudness_is_set_and_nothing_clips() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.mp3");
    for (name, expression, choice, target) in [
        // -36 dBFS; nearly full scale; and soft with bursts that a gain alone would lift above full scale.
        ("soft.wav", "0.015*sin(2*PI*440*t)", "true", -16.0),
        ("hard.wav", "0.95*sin(2*PI*440*t)+0.05*(random(0)-0.5)", "-23", -23.0),
        ("bursts.wav", "0.05*sin(2*PI*440*t)*(1+14*lt(mod(t\\,1)\\,0.005))", "-14.5", -14.5),
    ] {
        let source = media::sound(name, expression);
        let before = media::loudness(&source);
        let job = converted(&user, &source, &[("loudness", choice), ("bitrate", "192")], &path).await;
        assert_eq!(job["choices"]["loudness"], json!(target));
        let (lufs, peak) = media::loudness(&path);
        assert!((lufs - target).abs() <= 1.0, "{name}: {lufs} LUFS, was {before:?}");
        assert!(peak <= -0.3, "{name}: a peak of {peak} dBTP, was {before:?}");
        assert!((Sound::of(&path).seconds() - 8.0).abs() < 0.05, "{name}");
    }
}

/// A form with fields before the file, and behind it.
async fn form(user: &User, before: &[(&str, &str)], behind: &[(&str, &str)]) -> reqwest::Response {
    let mut form = Form::new();
    for (name, value) in before {
        form = form.text((*name).to_owned(), (*value).to_owned());
    }
    form = form.part("file", Part::bytes(std::fs::read(media::short()).unwrap()).file_name("short.wav"));
    for (name, value) in behind {
        form = form.text((*name).to_owned(), (*value).to_owned());
    }
    user.post_form(form).await
}

#[tokio::test]
async fn a_forms_fields_are_choices_too() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let id = accepted(form(&user, &[("bitrate", "64"), ("other", "x")], &[("mono", "on"), ("vbr", "")]).await).await;
    assert_eq!(user.done(&id).await["choices"], json!({"bitrate": 64, "mono": true}));
    problem(form(&user, &[], &[("bitrate", "65")]).await, 400).await;
    problem(form(&user, &[("bitrate", "64")], &[("vbr", "1")]).await, 422).await;
    problem(form(&user, &[("language", &"x".repeat(100))], &[]).await, 400).await;
    assert_eq!(user.jobs().await.len(), 1, "what was refused made no job");
}

/// Nothing of the body is needed to see that a choice is wrong.
#[tokio::test]
async fn a_wrong_choice_is_refused_before_the_file_is_sent() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    for (query, status, detail) in [
        (
            "bitrate=129",
            400,
            "bitrate is one of 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320 (kbit/s)",
        ),
        ("vbr=V10", 400, "vbr is V0 (best) to V9 (smallest)"),
        ("start=soon", 400, "start is a time in seconds (90.5) or in hours, minutes and seconds (1:01:30.5)"),
        ("vbr=2&bitrate=128", 422, "bitrate (constant) and vbr (variable) exclude one another: choose one"),
        ("start=10&end=5", 422, "end must be later than start"),
    ] {
        // The file's beginning; the rest would never come.
        let begun =
            futures::stream::iter([Ok::<_, std::io::Error>(vec![0_u8; 1 << 10])]).chain(futures::stream::pending());
        let request = user.request(Method::POST, &format!("/upload?{query}"));
        let response = request.body(reqwest::Body::wrap_stream(begun)).send().await.expect("an answer");
        assert_eq!(problem(response, status).await, detail);
    }
    assert!(user.jobs().await.is_empty());
}
