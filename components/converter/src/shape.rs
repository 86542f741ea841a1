//! What the owner wants done to the sound between decoder and encoder: a piece of it, one channel, another loudness.

use messages::Choices;

use crate::loudness::{Level, Measured};

/// Shapes blocks of samples, in order, from a sound's beginning.
#[derive(Debug, Clone)]
pub struct Shape {
    /// In samples of the sound.
    start: u64,
    end: u64,
    /// Samples seen.
    position: u64,
    mono: bool,
    level: Option<Level>,
}

impl Shape {
    /// For a sound of this many samples per second.
    #[must_use]
    pub fn new(choices: &Choices, rate: u32) -> Self {
        let samples = |seconds: f64| (seconds * f64::from(rate)).round() as u64;
        Self {
            start: choices.start.map_or(0, samples),
            end: choices.end.map_or(u64::MAX, samples),
            position: 0,
            mono: choices.mono,
            level: None,
        }
    }

    /// With the loudness that was chosen, if one was, for a sound of so many channels that was measured before.
    #[must_use]
    pub fn leveled(mut self, measured: Option<Measured>, choices: &Choices, rate: u32, channels: usize) -> Self {
        let channels = self.channels(channels);
        self.level = measured.zip(choices.loudness).map(|(found, target)| Level::new(found, target, rate, channels));
        self
    }

    /// Channels of what [`Shape::apply`] gives of a sound of so many.
    #[must_use]
    pub fn channels(&self, channels: usize) -> usize {
        if self.mono { 1 } else { channels }
    }

    /// Samples of the sound before the piece that is wanted.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// True if nothing that follows is wanted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.position >= self.end
    }

    /// Samples of the sound before the piece that is wanted, and in it, as far as they have come.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.position
    }

    /// So many samples are left out before the next block. Answers how many of them the piece that is wanted has.
    pub fn skip(&mut self, samples: u64) -> u64 {
        let before = self.position;
        self.position = before.saturating_add(samples);
        self.position.min(self.end).saturating_sub(before.max(self.start))
    }

    /// One block: equally long planes, one per channel. May come out empty.
    #[must_use]
    pub fn apply(&mut self, mut planes: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        let frames = planes.first().map_or(0, Vec::len);
        let within = |at: u64| usize::try_from(at.saturating_sub(self.position)).unwrap_or(usize::MAX).min(frames);
        let (from, to) = (within(self.start), within(self.end));
        self.position = self.position.saturating_add(frames as u64);
        for plane in &mut planes {
            plane.truncate(to);
            plane.drain(..from.min(plane.len()));
        }
        if self.mono && planes.len() > 1 {
            mix_down(&mut planes);
        }
        match &mut self.level {
            Some(level) => level.apply(planes),
            None => planes,
        }
    }

    /// What is still held back when the sound has ended.
    #[must_use]
    pub fn finish(&mut self) -> Vec<Vec<f32>> {
        self.level.as_mut().map(Level::finish).unwrap_or_default()
    }
}

/// Leaves the mean of all channels.
fn mix_down(planes: &mut Vec<Vec<f32>>) {
    let weight = (planes.len() as f32).recip();
    let others = planes.split_off(1);
    let Some(first) = planes.first_mut() else { return };
    for (index, sample) in first.iter_mut().enumerate() {
        let sum: f32 = others.iter().filter_map(|plane| plane.get(index)).sum();
        *sample = (*sample + sum) * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(from: usize, frames: usize) -> Vec<Vec<f32>> {
        let plane: Vec<f32> = (from..from + frames).map(|at| at as f32).collect();
        vec![plane.clone(), plane.iter().map(|sample| -sample).collect()]
    }

    #[test]
    fn a_piece_is_cut_out_to_the_sample_across_blocks() {
        let choices = Choices { start: Some(0.5), end: Some(1.2), ..Choices::default() };
        let mut shape = Shape::new(&choices, 10);
        let mut heard = Vec::new();
        for block in 0..4 {
            assert_eq!(shape.is_complete(), block == 3);
            heard.extend(shape.apply(ramp(block * 4, 4))[1].clone());
        }
        assert_eq!(heard, [-5.0, -6.0, -7.0, -8.0, -9.0, -10.0, -11.0]);
    }

    #[test]
    fn what_is_left_out_counts() {
        let choices = Choices { start: Some(0.5), end: Some(1.2), ..Choices::default() };
        let mut shape = Shape::new(&choices, 10);
        assert_eq!((shape.skip(4), shape.skip(4), shape.seen()), (0, 3, 8));
        assert_eq!(shape.apply(ramp(8, 2))[0], [8.0, 9.0]);
        assert_eq!((shape.skip(10), shape.is_complete()), (2, true));
    }

    #[test]
    fn one_channel_is_the_mean_of_both() {
        let mut shape = Shape::new(&Choices { mono: true, ..Choices::default() }, 10);
        assert_eq!(shape.channels(2), 1);
        assert_eq!(shape.apply(vec![vec![1.0, 0.5], vec![0.0, 0.5]]), [[0.5, 0.5]]);
        assert_eq!(shape.apply(vec![vec![0.25]]), [[0.25]]);
    }

    #[test]
    fn without_choices_the_sound_stays_as_it_is() {
        let mut shape = Shape::new(&Choices::default(), 10);
        assert_eq!(shape.apply(ramp(3, 5)), ramp(3, 5));
        assert!(!shape.is_complete());
    }
}
