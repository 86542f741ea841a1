//! Codecs that nothing here decodes and Symphonia has no number for, and what to call them.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::common::FourCc;

pub(crate) const ADPCM_FLASH: AudioCodecId = AudioCodecId::new(FourCc::new(*b"swfa"));
pub(super) const AMR: AudioCodecId = AudioCodecId::new(FourCc::new(*b"samr"));
pub(super) const BLURAY_PCM: AudioCodecId = AudioCodecId::new(FourCc::new(*b"HDMV"));
pub(super) const ENCRYPTED: AudioCodecId = AudioCodecId::new(FourCc::new(*b"enca"));
pub(super) const BARE_AAC: AudioCodecId = AudioCodecId::new(FourCc::new(*b"raac"));
pub(super) const BARE_FLAC: AudioCodecId = AudioCodecId::new(FourCc::new(*b"rflc"));
pub(super) const G722: AudioCodecId = AudioCodecId::new(FourCc::new(*b"g722"));
pub(super) const G726: AudioCodecId = AudioCodecId::new(FourCc::new(*b"g726"));
pub(super) const GSM: AudioCodecId = AudioCodecId::new(FourCc::new(*b"agsm"));
pub(super) const IMA_QUICKTIME: AudioCodecId = AudioCodecId::new(FourCc::new(*b"ima4"));
pub(super) const MACE: AudioCodecId = AudioCodecId::new(FourCc::new(*b"MAC6"));
pub(super) const MPEG_H: AudioCodecId = AudioCodecId::new(FourCc::new(*b"mhm1"));
pub(super) const NELLYMOSER: AudioCodecId = AudioCodecId::new(FourCc::new(*b"nmos"));
pub(super) const QDESIGN: AudioCodecId = AudioCodecId::new(FourCc::new(*b"QDM2"));
pub(super) const SMPTE_302M: AudioCodecId = AudioCodecId::new(FourCc::new(*b"BSSD"));
pub(super) const YAMAHA: AudioCodecId = AudioCodecId::new(FourCc::new(*b"yama"));

/// What to call a codec that cannot be decoded.
#[must_use]
pub fn codec_name(id: AudioCodecId) -> Option<&'static str> {
    const NAMES: [(AudioCodecId, &str); 29] = [
        (codec::CODEC_ID_AAC, "AAC of an unusual kind"),
        (codec::CODEC_ID_OPUS, "Opus"),
        (codec::CODEC_ID_VORBIS, "Vorbis of an unusual kind"),
        (codec::CODEC_ID_AC3, "Dolby Digital (AC-3)"),
        (codec::CODEC_ID_EAC3, "Dolby Digital Plus (E-AC-3)"),
        (codec::CODEC_ID_AC4, "Dolby AC-4"),
        (codec::CODEC_ID_DCA, "DTS"),
        (codec::CODEC_ID_TRUEHD, "Dolby TrueHD"),
        (codec::CODEC_ID_WMA, "Windows Media Audio"),
        (codec::CODEC_ID_SPEEX, "Speex"),
        (codec::CODEC_ID_WAVPACK, "WavPack"),
        (codec::CODEC_ID_MONKEYS_AUDIO, "Monkey's Audio"),
        (codec::CODEC_ID_TTA, "True Audio"),
        (ADPCM_FLASH, "Flash ADPCM"),
        (AMR, "AMR"),
        (BARE_AAC, "AAC without the length of its frames"),
        (BARE_FLAC, "FLAC in WAVE"),
        (BLURAY_PCM, "Blu-ray PCM"),
        (ENCRYPTED, "encrypted"),
        (G722, "G.722"),
        (G726, "G.726"),
        (GSM, "GSM"),
        (IMA_QUICKTIME, "QuickTime's ADPCM (IMA 4:1)"),
        (MACE, "MACE"),
        (MPEG_H, "MPEG-H 3D Audio"),
        (NELLYMOSER, "Nellymoser"),
        (QDESIGN, "QDesign Music"),
        (SMPTE_302M, "PCM of SMPTE 302M"),
        (YAMAHA, "Yamaha's ADPCM"),
    ];
    NAMES.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
}
