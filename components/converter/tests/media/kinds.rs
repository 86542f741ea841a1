//! Every kind of file: made by one ffmpeg command, decoded here and by ffmpeg, and compared.
//!
//! The table in `docs/converter.md` is made of this list: `UPDATE_KINDS=1 cargo test --release -p converter kinds`
//! writes it; `KINDS=Vorbis` checks those alone whose name has this word, and prints their lines. The test fails if a
//! kind or its result is not in it; the measured numbers are not compared, since they differ between versions of
//! ffmpeg.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::hearing::{decode, reference, snr};
use crate::workshop::{Workshop, ffmpeg};

/// Of every file.
const SECONDS: f64 = 3.1;
/// Between the lengths that are heard here and by ffmpeg.
const MAX_ERROR: f64 = 0.05;

pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    /// Of ffmpeg, behind the sources of sound and pictures; or with `{sound}` and `{pictures}` where these are to be.
    pub(crate) options: &'static str,
    pub(crate) result: Expected,
}

pub(crate) enum Expected {
    /// It is heard as ffmpeg hears it, but for noise that is so many decibels below.
    Heard { channels: usize, decibels: f64 },
    /// It is refused, in these words.
    Refused(&'static str),
}

const fn heard(name: &'static str, file: &'static str, options: &'static str, channels: usize, decibels: f64) -> Kind {
    Kind { name, file, options, result: Expected::Heard { channels, decibels } }
}

const fn refused(name: &'static str, file: &'static str, options: &'static str, reason: &'static str) -> Kind {
    Kind { name, file, options, result: Expected::Refused(reason) }
}

/// Six different channels of the two.
macro_rules! surround {
    () => {
        "-af pan=5.1|FL=c0|FR=c1|FC=0.5*c0+0.2*c1|LFE=0.1*c0|BL=0.3*c1|BR=0.4*c0"
    };
}

/// Eight of them.
macro_rules! eight {
    () => {
        "-af pan=7.1|FL=c0|FR=c1|FC=0.5*c0|LFE=0.1*c0|BL=0.3*c1|BR=0.4*c0|SL=0.2*c0|SR=0.6*c1"
    };
}

/// Seven of them.
macro_rules! seven {
    () => {
        "-af pan=6.1|FL=c0|FR=c1|FC=0.5*c1|LFE=c0|BC=0.4*c0|SL=c1|SR=0.2*c0"
    };
}

macro_rules! he_aac {
    ($version:literal) => {
        concat!("-i tests/media/fixtures/he-aac-v", $version, ".aac -map 2:a -c copy")
    };
}

/// Add a line for whatever is to work; the sound has two channels at 44.1 kHz unless the options say otherwise.
const KINDS: &[Kind] = &[
    heard("MPEG-TS, AAC", "aac.ts", "-c:v mpeg2video -c:a aac", 2, 60.0),
    heard("MPEG-TS, AAC in LATM", "latm.ts", "-c:v mpeg2video -c:a aac -mpegts_flags latm", 2, 60.0),
    heard("MPEG-TS, MP3", "mp3.ts", "-c:v mpeg2video -c:a libmp3lame", 2, 60.0),
    heard("MPEG-TS, MP2", "mp2.ts", "-c:v mpeg2video -c:a mp2", 2, 60.0),
    heard("MPEG-TS, 192-byte packets, AAC", "aac.m2ts", "-c:v mpeg2video -c:a aac -mpegts_m2ts_mode 1", 2, 60.0),
    heard("AVI, MP3", "mp3.avi", "-c:v mpeg4 -c:a libmp3lame", 2, 60.0),
    heard("AVI, MP3 VBR", "vbr.avi", "-c:v mpeg4 -c:a libmp3lame -q:a 4", 2, 60.0),
    heard("AVI, PCM", "pcm.avi", "-c:v mpeg4 -c:a pcm_s16le", 2, 90.0),
    heard("AVI, PCM, 8 bits, mono", "u8.avi", "-c:v mpeg4 -c:a pcm_u8 -ac 1", 1, 90.0),
    heard("AVI, MS ADPCM", "adpcm.avi", "-c:v mpeg4 -c:a adpcm_ms", 2, 60.0),
    heard("AVI, IMA ADPCM", "ima.avi", "-c:v mpeg4 -c:a adpcm_ima_wav", 2, 60.0),
    heard("AVI, MP2", "mp2.avi", "-c:v mpeg4 -c:a mp2", 2, 60.0),
    heard("AVI, AAC", "aac.avi", "-c:v mpeg4 -c:a aac", 2, 60.0),
    heard("FLV, AAC", "aac.flv", "-c:v flv1 -c:a aac", 2, 60.0),
    heard("FLV, MP3", "mp3.flv", "-c:v flv1 -c:a libmp3lame", 2, 60.0),
    heard("FLV, PCM", "pcm.flv", "-c:v flv1 -c:a pcm_s16le", 2, 90.0),
    refused("FLV, Nellymoser", "nelly.flv", "-c:v flv1 -c:a nellymoser -ac 1", "Nellymoser"),
    heard("FLV, ADPCM", "adpcm.flv", "-c:v flv1 -c:a adpcm_swf", 2, 60.0),
    heard("FLV, ADPCM, mono", "mono.flv", "-c:v flv1 -c:a adpcm_swf -ac 1 -ar 22050", 1, 60.0),
    heard("MPEG-PS of MPEG-1, MP2", "mpeg1.mpg", "-c:v mpeg1video -c:a mp2 -f mpeg", 2, 60.0),
    heard("MPEG-PS of a Video CD, MP2", "vcd.mpg", "-c:v mpeg1video -c:a mp2 -f vcd", 2, 60.0),
    heard("MPEG-PS of MPEG-2, MP2", "mpeg2.mpg", "-c:v mpeg2video -c:a mp2 -f vob", 2, 60.0),
    heard("MPEG-PS of MPEG-2, PCM", "pcm.vob", "-c:v mpeg2video -c:a pcm_dvd -ar 48000 -sample_fmt s16", 2, 90.0),
    heard("OGG, Opus", "a.opus", "-vn -c:a libopus -b:a 128k", 2, 40.0),
    heard("OGG, Opus, 2.5 ms", "short.opus", "-vn -c:a libopus -b:a 128k -frame_duration 2.5", 2, 40.0),
    heard("OGG, Opus, 60 ms", "long.opus", "-vn -c:a libopus -b:a 256k -frame_duration 60", 2, 40.0),
    // The other half of Opus, SILK, whose sound ffmpeg resamples in its own way.
    heard("OGG, Opus, speech", "voice.opus", "-vn -c:a libopus -b:a 24k -ac 1 -application voip", 1, 20.0),
    heard(
        "OGG, Opus, 5.1",
        "surround.opus",
        concat!("-vn -c:a libopus -b:a 384k -mapping_family 1 ", surround!()),
        2,
        40.0,
    ),
    heard("WebM, Opus", "opus.webm", "-c:v libvpx -deadline realtime -c:a libopus", 2, 40.0),
    heard("WebM, Opus, mono", "mono.webm", "-c:v libvpx -deadline realtime -c:a libopus -ac 1", 1, 40.0),
    heard(
        "MKV, Opus, 5.1",
        "surround.mkv",
        concat!("-c:v mpeg4 -c:a libopus -mapping_family 1 ", surround!()),
        2,
        40.0,
    ),
    heard("MP4, Opus", "opus.mp4", "-c:v mpeg4 -c:a libopus", 2, 40.0),
    heard("MP4, Opus, 5.1", "surround.mp4", concat!("-vn -c:a libopus -mapping_family 1 ", surround!()), 2, 40.0),
    heard("MPEG-TS, Opus", "opus.ts", "-c:v mpeg2video -c:a libopus", 2, 40.0),
    heard("MP4, AAC", "aac.mp4", "-c:v mpeg4 -c:a aac", 2, 60.0),
    heard("MP4, moov first", "faststart.mp4", "-c:v mpeg4 -c:a aac -movflags +faststart", 2, 60.0),
    heard("MP4, fragmented", "fragmented.mp4", "-c:v mpeg4 -c:a aac -movflags +frag_keyframe+empty_moov", 2, 60.0),
    heard("MP4, MP3", "mp3.mp4", "-c:v mpeg4 -c:a libmp3lame", 2, 60.0),
    heard("MP4, MP2", "mp2.mp4", "-c:v mpeg4 -c:a mp2", 2, 60.0),
    heard("MP4, FLAC", "flac.mp4", "-c:v mpeg4 -c:a flac -strict -2", 2, 90.0),
    heard("MP4, ALAC", "alac.m4a", "-vn -c:a alac", 2, 90.0),
    heard("MP4, delayed audio", "delayed.mp4", "{pictures} -itsoffset 0.6 {sound} -c:v mpeg4 -c:a aac", 2, 60.0),
    heard(
        "MP4, audio as third track",
        "third.mp4",
        "{pictures} {sound} -map 0:v -map 0:v -map 1:a -c:v mpeg4 -c:a aac",
        2,
        60.0,
    ),
    heard("MP4, cut without encoding", "cut.mp4", "{pictures} {sound} -c:v mpeg4 -c:a aac -ss 0.3 -t 2", 2, 60.0),
    heard(
        "MP4, unusual time scale",
        "timescale.mp4",
        "-c:v mpeg4 -c:a aac -movie_timescale 90000 -video_track_timescale 12345",
        2,
        60.0,
    ),
    heard(
        "MP4, irregular times (an stts entry per packet)",
        "stts.mp4",
        "-c:v mpeg4 -c:a aac -bsf:a setts=ts=PTS+mod(N\\,7)",
        2,
        60.0,
    ),
    heard("MPEG-TS, time stamps wrapping", "wrap.ts", "-c:v mpeg2video -c:a aac -output_ts_offset 95441", 2, 60.0),
    heard(
        "MPEG-TS, two audio tracks",
        "two.ts",
        "-map 0:a -map 1:v -map 0:a -c:v mpeg2video -c:a aac -filter:a:1 volume=0",
        2,
        60.0,
    ),
    heard(
        "AVI, two audio tracks",
        "two.avi",
        "-map 1:v -map 0:a -map 0:a -c:v mpeg4 -c:a libmp3lame -filter:a:1 volume=0",
        2,
        60.0,
    ),
    heard("3GP, AAC", "aac.3gp", "-c:v mpeg4 -c:a aac", 2, 60.0),
    heard("MOV, AAC", "aac.mov", "-c:v mpeg4 -c:a aac", 2, 60.0),
    heard(
        "MOV, HEVC and AAC",
        "hevc.mov",
        "-c:v libx265 -preset ultrafast -x265-params log-level=error -tag:v hvc1 -c:a aac",
        2,
        60.0,
    ),
    heard("MOV, ALAC", "alac.mov", "-c:v mpeg4 -c:a alac", 2, 90.0),
    heard("MOV, PCM", "pcm.mov", "-c:v mpeg4 -c:a pcm_s16le", 2, 90.0),
    heard("MOV, PCM, big-endian", "be.mov", "-c:v mpeg4 -c:a pcm_s16be", 2, 90.0),
    heard("MOV, PCM, 24 bits", "s24.mov", "-c:v mpeg4 -c:a pcm_s24le", 2, 90.0),
    heard("MOV, PCM, float", "f32.mov", "-c:v mpeg4 -c:a pcm_f32le", 2, 90.0),
    heard("MOV, PCM, 24 bits, big-endian", "s24be.mov", "-c:v mpeg4 -c:a pcm_s24be", 2, 90.0),
    heard("MOV, PCM, float, big-endian", "f32be.mov", "-c:v mpeg4 -c:a pcm_f32be", 2, 90.0),
    heard("MOV, PCM, 5.1", "pcm51.mov", concat!("-c:v mpeg4 -c:a pcm_s16le ", surround!()), 2, 90.0),
    heard("MOV, ALAC, 96 kHz", "alac96.mov", "-c:v mpeg4 -c:a alac -ar 96000", 2, 90.0),
    heard("MOV, AC-3", "ac3.mov", "-c:v mpeg4 -c:a ac3", 2, 40.0),
    heard("MOV, MP2", "mp2.mov", "-c:v mpeg4 -c:a mp2", 2, 60.0),
    heard("MP4, AAC, 96 kHz", "96.mp4", "-c:v mpeg4 -c:a aac -ar 96000", 2, 60.0),
    heard("MOV, MP3", "mp3.mov", "-c:v mpeg4 -c:a libmp3lame", 2, 60.0),
    heard("MOV, mu-law", "mulaw.mov", "-c:v mpeg4 -c:a pcm_mulaw", 2, 90.0),
    // The predictor is told in nine bits; ffmpeg keeps more of it from block to block.
    heard("MOV, IMA ADPCM", "ima.mov", "-c:v mpeg4 -c:a adpcm_ima_qt", 2, 35.0),
    heard("MKV, AAC", "aac.mkv", "-c:v mpeg4 -c:a aac", 2, 60.0),
    heard("MKV, MP3", "mp3.mkv", "-c:v mpeg4 -c:a libmp3lame", 2, 60.0),
    heard("MKV, MP2", "mp2.mkv", "-c:v mpeg4 -c:a mp2", 2, 60.0),
    heard("MKV, PCM", "pcm.mkv", "-c:v mpeg4 -c:a pcm_s16le", 2, 90.0),
    heard("MKV, FLAC", "flac.mkv", "-c:v mpeg4 -c:a flac", 2, 90.0),
    heard("MKV, ALAC", "alac.mkv", "-c:v mpeg4 -c:a alac", 2, 90.0),
    heard("MKV, Vorbis", "vorbis.mkv", "-c:v mpeg4 -c:a libvorbis", 2, 60.0),
    heard("MKV, live, AAC", "live.mkv", "-c:v mpeg4 -c:a aac -f matroska -live 1", 2, 60.0),
    heard("MKV, delayed audio", "delayed.mkv", "{pictures} -itsoffset 0.6 {sound} -c:v mpeg4 -c:a aac", 2, 60.0),
    heard("WebM, Vorbis", "vorbis.webm", "-c:v libvpx -deadline realtime -c:a libvorbis", 2, 60.0),
    heard("WebM, live, Vorbis", "live.webm", "-c:v libvpx -deadline realtime -c:a libvorbis -live 1", 2, 60.0),
    refused("MKV, DTS", "dts.mkv", "-c:v mpeg4 -c:a dca -strict -2", "DTS"),
    refused("MKV, WMA", "wma.mkv", "-c:v mpeg4 -c:a wmav2", "Windows Media Audio"),
    refused("MPEG-TS, DTS", "dts.ts", "-c:v mpeg2video -c:a dca -strict -2", "DTS"),
    refused("MPEG-PS, DTS", "dts.vob", "-c:v mpeg2video -c:a dca -strict -2", "DTS"),
    refused("AVI, WMA", "wma.avi", "-c:v mpeg4 -c:a wmav2", "Windows Media Audio"),
    refused("AVI, DTS", "dts.avi", "-c:v mpeg4 -c:a dca -strict -2", "DTS"),
    refused("DTS", "a.dts", "-vn -c:a dca -strict -2", "DTS"),
    heard("WAV", "s16.wav", "-vn", 2, 90.0),
    heard("WAV, 8 bits", "u8.wav", "-vn -c:a pcm_u8", 2, 90.0),
    heard("WAV, 24 bits", "s24.wav", "-vn -c:a pcm_s24le", 2, 90.0),
    heard("WAV, 32 bits", "s32.wav", "-vn -c:a pcm_s32le", 2, 90.0),
    heard("WAV, float", "f32.wav", "-vn -c:a pcm_f32le", 2, 90.0),
    heard("WAV, 64-bit float", "f64.wav", "-vn -c:a pcm_f64le", 2, 90.0),
    heard("WAV, A-law", "alaw.wav", "-vn -c:a pcm_alaw", 2, 90.0),
    heard("WAV, MS ADPCM", "ms.wav", "-vn -c:a adpcm_ms", 2, 60.0),
    heard("WAV, IMA ADPCM", "ima.wav", "-vn -c:a adpcm_ima_wav", 2, 60.0),
    heard("WAV, MP3", "mp3.wav", "-vn -c:a libmp3lame", 2, 60.0),
    heard("WAV, 96 kHz, 24 bits", "96.wav", "-vn -ar 96000 -c:a pcm_s24le", 2, 90.0),
    heard("WAV, 192 kHz, float", "192.wav", "-vn -ar 192000 -c:a pcm_f32le", 2, 90.0),
    heard("WAV through a pipe (no length)", "pipe.wav", "-vn -f wav -fflags +bitexact -seekable 0", 2, 90.0),
    heard("RF64", "rf64.wav", "-vn -rf64 always", 2, 90.0),
    heard("Wave64", "a.w64", "-vn", 2, 90.0),
    heard("Wave64, 24 bits", "s24.w64", "-vn -c:a pcm_s24le", 2, 90.0),
    heard("AIFF", "a.aiff", "-vn", 2, 90.0),
    heard("AIFF, 24 bits", "s24.aiff", "-vn -c:a pcm_s24be", 2, 90.0),
    heard("AIFF-C, little-endian", "sowt.aiff", "-vn -c:a pcm_s16le", 2, 90.0),
    heard("AIFF-C, float", "f32.aiff", "-vn -c:a pcm_f32be", 2, 90.0),
    heard("AIFF-C, mu-law", "mulaw.aiff", "-vn -c:a pcm_mulaw", 2, 90.0),
    heard("AIFF-C, IMA ADPCM", "ima.aiff", "-vn -c:a adpcm_ima_qt", 2, 35.0),
    heard("CAF, PCM", "pcm.caf", "-vn -c:a pcm_s16be", 2, 90.0),
    heard("CAF, ALAC", "alac.caf", "-vn -c:a alac", 2, 90.0),
    heard("FLAC", "a.flac", "-vn", 2, 90.0),
    heard("FLAC, 24 bits, 96 kHz", "96.flac", "-vn -ar 96000 -sample_fmt s32", 2, 90.0),
    heard("Ogg, Vorbis", "a.ogg", "-vn -c:a libvorbis", 2, 60.0),
    heard("Ogg, FLAC", "flac.oga", "-vn -c:a flac", 2, 90.0),
    refused("Ogg, Speex", "speex.ogg", "-vn -c:a libspeex -ar 16000 -ac 1", "Speex"),
    heard("ADTS", "a.aac", "-vn -c:a aac", 2, 60.0),
    heard("MP3", "a.mp3", "-vn -c:a libmp3lame", 2, 60.0),
    heard("MP3, VBR", "vbr.mp3", "-vn -c:a libmp3lame -q:a 3", 2, 60.0),
    heard("MP3, MPEG-2, 22 kHz, mono", "22.mp3", "-vn -c:a libmp3lame -ar 22050 -ac 1", 1, 60.0),
    heard("MP3, MPEG-2.5, 8 kHz, mono", "8.mp3", "-vn -c:a libmp3lame -ar 8000 -ac 1", 1, 60.0),
    heard("MP3 without Xing header", "noxing.mp3", "-vn -c:a libmp3lame -write_xing 0", 2, 60.0),
    heard("MP3, VBR without Xing header", "vbrnoxing.mp3", "-vn -c:a libmp3lame -q:a 2 -write_xing 0", 2, 60.0),
    heard("MP2", "a.mp2", "-vn -c:a mp2", 2, 60.0),
    refused("WavPack", "a.wv", "-vn -c:a wavpack", "WavPack"),
    refused("True Audio", "a.tta", "-vn -c:a tta", "True Audio"),
    heard("MP4, AAC, mono, 22.05 kHz", "low.mp4", "-c:v mpeg4 -c:a aac -ac 1 -ar 22050", 1, 60.0),
    heard("MP4, AAC, 5.1", "aac51.mp4", concat!("-c:v mpeg4 -c:a aac -b:a 384k ", surround!()), 2, 60.0),
    heard("MKV, AAC, 5.1", "aac51.mkv", concat!("-c:v mpeg4 -c:a aac -b:a 384k ", surround!()), 2, 60.0),
    heard("ADTS, AAC, 5.1", "aac51.aac", concat!("-vn -c:a aac ", surround!()), 2, 60.0),
    // ffmpeg decodes HE-AAC and does not encode it; `fixtures/README.md` says how these were made.
    heard("ADTS, HE-AAC", "he1.aac", he_aac!("1"), 2, 40.0),
    heard("ADTS, HE-AAC v2", "he2.aac", he_aac!("2"), 2, 30.0),
    heard("MP4, HE-AAC", "he1.m4a", he_aac!("1"), 2, 40.0),
    heard("MP4, HE-AAC v2", "he2.mp4", he_aac!("2"), 2, 30.0),
    heard("MPEG-TS, HE-AAC", "he1.ts", he_aac!("1"), 2, 40.0),
    heard("MKV, HE-AAC v2", "he2.mkv", he_aac!("2"), 2, 30.0),
    // AC-3's decoders put noise of their own in place of what was left out.
    heard("MKV, AC-3", "ac3.mkv", "-c:v mpeg4 -c:a ac3 -b:a 192k", 2, 40.0),
    heard("MKV, AC-3, mono, 32 kHz", "mono.mkv", "-c:v mpeg4 -c:a ac3 -b:a 96k -ac 1 -ar 32000", 1, 40.0),
    heard("MKV, AC-3, 5.1", "ac351.mkv", concat!("-c:v mpeg4 -c:a ac3 -b:a 448k ", surround!()), 2, 40.0),
    heard("MP4, AC-3, 5.1", "ac351.mp4", concat!("-c:v mpeg4 -c:a ac3 -b:a 384k ", surround!()), 2, 40.0),
    heard("MKV, AC-3, 5.1 of which four are silent", "ac3silent.mkv", "-c:v mpeg4 -c:a ac3 -ac 6 -ar 48000", 2, 40.0),
    heard(
        "MKV, AC-3, 2.1",
        "ac321.mkv",
        "-c:v mpeg4 -c:a ac3 -b:a 256k -af pan=2.1|FL=c0|FR=c1|LFE=0.1*c0+0.1*c1",
        2,
        40.0,
    ),
    heard(
        "MKV, AC-3, 4.1",
        "ac341.mkv",
        "-c:v mpeg4 -c:a ac3 -b:a 384k -af pan=4.1|FL=c0|FR=c1|FC=0.4*c0|LFE=0.1*c1|BC=0.3*c1",
        2,
        40.0,
    ),
    heard(
        "MKV, AC-3, four at the sides",
        "ac3quad.mkv",
        "-c:v mpeg4 -c:a ac3 -b:a 384k -af pan=quad(side)|FL=c0|FR=c1|SL=0.4*c1|SR=0.3*c0",
        2,
        40.0,
    ),
    heard("MPEG-TS, AC-3", "ac3.ts", "-c:v mpeg2video -c:a ac3", 2, 40.0),
    heard("MPEG-PS, AC-3", "ac3.vob", "-c:v mpeg2video -c:a ac3 -f vob", 2, 40.0),
    heard("AVI, AC-3", "ac3.avi", "-c:v mpeg4 -c:a ac3", 2, 40.0),
    heard("MKV, E-AC-3", "eac3.mkv", "-c:v mpeg4 -c:a eac3 -b:a 192k", 2, 40.0),
    heard("MKV, E-AC-3, 64 kbit/s", "eac3low.mkv", "-c:v mpeg4 -c:a eac3 -b:a 64k", 2, 40.0),
    heard("MP4, E-AC-3, 5.1", "eac351.mp4", concat!("-c:v mpeg4 -c:a eac3 -b:a 384k ", surround!()), 2, 40.0),
    heard("MPEG-TS, E-AC-3", "eac3.ts", "-c:v mpeg2video -c:a eac3", 2, 40.0),
    heard("AC-3", "a.ac3", "-vn -c:a ac3", 2, 40.0),
    heard("E-AC-3, 5.1", "a.eac3", concat!("-vn -c:a eac3 -b:a 384k ", surround!()), 2, 40.0),
    heard("LATM", "a.loas", "-vn -c:a aac -f latm", 2, 60.0),
    heard("MKV, PCM, 7.1", "pcm71.mkv", concat!("-c:v mpeg4 -c:a pcm_s24le ", eight!()), 2, 60.0),
    heard("WAV, 7.1", "71.wav", concat!("-vn ", eight!()), 2, 60.0),
    heard("FLAC, 7.1", "71.flac", concat!("-vn ", eight!()), 2, 60.0),
    heard("MP4, AAC, 7.1", "71.mp4", concat!("-vn -c:a aac -b:a 512k ", eight!()), 2, 40.0),
    heard("Ogg, Opus, 7.1", "71.opus", concat!("-vn -c:a libopus -mapping_family 1 ", eight!()), 2, 40.0),
    heard("WAV, quadraphonic", "quad.wav", "-vn -af pan=quad|FL=c0|FR=c1|BL=0.5*c1|BR=0.7*c0", 2, 60.0),
    heard("WAV, 3.0", "30.wav", "-vn -af pan=3.0|FL=c0|FR=c1|FC=0.5*c1", 2, 60.0),
    heard("FLAC, 6.1", "61.flac", concat!("-vn ", seven!()), 2, 60.0),
    heard("Ogg, Vorbis, 5.1", "51.ogg", concat!("-vn -c:a libvorbis ", surround!()), 2, 60.0),
    heard("Ogg, Vorbis, 7.1", "71.ogg", concat!("-vn -c:a libvorbis ", eight!()), 2, 60.0),
    heard("MKV, Vorbis, 5.1", "vorbis51.mkv", concat!("-c:v mpeg4 -c:a libvorbis ", surround!()), 2, 60.0),
    heard(
        "WebM, Vorbis, 7.1",
        "vorbis71.webm",
        concat!("-c:v libvpx -deadline realtime -c:a libvorbis ", eight!()),
        2,
        60.0,
    ),
    heard("MOV, PCM, 8 bits", "u8.mov", "-c:v mpeg4 -c:a pcm_u8", 2, 90.0),
    heard("MOV, PCM, 8 bits, signed", "s8.mov", "-c:v mpeg4 -c:a pcm_s8", 2, 90.0),
    heard("MOV, PCM, 32 bits", "in32.mov", "-c:v mpeg4 -c:a pcm_s32be", 2, 90.0),
    heard("MOV, PCM, 64-bit float", "fl64.mov", "-c:v mpeg4 -c:a pcm_f64be", 2, 90.0),
    heard("MOV, A-law", "alaw.mov", "-c:v mpeg4 -c:a pcm_alaw", 2, 90.0),
    heard("MOV, IMA ADPCM, mono", "ima1.mov", "-c:v mpeg4 -c:a adpcm_ima_qt -ac 1", 1, 35.0),
    heard("MKV, PCM, 8 bits", "u8.mkv", "-c:v mpeg4 -c:a pcm_u8", 2, 90.0),
    heard("MKV, PCM, 32 bits", "s32.mkv", "-c:v mpeg4 -c:a pcm_s32le", 2, 90.0),
    heard("MKV, PCM, float", "f32.mkv", "-c:v mpeg4 -c:a pcm_f32le", 2, 90.0),
    heard("MKV, PCM, big-endian", "be.mkv", "-c:v mpeg4 -c:a pcm_s16be", 2, 90.0),
    heard("MKV, mu-law", "mulaw.mkv", "-c:v mpeg4 -c:a pcm_mulaw", 2, 90.0),
    heard("MKV, MS ADPCM", "ms.mkv", "-c:v mpeg4 -c:a adpcm_ms", 2, 60.0),
    heard("MKV, IMA ADPCM", "ima.mkv", "-c:v mpeg4 -c:a adpcm_ima_wav", 2, 60.0),
    heard("AVI, mu-law", "mulaw.avi", "-c:v mpeg4 -c:a pcm_mulaw", 2, 90.0),
    heard("AVI, A-law", "alaw.avi", "-c:v mpeg4 -c:a pcm_alaw", 2, 90.0),
    heard("AVI, PCM, 24 bits", "s24.avi", "-c:v mpeg4 -c:a pcm_s24le", 2, 90.0),
    heard("AVI, PCM, float", "f32.avi", "-c:v mpeg4 -c:a pcm_f32le", 2, 90.0),
    heard("AVI, AC-3, 5.1", "ac351.avi", concat!("-c:v mpeg4 -c:a ac3 -b:a 448k ", surround!()), 2, 40.0),
    heard("WAV, mu-law", "mulaw.wav", "-vn -c:a pcm_mulaw", 2, 90.0),
    heard("WAV, MP2", "mp2.wav", "-vn -c:a mp2", 2, 60.0),
    heard("WAV, AC-3", "ac3.wav", "-vn -c:a ac3", 2, 40.0),
    heard("AIFF-C, A-law", "alaw.aiff", "-vn -c:a pcm_alaw", 2, 90.0),
    heard("AIFF, 8 bits", "s8.aiff", "-vn -c:a pcm_s8", 2, 90.0),
    heard("AIFF, 32 bits", "s32.aiff", "-vn -c:a pcm_s32be", 2, 90.0),
    heard("AIFF-C, 64-bit float", "f64.aiff", "-vn -c:a pcm_f64be", 2, 90.0),
    heard("CAF, PCM, 24 bits, little-endian", "s24.caf", "-vn -c:a pcm_s24le", 2, 90.0),
    heard("CAF, float", "f32.caf", "-vn -c:a pcm_f32le", 2, 90.0),
    heard("CAF, IMA ADPCM", "ima.caf", "-vn -c:a adpcm_ima_qt", 2, 35.0),
    heard("FLV, PCM, 8 bits, mono", "u8.flv", "-c:v flv1 -c:a pcm_u8 -ac 1", 1, 90.0),
    refused("FLV, Speex", "speex.flv", "-c:v flv1 -c:a libspeex -ar 16000 -ac 1", "Speex"),
    heard("MPEG-PS, PCM, 24 bits", "pcm24.vob", "-c:v mpeg2video -c:a pcm_dvd -ar 48000 -sample_fmt s32", 2, 90.0),
    heard(
        "MPEG-PS, PCM, 24 bits, 5.1",
        "pcm51.vob",
        concat!("-c:v mpeg2video -c:a pcm_dvd -ar 48000 -sample_fmt s32 ", surround!()),
        2,
        60.0,
    ),
    heard("MP4, AC-3", "ac3.mp4", "-c:v mpeg4 -c:a ac3", 2, 40.0),
    heard("MP4, E-AC-3", "eac3.mp4", "-c:v mpeg4 -c:a eac3", 2, 40.0),
    heard("MPEG-TS, AC-3, 5.1", "ac351.ts", concat!("-c:v mpeg2video -c:a ac3 -b:a 448k ", surround!()), 2, 40.0),
    heard("MPEG-TS, E-AC-3, 5.1", "eac351.ts", concat!("-c:v mpeg2video -c:a eac3 -b:a 384k ", surround!()), 2, 40.0),
    heard(
        "MPEG-TS, Opus, 5.1",
        "opus51.ts",
        concat!("-c:v mpeg2video -c:a libopus -mapping_family 1 ", surround!()),
        2,
        40.0,
    ),
    heard("MPEG-TS, AAC, 5.1", "aac51.ts", concat!("-c:v mpeg2video -c:a aac ", surround!()), 2, 60.0),
    heard(
        "MPEG-TS, AAC, 5.1, in LATM",
        "latm51.ts",
        concat!("-c:v mpeg2video -c:a aac -mpegts_flags latm ", surround!()),
        2,
        60.0,
    ),
    heard(
        "MPEG-PS, AC-3, 5.1",
        "ac351.vob",
        concat!("-c:v mpeg2video -c:a ac3 -b:a 448k -f vob ", surround!()),
        2,
        40.0,
    ),
    heard(
        "Ogg, Vorbis, quadraphonic",
        "quad.ogg",
        "-vn -c:a libvorbis -af pan=quad|FL=c0|FR=c1|BL=0.5*c1|BR=0.7*c0",
        2,
        60.0,
    ),
    heard("Ogg, Vorbis, mono", "mono.ogg", "-vn -c:a libvorbis -ac 1", 1, 60.0),
    heard("Ogg, Vorbis, 6.1", "61.ogg", concat!("-vn -c:a libvorbis ", seven!()), 2, 60.0),
    heard("Ogg, Vorbis, mono, 8 kHz", "8.ogg", "-vn -c:a libvorbis -ar 8000 -ac 1", 1, 60.0),
    refused("MPEG-TS, SMPTE 302M", "s302m.ts", "-c:v mpeg2video -c:a s302m -ar 48000 -strict -2", "SMPTE 302M"),
    refused(
        "MPEG-TS, Blu-ray PCM",
        "bluray.m2ts",
        "-c:v mpeg2video -c:a pcm_bluray -ar 48000 -mpegts_m2ts_mode 1",
        "Blu-ray PCM",
    ),
    heard(
        "MOV, PCM, quadraphonic",
        "quad.mov",
        "-c:v mpeg4 -c:a pcm_s16le -af pan=quad|FL=c0|FR=c1|BL=0.5*c1|BR=0.3*c0",
        2,
        60.0,
    ),
    heard("MOV, PCM, 2.1", "21.mov", "-c:v mpeg4 -c:a pcm_s16le -af pan=2.1|FL=c0|FR=c1|LFE=0.5*c0", 2, 60.0),
    heard("MOV, PCM, 7.1", "71.mov", concat!("-c:v mpeg4 -c:a pcm_s16le ", eight!()), 2, 60.0),
    heard("CAF, PCM, 4.0", "40.caf", "-vn -c:a pcm_s16be -af pan=4.0|FL=c0|FR=c1|FC=0.5*c1|BC=0.3*c0", 2, 60.0),
    heard("FLAC, 4.0", "40.flac", "-vn -af pan=4.0|FL=c0|FR=c1|FC=0.5*c0|BC=0.3*c1", 2, 60.0),
    heard("FLAC, 2.1", "21.flac", "-vn -af pan=2.1|FL=c0|FR=c1|LFE=0.5*c0", 2, 60.0),
    heard("MKV, FLAC, 4.0", "40.mkv", "-c:v mpeg4 -c:a flac -af pan=4.0|FL=c0|FR=c1|FC=0.5*c0|BC=0.3*c1", 2, 60.0),
    heard("ADTS, AAC, 6.1", "61.aac", concat!("-vn -c:a aac ", seven!()), 2, 60.0),
    heard("MPEG-TS, AAC, 6.1", "61.ts", concat!("-c:v mpeg2video -c:a aac ", seven!()), 2, 60.0),
    heard(
        "MKV, second track by default",
        "second.mkv",
        "-map 1:v -map 0:a -map 0:a -c:v mpeg4 -c:a aac -filter:a:0 volume=0 -disposition:a:0 0 -disposition:a:1 default",
        2,
        60.0,
    ),
    heard(
        "MP4, second track by default",
        "second.mp4",
        "-map 1:v -map 0:a -map 0:a -c:v mpeg4 -c:a aac -filter:a:0 volume=0 -disposition:a:0 0 -disposition:a:1 default",
        2,
        60.0,
    ),
    heard("FLV, mu-law", "mulaw.flv", "-c:v flv1 -c:a pcm_mulaw -ar 8000 -ac 1", 1, 60.0),
    heard("CAF, A-law", "alaw.caf", "-vn -c:a pcm_alaw", 2, 90.0),
    heard("CAF, mu-law", "mulaw.caf", "-vn -c:a pcm_mulaw", 2, 90.0),
    heard("CAF, PCM, 8 bits", "s8.caf", "-vn -c:a pcm_s8", 2, 90.0),
    heard("CAF, AC-3", "ac3.caf", "-vn -c:a ac3", 2, 38.0),
    heard("AVI, Vorbis", "vorbis.avi", "-c:v mpeg4 -c:a libvorbis", 2, 60.0),
    heard("AVI, FLAC", "flac.avi", "-c:v mpeg4 -c:a flac", 2, 90.0),
    refused("WAV, FLAC", "flac.wav", "-vn -c:a flac", "FLAC in WAVE"),
    heard("AU, PCM", "pcm.au", "-vn -c:a pcm_s16be", 2, 60.0),
    heard("AU, mu-law", "mulaw.au", "-vn -c:a pcm_mulaw -ar 8000 -ac 1", 1, 60.0),
    refused("WAV, AAC", "aac.wav", "-vn -c:a aac", "AAC without the length of its frames"),
    refused("SWF, MP3", "mp3.swf", "-c:v flv1 -c:a libmp3lame", "Flash animation (SWF)"),
    refused("MXF, PCM", "pcm.mxf", "-c:v mpeg2video -c:a pcm_s16le -ar 48000", "MXF"),
    refused("NUT, MP3", "mp3.nut", "-c:v mpeg4 -c:a libmp3lame", "NUT"),
    refused("GIF", "a.gif", "-map 1:v", "no audio track"),
    refused("H.264 alone", "a.h264", "-map 1:v -c:v libx264 -preset ultrafast", "no audio track"),
    refused("ASF, WMA", "wma.wmv", "-c:v wmv2 -c:a wmav2", "Windows Media (ASF, WMA, WMV)"),
];

/// What was found for one kind.
struct Row {
    kind: &'static Kind,
    result: String,
    error: Option<f64>,
    decibels: Option<f64>,
}

#[test]
fn kinds() {
    let workshop = Workshop::new();
    let rows = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let word = std::env::var("KINDS").unwrap_or_default();
    let kinds: Vec<&'static Kind> = KINDS.iter().filter(|kind| kind.name.contains(&word)).collect();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(kind) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = std::panic::catch_unwind(|| row(&workshop, kind));
                    match row.unwrap_or_else(|_| Err("panicked".into())) {
                        Ok(row) => rows.lock().expect("rows").push(row),
                        Err(failure) => failures.lock().expect("failures").push(format!("{}: {failure}", kind.name)),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("failures");
    assert!(failures.is_empty(), "{} kinds:\n{}", failures.len(), failures.join("\n"));
    let mut rows = rows.into_inner().expect("rows");
    rows.sort_by_key(|row| KINDS.iter().position(|kind| kind.name == row.kind.name));
    if word.is_empty() {
        document(&rows);
    } else {
        print!("{}", table(&rows));
    }
}

fn row(workshop: &Workshop, kind: &'static Kind) -> Result<Row, String> {
    let path = make(workshop, kind);
    let bytes = fs::read(&path).map_err(|error| error.to_string())?;
    match (&kind.result, decode(bytes, kind.file)) {
        (Expected::Refused(reason), Err(said)) if said.contains(reason) => {
            Ok(Row { kind, result: format!("refused: “{said}”"), error: None, decibels: None })
        }
        (_, Err(said)) => Err(said),
        (Expected::Refused(reason), Ok(_)) => Err(format!("was decoded and not refused as {reason}")),
        (Expected::Heard { channels, decibels }, Ok(heard)) => {
            if let Some(warning) = heard.warning {
                return Err(format!("warns: {warning}"));
            }
            if heard.planes.len() != *channels {
                return Err(format!("{} channels instead of {channels}", heard.planes.len()));
            }
            let wanted = reference(&path, heard.rate, *channels);
            let rate = f64::from(heard.rate);
            let (wanted_seconds, seconds) = (wanted[0].len() as f64 / rate, heard.planes[0].len() as f64 / rate);
            let error = seconds - wanted_seconds;
            let noise = snr(&wanted, &heard.planes);
            if error.abs() > MAX_ERROR || noise < *decibels {
                return Err(format!("{seconds:.3} s instead of {wanted_seconds:.3} s, {noise:.1} dB"));
            }
            Ok(Row { kind, result: "converted".into(), error: Some(error), decibels: Some(noise) })
        }
    }
}

/// The file, its sound two sweeps, one per ear, and noise.
fn make(workshop: &Workshop, kind: &Kind) -> std::path::PathBuf {
    let path = workshop.path(kind.file);
    let sound = format!(
        "aevalsrc='0.4*sin(2*PI*(200+90*t)*t)+0.02*(random(0)-0.5)|0.4*sin(2*PI*(900-60*t)*t)':s=44100:d={SECONDS}"
    );
    let pictures = format!("testsrc2=s=160x120:r=25:d={SECONDS}");
    let mut arguments = Vec::new();
    if !kind.options.contains("{sound}") {
        arguments.extend(["-f", "lavfi", "-i", &sound, "-f", "lavfi", "-i", &pictures]);
    }
    for option in kind.options.split_whitespace() {
        match option {
            "{sound}" => arguments.extend(["-f", "lavfi", "-i", &sound]),
            "{pictures}" => arguments.extend(["-f", "lavfi", "-i", &pictures]),
            option => arguments.push(option),
        }
    }
    ffmpeg(arguments.iter().map(OsStr::new).chain([path.as_os_str()]));
    path
}

const BEGIN: &str = "<!-- kinds -->\n";
const END: &str = "<!-- end of kinds -->\n";

fn table(rows: &[Row]) -> String {
    let mut table =
        "| kind | made by `ffmpeg …` | result | length, error in ms | SNR in dB |\n|---|---|---|---|---|\n".to_owned();
    for Row { kind, result, error, decibels } in rows {
        let error = error.map_or(String::new(), |error| format!("{:+.1}", error * 1000.0).replace("-0.0", "+0.0"));
        let decibels = decibels.map_or(String::new(), |decibels| format!("{decibels:.0}"));
        let (name, options, file) = (kind.name, kind.options.replace('|', "\\|"), kind.file);
        let _ = writeln!(table, "| {name} | `{options} {file}` | {result} | {error} | {decibels} |");
    }
    table
}

/// Compares the table, or writes it if `UPDATE_KINDS` is set.
fn document(rows: &[Row]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/converter.md");
    let text = fs::read_to_string(&path).expect("docs/converter.md");
    let (start, end) = (text.find(BEGIN).expect("the table") + BEGIN.len(), text.find(END).expect("its end"));
    let table = table(rows);
    if std::env::var_os("UPDATE_KINDS").is_some() {
        fs::write(&path, format!("{}{table}{}", &text[..start], &text[end..])).expect("docs/converter.md");
        return;
    }
    let firm = |table: &str| -> Vec<String> {
        table.lines().map(|line| line.split(" | ").take(3).collect::<Vec<_>>().join(" | ")).collect()
    };
    assert_eq!(firm(&text[start..end]), firm(&table), "UPDATE_KINDS=1 writes docs/converter.md");
}
