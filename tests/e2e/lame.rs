//! LAME in Wasm, which has functions of its own in SIMD, makes the very bytes that LAME makes natively.

use converter::convert::Conversion;
use converter::encode::Settings;
use converter::source::Source;
use futures::StreamExt as _;
use reqwest::Method;

use crate::support::client::{User, Visitor, accepted};
use crate::support::media;
use crate::support::server::shared;

/// What a native build makes of a file, with the choices that the job's record has.
fn native(job: &serde_json::Value, source: Vec<u8>) -> Vec<u8> {
    let choices = if job["choices"].is_null() { serde_json::json!({}) } else { job["choices"].clone() };
    let settings = Settings::parse(Some("128"), None).unwrap().with(serde_json::from_value(choices).unwrap());
    let name = job["fileName"].as_str().unwrap();
    let mut conversion = Conversion::open(Source::new(source), name, settings).unwrap();
    let mut body = Vec::new();
    while conversion.step(&mut body).unwrap() {}
    let head = conversion.head().unwrap();
    body.splice(..head.replaces, head.bytes);
    body
}

async fn compare(user: &User, source: &[u8], query: &str) {
    let request = user.request(Method::POST, &format!("/upload?filename=a.wav{query}"));
    let request = request.header("content-type", "audio/wav").body(source.to_vec());
    let id = accepted(request.send().await.unwrap()).await;
    let job = user.done(&id).await;
    let made = user.download(&id).await.bytes().await.unwrap();
    let expected = native(&job, source.to_vec());
    let differs = made.iter().zip(&expected).position(|(one, other)| one != other);
    assert_eq!((made.len(), differs), (expected.len(), None), "{query}: {} bytes of sound", source.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mp3_is_bit_for_bit_that_of_a_native_build() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let source = std::fs::read(media::clip("wav")).unwrap();
    compare(&user, &source, "").await;
}

/// Two channels of sounds that bring each of LAME's ways about, some milliseconds of each: silence, the faintest noise,
/// tones, harmonics, clicks on silence (short blocks), noise on one side, noise that clips, decays.
fn patchwork(rate: u32, channels: u16, seconds: f64) -> Vec<u8> {
    let mut seed = 1_u64;
    let mut noise = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / f64::from(1_u32 << 30) - 1.0
    };
    let mut samples = Vec::new();
    for at in 0..(f64::from(rate) * seconds) as u32 {
        let time = f64::from(at) / f64::from(rate);
        let turn = |hertz: f64| (time * hertz * std::f64::consts::TAU).sin();
        let piece = (time * 13.0).fract();
        let (left, right) = match (time * 13.0) as u32 % 9 {
            0 => (0.0, 0.0),
            1 => (noise() * 3e-5, 0.0),
            2 => (turn(300.0 + 4000.0 * piece) * 0.4, turn(300.0 + 4000.0 * piece) * 0.4),
            3 => (turn(1432.0) * 0.6 + turn(4933.0) * 0.25, turn(1432.0) * -0.6),
            4 => (if at % 700 == 0 { 1.0 } else { 0.0 }, if at % 1111 == 0 { -1.0 } else { noise() * 1e-4 }),
            5 => (noise() * 0.3, noise() * 0.01),
            6 => (noise() * 1.8, noise() * 1.8),
            7 => (turn(440.0) * 0.3 * (piece * -8.0).exp(), noise() * 0.2 * (piece * -12.0).exp()),
            _ => {
                let tones: f64 = (1..20).map(|tone| turn(220.0 * f64::from(tone)) / f64::from(tone)).sum();
                (tones * 0.2, tones * 0.18)
            }
        };
        let channels = [left, right].into_iter().take(channels.into());
        samples.extend(channels.flat_map(|sample| ((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).to_le_bytes()));
    }
    let bytes = u32::try_from(samples.len()).unwrap();
    let mut file = b"RIFF".to_vec();
    file.extend((bytes + 36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * 2 * u32::from(channels)).to_le_bytes());
    file.extend((2 * channels).to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples);
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_at_every_bit_rate_sample_rate_and_channel_count() {
    let running = shared();
    let user = Visitor::of(&running.server).user().await;
    let mut cases = Vec::new();
    for (index, rate) in [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000].into_iter().enumerate()
    {
        let rates: &[&str] = match rate {
            ..16_000 => &["64"],
            16_000..32_000 => &["32", "160"],
            44_100 => &["32", "64", "96", "192", "320"],
            _ => &["128"],
        };
        let source = patchwork(rate, 2, 2.0);
        cases.extend(rates.iter().map(|kbit| (source.clone(), format!("&bitrate={kbit}"))));
        cases.push((source.clone(), format!("&vbr={index}")));
        cases.push((source, "&mono=true".to_owned()));
        cases.push((patchwork(rate, 1, 2.0), String::new()));
    }
    let each = cases.iter().map(|(source, query)| compare(&user, source, query));
    futures::stream::iter(each).buffer_unordered(2).collect::<Vec<()>>().await;
}
