//! Loudness by EBU R128: measured over the whole sound first, then set to what the owner wants by one gain.
//!
//! Where that gain would lift peaks above the ceiling, also between the samples, a limiter takes them back for as long
//! as they last; so nothing clips, and what is softer keeps its dynamics. What that takes from the loudness is measured
//! by another pass, and made up for.

use std::collections::VecDeque;

use ebur128::{EbuR128, Mode};

/// What no peak exceeds before encoding, in dBTP. R128 allows -1; encoders add up to half a decibel.
const CEILING: f64 = -1.5;
/// How much softer than meant the limiter may make a sound and be made up for at once, in dB: more would be heard.
const MAX_REFINEMENT: f64 = 6.0;
/// How long the limiter sees a peak coming, in seconds.
const LOOK_AHEAD: f64 = 0.005;
/// How fast it lets go, in seconds to a third of the reduction.
const RELEASE: f64 = 0.1;
/// Between two samples peaks are looked for at so many places, less one.
const PHASES: usize = 4;
/// Samples that a value between two of them is computed from.
const TAPS: usize = 12;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Integrated loudness in LUFS; none for silence.
    pub lufs: Option<f64>,
    /// The highest true peak; 1 is full scale.
    pub peak: f64,
}

impl Measured {
    /// The gain to a loudness in LUFS, as a factor. Silence stays as it is.
    fn gain(&self, target: f64) -> f64 {
        factor(self.lufs.map_or(0.0, |lufs| target - lufs))
    }

    /// True if a limiter will have to take peaks back, which makes the sound softer than it was meant to be.
    #[must_use]
    pub fn is_limited(&self, target: f64) -> bool {
        self.peak * self.gain(target) > factor(CEILING)
    }

    /// With what came out of the limiter taken into account; none if that is close enough.
    #[must_use]
    pub fn refined(self, target: f64, result: Self) -> Option<Self> {
        let (lufs, missing) = (self.lufs?, (target - result.lufs?).clamp(0.0, MAX_REFINEMENT));
        (missing > 0.2).then_some(Self { lufs: Some(lufs - missing), ..self })
    }
}

/// Decibels as a factor of amplitudes.
fn factor(decibels: f64) -> f64 {
    10.0_f64.powf(decibels / 20.0)
}

/// The measuring did not work; why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("EBU R128: {0}")]
pub struct MeterError(String);

impl From<ebur128::Error> for MeterError {
    fn from(error: ebur128::Error) -> Self {
        Self(error.to_string())
    }
}

/// Measures a sound, in memory that does not grow with it.
pub struct Meter(EbuR128);

impl Meter {
    /// For a sound of so many channels and samples per second.
    ///
    /// # Errors
    /// The standard knows no such sound.
    pub fn new(channels: usize, rate: u32) -> Result<Self, MeterError> {
        let channels = u32::try_from(channels).map_err(|_| MeterError("too many channels".into()))?;
        Ok(Self(EbuR128::new(channels, rate, Mode::I | Mode::TRUE_PEAK | Mode::HISTOGRAM)?))
    }

    /// Takes the next samples, one plane per channel.
    ///
    /// # Errors
    /// Other channels than it was made for.
    pub fn add(&mut self, planes: &[&[f32]]) -> Result<(), MeterError> {
        Ok(self.0.add_frames_planar_f32(planes)?)
    }

    /// What there was so far.
    ///
    /// # Errors
    /// None that samples can cause.
    pub fn measured(&self) -> Result<Measured, MeterError> {
        let lufs = Some(self.0.loudness_global()?).filter(|lufs| lufs.is_finite());
        let mut peak = 0.0_f64;
        for channel in 0..self.0.channels() {
            peak = peak.max(self.0.true_peak(channel)?);
        }
        Ok(Measured { lufs, peak })
    }
}

/// Makes a sound as loud as it is wanted, block by block.
#[derive(Debug, Clone)]
pub struct Level {
    gain: f32,
    limiter: Option<Limiter>,
}

impl Level {
    /// From what a sound of this rate and these channels has to a loudness in LUFS. Silence stays silence.
    #[must_use]
    pub fn new(measured: Measured, target: f64, rate: u32, channels: usize) -> Self {
        let limiter = measured.is_limited(target).then(|| Limiter::new(factor(CEILING) as f32, rate, channels));
        Self { gain: measured.gain(target) as f32, limiter }
    }

