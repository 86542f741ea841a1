//! Sound of one sample rate to another, by `rubato`: where MP3 lacks the rate of the source, and where a source changes
//! its own.
//!
//! LAME converts rates too, with a filter of 32 taps that lets through much of what it should not.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// Samples taken at once, about.
const CHUNK: usize = 1024;

/// Converts blocks of samples, in order; what comes out is as long as what goes in, to a sample, and in time with it.
pub struct Resampler {
    fft: Fft<f32>,
    from: u32,
    to: u32,
    /// What is too short for a chunk.
    waiting: Vec<Vec<f32>>,
    chunk: Vec<Vec<f32>>,
    /// Samples at the start that belong to the filter.
    delay: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// From and to so many samples per second. None for a rate of 0 or no channels.
    #[must_use]
    pub fn new(from: u32, to: u32, channels: usize) -> Option<Self> {
        let (input, output) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
        let step = input / greatest_common_divisor(input, output).max(1);
        // An even number of steps, because half of a chunk is the filter's delay, which has to be whole samples.
        let chunk = step.checked_mul(CHUNK.div_ceil(step.max(1)).next_multiple_of(2))?;
        let fft = Fft::new_custom(input, output, chunk, 1, channels, WindowFunction::BlackmanHarris2, FixedSync::Both);
        let fft = fft.ok()?;
        let chunk = vec![vec![0.0; fft.output_frames_max()]; channels];
        let delay = fft.output_delay();
        Some(Self { fft, from, to, waiting: vec![Vec::new(); channels], chunk, delay, taken: 0, given: 0 })
    }

    /// Samples per second of what goes in.
    #[must_use]
    pub fn from(&self) -> u32 {
        self.from
    }

    /// Takes one plane per channel, equally long, and gives what is ready, which may be nothing.
    #[must_use]
    pub fn process(&mut self, planes: &[&[f32]]) -> Vec<Vec<f32>> {
        self.taken = self.taken.saturating_add(planes.first().map_or(0, |plane| plane.len()) as u64);
        for (waiting, plane) in self.waiting.iter_mut().zip(planes) {
            waiting.extend_from_slice(plane);
        }
        let mut out = vec![Vec::new(); self.chunk.len()];
        self.convert(&mut out);
        out
    }

    /// Gives the rest; nothing may follow.
    #[must_use]
    pub fn finish(&mut self) -> Vec<Vec<f32>> {
        let wanted = self.wanted();
        let mut out = vec![Vec::new(); self.chunk.len()];
        // The filter's end comes out when silence follows; of that, a chunk at a time, only a few are needed.
        for _ in 0..8 {
            if self.given >= wanted {
                break;
            }
            let chunk = self.fft.input_frames_next();
            for waiting in &mut self.waiting {
                let length = (waiting.len() / chunk.max(1) + 1) * chunk;
                waiting.resize(length, 0.0);
            }
            self.convert(&mut out);
        }
        let excess = usize::try_from(self.given.saturating_sub(wanted)).unwrap_or(usize::MAX);
        for plane in &mut out {
            plane.truncate(plane.len().saturating_sub(excess));
        }
        out
    }

    /// Samples that make as much time as those taken.
    fn wanted(&self) -> u64 {
        let (from, to) = (u128::from(self.from), u128::from(self.to));
        u64::try_from((u128::from(self.taken) * to + from / 2) / from.max(1)).unwrap_or(u64::MAX)
    }

    /// Converts all the chunks there are and appends them.
    fn convert(&mut self, out: &mut [Vec<f32>]) {
        let channels = self.chunk.len();
        let mut at = 0;
        loop {
            let (need, room) = (self.fft.input_frames_next(), self.fft.output_frames_next());
            let rest: Option<Vec<Vec<f32>>> =
                self.waiting.iter().map(|plane| Some(plane.get(at..at + need)?.to_vec())).collect();
            let Some(rest) = rest else { break };
            let Ok(input) = SequentialSliceOfVecs::new(&rest, channels, need) else { break };
            let Ok(mut output) = SequentialSliceOfVecs::new_mut(&mut self.chunk, channels, room) else { break };
            let Ok((taken, given)) = self.fft.process_into_buffer(&input, &mut output, None) else { break };
            at += taken;
            let skip = self.delay.min(given);
            self.delay -= skip;
            self.given = self.given.saturating_add((given - skip) as u64);
            for (plane, chunk) in out.iter_mut().zip(&self.chunk) {
                plane.extend_from_slice(chunk.get(skip..given).unwrap_or_default());
            }
            if taken == 0 {
                break;
            }
        }
        for plane in &mut self.waiting {
            plane.drain(..at.min(plane.len()));
        }
    }
}

fn greatest_common_divisor(one: usize, other: usize) -> usize {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, rate: u32, seconds: f64) -> Vec<f32> {
        let count = (seconds * f64::from(rate)).round() as usize;
        (0..count).map(|at| (at as f64 * hertz * std::f64::consts::TAU / f64::from(rate)).sin() as f32).collect()
    }

    fn resampled(input: &[f32], from: u32, to: u32, block: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to, 1).expect("a resampler");
        let mut output: Vec<f32> = input.chunks(block).flat_map(|block| resampler.process(&[block]).concat()).collect();
        output.extend(resampler.finish().concat());
        output
    }

    /// In decibels over what differs, but for the ends, where the tone begins and stops at once.
    fn snr(wanted: &[f32], got: &[f32]) -> f64 {
        let middle = wanted.len() / 8..wanted.len() * 7 / 8;
        let power = |samples: &mut dyn Iterator<Item = f32>| samples.map(|x| f64::from(x).powi(2)).sum::<f64>();
        let signal = power(&mut wanted[middle.clone()].iter().copied());
        let noise = power(&mut middle.map(|at| wanted[at] - got[at]));
        10.0 * (signal / noise.max(1e-20)).log10()
    }

    #[test]
    fn tones_stay_what_they_are_at_every_rate() {
        for (from, to) in
            [(96_000, 48_000), (192_000, 48_000), (37_800, 44_100), (8000, 44_100), (5512, 8000), (44_100, 8000)]
        {
            let hertz = f64::from(from.min(to)) / 7.0;
            let output = resampled(&tone(hertz, from, 1.0), from, to, 1153);
            assert_eq!(output.len(), to as usize, "{from} to {to}");
            let snr = snr(&tone(hertz, to, 1.0), &output);
            assert!(snr > 90.0, "{from} to {to}: {snr} dB");
        }
    }

    #[test]
    fn what_the_lower_rate_has_no_room_for_is_not_heard() {
        let output = resampled(&tone(30_000.0, 96_000, 1.0), 96_000, 48_000, 4096);
        let loudest = output[4800..43_200].iter().fold(0.0_f32, |max, x| max.max(x.abs()));
        assert!(loudest < 0.0001, "{loudest}");
    }

    #[test]
    fn the_length_is_exact_for_sounds_of_any_length() {
        for frames in [1, 2, 100, 1023, 1024, 1025, 50_000] {
            let output = resampled(&vec![0.5; frames], 96_000, 44_100, 700);
            assert_eq!(output.len(), (frames as f64 * 0.459_375).round() as usize, "{frames}");
        }
        assert!(resampled(&[], 96_000, 44_100, 700).is_empty());
        assert!(Resampler::new(0, 44_100, 1).is_none());
    }
}
