//! What an MP3 says of itself: the Xing and LAME header in its first frame.

/// Samples of a frame, per channel (MPEG-1 layer III).
const FRAME: u64 = 1152;

/// An MP3 file's headers.
#[derive(Debug)]
pub(crate) struct Headers {
    /// `Xing` (variable bit rate) or `Info` (constant).
    pub(crate) kind: String,
    /// Frames, that of the header not counted.
    pub(crate) frames: u64,
    /// Bytes from the header's frame to the end.
    pub(crate) bytes: u64,
    /// The encoder, such as `LAME3.100`.
    pub(crate) encoder: String,
    /// Samples to leave out at the start.
    pub(crate) delay: u64,
    /// Samples to leave out at the end.
    pub(crate) padding: u64,
    /// The sampling rate.
    pub(crate) rate: u64,
    /// Where the first frame begins.
    pub(crate) start: u64,
}

impl Headers {
    /// Reads them, or says what is missing.
    pub(crate) fn read(file: &[u8]) -> Result<Self, String> {
        let mut start = 0;
        if file.starts_with(b"ID3") {
            let size = file[6..10].iter().fold(0_usize, |size, byte| size << 7 | usize::from(byte & 0x7f));
            start = 10 + size;
        }
        let frame = file.get(start..).filter(|frame| frame.len() > 400).ok_or("no frame")?;
        if frame[0] != 0xff || frame[1] & 0xfe != 0xfa {
            return Err(format!("no MPEG-1 layer III frame at {start}: {:02x?}", &frame[..4]));
        }
        let rate = *[44_100, 48_000, 32_000].get(usize::from(frame[2] >> 2 & 3)).ok_or("a reserved sampling rate")?;
        let mono = frame[3] >> 6 == 3;
        let header = &frame[if mono { 21 } else { 36 }..];
        let kind = String::from_utf8_lossy(&header[..4]).into_owned();
        if kind != "Xing" && kind != "Info" {
            return Err(format!("no Xing header, but {:02x?}", &header[..8]));
        }
        let number = |at: usize| u64::from(u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes")));
        if number(4) != 0b1111 {
            return Err(format!("fields are missing: {:b}", number(4)));
        }
        let lame = &header[120..];
        let gaps = &lame[21..24];
        Ok(Self {
            kind,
            frames: number(8),
            bytes: number(12),
            encoder: String::from_utf8_lossy(&lame[..9]).trim_end_matches(['\0', ' ']).to_owned(),
            delay: u64::from(gaps[0]) << 4 | u64::from(gaps[1] >> 4),
            padding: u64::from(gaps[1] & 15) << 8 | u64::from(gaps[2]),
            rate,
            start: start as u64,
        })
    }

    /// The length that the header promises, in seconds, without the gaps.
    pub(crate) fn seconds(&self) -> f64 {
        (self.frames * FRAME - self.delay - self.padding) as f64 / self.rate as f64
    }
}