    /// The next samples. With a limiter they come a little later than they went in.
    #[must_use]
    pub fn apply(&mut self, mut planes: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        for sample in planes.iter_mut().flatten() {
            *sample *= self.gain;
        }
        match &mut self.limiter {
            None => planes,
            Some(limiter) => limiter.apply(&planes),
        }
    }

    /// The samples that are still to come, at the end.
    #[must_use]
    pub fn finish(&mut self) -> Vec<Vec<f32>> {
        self.limiter.as_mut().map(Limiter::finish).unwrap_or_default()
    }
}

/// A look-ahead limiter: the gain at each sample is the mean of the lowest gains needed soon, so it has come down when
/// a peak is there, without a step.
#[derive(Debug, Clone)]
struct Limiter {
    ceiling: f32,
    window: usize,
    release: f32,
    /// Interpolates between samples, one row per place between them.
    between: [[f32; TAPS]; PHASES - 1],
    channels: usize,
    /// Samples that are not given out yet, per channel, and the last `TAPS` that were looked at.
    waiting: Vec<VecDeque<f32>>,
    recent: Vec<VecDeque<f32>>,
    /// Samples whose gain was worked out so far.
    position: u64,
    /// Gains needed within the window, falling from the front: the front is the lowest.
    needed: VecDeque<(u64, f32)>,
    held: f32,
    /// The last `window` gains that were held, and their sum.
    smooth: VecDeque<f32>,
    sum: f64,
    /// Samples still to be left out at the start: those before the first.
    lead: usize,
}

impl Limiter {
    fn new(ceiling: f32, rate: u32, channels: usize) -> Self {
        let window = ((f64::from(rate) * LOOK_AHEAD) as usize).max(1);
        let mut between = [[0.0; TAPS]; PHASES - 1];
        for (phase, row) in between.iter_mut().enumerate() {
            let shift = (phase + 1) as f64 / PHASES as f64;
            let middle = (TAPS / 2 - 1) as f64 + shift;
            for (tap, weight) in row.iter_mut().enumerate() {
                let x = (tap as f64 - middle) * std::f64::consts::PI;
                let bell = (x / TAPS as f64).cos().max(0.0).powi(2);
                *weight = (x.sin() / x * bell) as f32;
            }
            let total: f32 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= total);
        }
        Self {
            ceiling,
            window,
            release: 1.0 - (-1.0 / (f64::from(rate) * RELEASE)).exp() as f32,
            between,
            channels,
            waiting: vec![VecDeque::new(); channels],
            recent: vec![VecDeque::from(vec![0.0; TAPS]); channels],
            position: 0,
            needed: VecDeque::new(),
            held: 1.0,
            smooth: VecDeque::from(vec![1.0; window]),
            sum: window as f64,
            lead: window + TAPS / 2,
        }
    }

    fn apply(&mut self, planes: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let frames = planes.first().map_or(0, Vec::len);
        let mut out = vec![Vec::with_capacity(frames); self.channels];
        for frame in 0..frames {
            for ((recent, waiting), plane) in self.recent.iter_mut().zip(&mut self.waiting).zip(planes) {
                let sample = plane.get(frame).copied().unwrap_or(0.0);
                recent.pop_front();
                recent.push_back(sample);
                waiting.push_back(sample);
            }
            let gain = self.next_gain();
            if self.lead > 0 {
                self.lead -= 1;
                continue;
            }
            for (plane, waiting) in out.iter_mut().zip(&mut self.waiting) {
                plane.extend(waiting.pop_front().map(|sample| sample * gain));
            }
        }
        out
    }

    /// The gain for the sample that is `window` and half the taps before the one that came last.
    fn next_gain(&mut self) -> f32 {
        let needed = (self.ceiling / self.peak().max(self.ceiling)).min(1.0);
        while self.needed.back().is_some_and(|(_, later)| *later >= needed) {
            self.needed.pop_back();
        }
        self.needed.push_back((self.position, needed));
        let oldest = self.position.saturating_sub(self.window as u64);
        while self.needed.front().is_some_and(|(at, _)| *at < oldest) {
            self.needed.pop_front();
        }
        self.position = self.position.saturating_add(1);
        let lowest = self.needed.front().map_or(1.0, |(_, gain)| *gain);
        self.held = lowest.min(self.held + (1.0 - self.held) * self.release);
        self.smooth.push_back(self.held);
        self.sum += f64::from(self.held) - f64::from(self.smooth.pop_front().unwrap_or(1.0));
        (self.sum / self.window as f64) as f32
    }

    /// The highest value at, and right behind, the sample in the middle of the recent ones.
    fn peak(&self) -> f32 {
        let mut peak = 0.0_f32;
        for recent in &self.recent {
            peak = peak.max(recent.get(TAPS / 2 - 1).map_or(0.0, |sample| sample.abs()));
            // What lies between samples cannot be much higher than they are.
            if recent.iter().all(|sample| sample.abs() < self.ceiling * 0.5) {
                continue;
            }
            for row in &self.between {
                let value: f32 = row.iter().zip(recent).map(|(weight, sample)| weight * sample).sum();
                peak = peak.max(value.abs());
            }
        }
        peak
    }

    fn finish(&mut self) -> Vec<Vec<f32>> {
        let left = self.waiting.first().map_or(0, VecDeque::len);
        let silence = vec![vec![0.0; self.window + TAPS / 2]; self.channels];
        let mut out = self.apply(&silence);
        for plane in &mut out {
            plane.truncate(left);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 44_100;

    fn measure(planes: &[Vec<f32>]) -> Measured {
        let mut meter = Meter::new(planes.len(), RATE).expect("a meter");
        meter.add(&planes.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("samples");
        meter.measured().expect("a measurement")
    }

    fn leveled(planes: &[Vec<f32>], target: f64) -> Vec<Vec<f32>> {
        let mut measured = measure(planes);
        for _ in 0..2 {
            let result = measure(&at_level(planes, measured, target));
            measured = measured.refined(target, result).unwrap_or(measured);
        }
        at_level(planes, measured, target)
    }

    fn at_level(planes: &[Vec<f32>], measured: Measured, target: f64) -> Vec<Vec<f32>> {
        let mut level = Level::new(measured, target, RATE, planes.len());
        let mut out = vec![Vec::new(); planes.len()];
        let frames = planes[0].len();
        let mut give = |block: Vec<Vec<f32>>| out.iter_mut().zip(block).for_each(|(plane, more)| plane.extend(more));
        for start in (0..frames).step_by(1000) {
            give(level.apply(planes.iter().map(|plane| plane[start..frames.min(start + 1000)].to_vec()).collect()));
        }
        give(level.finish());
        out
    }

    fn tone(amplitude: impl Fn(usize) -> f32) -> Vec<f32> {
        (0..RATE as usize * 4).map(|at| (at as f32 * 0.13).sin() * amplitude(at)).collect()
    }

    #[test]
    fn soft_and_loud_come_to_the_target() {
        for amplitude in [0.001, 0.1, 0.99] {
            let sound = vec![tone(|_| amplitude); 2];
            let out = leveled(&sound, -16.0);
            let found = measure(&out);
            assert!((found.lufs.expect("sound") + 16.0).abs() < 0.15, "{amplitude}: {found:?}");
            assert_eq!(out[0].len(), sound[0].len());
        }
    }

    #[test]
    fn peaks_stay_under_the_ceiling_and_the_sound_stays_in_place() {
        // Soft, with bursts 30 dB above it, and one at the very end.
        let end = RATE as usize * 4 - 50;
        let sound = vec![tone(|at| if at % 20_000 < 40 || at > end { 0.9 } else { 0.03 }), tone(|_| 0.03)];
        let out = leveled(&sound, -16.0);
        let found = measure(&out);
        assert!(found.peak <= 10.0_f64.powf((CEILING + 0.2) / 20.0), "{found:?}");
        assert!((found.lufs.expect("sound") + 16.0).abs() < 0.5, "{found:?}");
        assert_eq!((out[0].len(), out[1].len()), (sound[0].len(), sound[1].len()));
        let (gain, middle) = (out[1][10_000] / sound[1][10_000], 12_345);
        assert!((out[1][middle] - sound[1][middle] * gain).abs() < 0.01, "a sample is where it was");
    }

    #[test]
    fn silence_stays_silence() {
        let silence = vec![vec![0.0; RATE as usize]; 2];
        assert_eq!(measure(&silence).lufs, None);
        assert_eq!(leveled(&silence, -16.0), silence);
    }
}
