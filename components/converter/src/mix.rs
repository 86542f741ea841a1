//! Any channel layout to one or two channels.

use symphonia::core::audio::{ChannelLabel, Channels, Position};

/// Beyond this a sample is a defect, and LAME is not made for it; full scale is 1.
const LIMIT: f32 = 4.0;
/// 3 dB down, for what is heard in both ears (ITU-R BS.775).
const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// How much of every input channel goes to left and right.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    weights: Vec<(f32, f32)>,
    mono: bool,
}

impl Mix {
    /// From a layout to `outputs` (1 or 2) channels; loud enough, but never louder than full scale.
    #[must_use]
    pub fn new(channels: &Channels, outputs: usize) -> Self {
        let count = channels.count();
        let mut weights: Vec<(f32, f32)> = match channels {
            _ if count == 1 => vec![(1.0, 1.0)],
            Channels::Positioned(positions) if count > 2 => positions.iter().map(weight).collect(),
            // In an order of their own; one without a place is not heard.
            Channels::Custom(labels) if count > 2 => labels.iter().map(labelled).collect(),
            // Files that only count their channels have them in the order of WAVE.
            Channels::Discrete(_) if count > 2 => by_count(count),
            _ => (0..count).map(|index| if index % 2 == 0 { (1.0, 0.0) } else { (0.0, 1.0) }).collect(),
        };
        let mono = outputs == 1;
        if mono {
            for weight in &mut weights {
                *weight = (weight.0 + weight.1, 0.0);
            }
        }
        let sum = weights.iter().fold((0.0_f32, 0.0_f32), |sum, weight| (sum.0 + weight.0, sum.1 + weight.1));
        let scale = sum.0.max(sum.1).max(1.0).recip();
        for weight in &mut weights {
            *weight = (weight.0 * scale, weight.1 * scale);
        }
        Self { weights, mono }
    }

    /// The mixed samples in one or two planes, of equally long ones.
    #[must_use]
    pub fn apply(&self, input: &[&[f32]]) -> Vec<Vec<f32>> {
        let weights = |right: bool| self.weights.iter().map(move |weight| if right { weight.1 } else { weight.0 });
        let plane = |right: bool| {
            let mut heard = input.iter().zip(weights(right)).filter(|(_, weight)| *weight != 0.0);
            match (heard.next(), heard.next()) {
                (None, _) => vec![0.0; input.first().map_or(0, |channel| channel.len())],
                // As it mostly is: in one pass.
                (Some((channel, weight)), None) => channel.iter().map(|sample| bounded(sample * weight)).collect(),
                (Some((channel, weight)), Some(second)) => {
                    let mut sum: Vec<f32> = channel.iter().map(|sample| sample * weight).collect();
                    for (channel, weight) in std::iter::once(second).chain(heard) {
                        for (sum, sample) in sum.iter_mut().zip(*channel) {
                            *sum += sample * weight;
                        }
                    }
                    for sample in &mut sum {
                        *sample = bounded(*sample);
                    }
                    sum
                }
            }
        };
        if self.mono { vec![plane(false)] } else { vec![plane(false), plane(true)] }
    }
}

fn bounded(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LIMIT, LIMIT) } else { 0.0 }
}

/// The usual layout of so many channels, which are in the order of WAVE.
fn by_count(count: usize) -> Vec<(f32, f32)> {
    let front = Position::FRONT_LEFT | Position::FRONT_RIGHT;
    let rear = Position::REAR_LEFT | Position::REAR_RIGHT;
    let side = Position::SIDE_LEFT | Position::SIDE_RIGHT;
    let five = front | Position::FRONT_CENTER | rear;
    let positions = match count {
        3 => front | Position::FRONT_CENTER,
        4 => front | rear,
        5 => five,
        6 => five | Position::LFE1,
        7 => front | Position::FRONT_CENTER | Position::LFE1 | Position::REAR_CENTER | side,
        8 => five | Position::LFE1 | side,
        // Nobody knows: all of them, to both sides.
        _ => return vec![(1.0, 1.0); count],
    };
    positions.iter().map(weight).collect()
}

fn labelled(label: &ChannelLabel) -> (f32, f32) {
    match label {
        ChannelLabel::Positioned(position) => weight(*position),
        _ => (0.0, 0.0),
    }
}

fn weight(position: Position) -> (f32, f32) {
    let left = Position::FRONT_LEFT | Position::FRONT_LEFT_CENTER | Position::FRONT_LEFT_WIDE;
    let right = Position::FRONT_RIGHT | Position::FRONT_RIGHT_CENTER | Position::FRONT_RIGHT_WIDE;
    let left_behind = Position::REAR_LEFT | Position::SIDE_LEFT | Position::TOP_FRONT_LEFT | Position::TOP_REAR_LEFT;
    let right_behind =
        Position::REAR_RIGHT | Position::SIDE_RIGHT | Position::TOP_FRONT_RIGHT | Position::TOP_REAR_RIGHT;
    // Of the two bass channels, which most loudspeakers for two channels cannot reproduce, nothing.
    let center = Position::FRONT_CENTER | Position::TOP_CENTER | Position::TOP_FRONT_CENTER;
    if left.contains(position) {
        (1.0, 0.0)
    } else if right.contains(position) {
        (0.0, 1.0)
    } else if left_behind.contains(position) {
        (HALF_POWER, 0.0)
    } else if right_behind.contains(position) {
        (0.0, HALF_POWER)
    } else if center.contains(position) {
        (HALF_POWER, HALF_POWER)
    } else if position == Position::REAR_CENTER {
        (0.5, 0.5)
    } else {
        (0.0, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(channels: Channels, outputs: usize, input: &[f32]) -> Vec<f32> {
        let input: Vec<&[f32]> = input.iter().map(std::slice::from_ref).collect();
        let output = Mix::new(&channels, outputs).apply(&input);
        assert_eq!(output.len(), outputs);
        output.concat()
    }

    #[test]
    fn one_and_two_channels_stay_as_they_are() {
        let stereo = || Channels::Positioned(Position::FRONT_LEFT | Position::FRONT_RIGHT);
        assert_eq!(mixed(Channels::Positioned(Position::FRONT_LEFT), 1, &[0.5]), [0.5]);
        assert_eq!(mixed(stereo(), 2, &[0.5, -0.25]), [0.5, -0.25]);
        assert_eq!(mixed(Channels::Discrete(2), 2, &[0.5, -0.25]), [0.5, -0.25]);
        assert_eq!(mixed(stereo(), 1, &[0.5, -0.25]), [0.125]);
        assert_eq!(mixed(Channels::Discrete(1), 2, &[0.5]), [0.5, 0.5]);
    }

    #[test]
    fn surround_keeps_its_sides_and_its_centre_and_never_clips() {
        let surround = Position::FRONT_LEFT
            | Position::FRONT_RIGHT
            | Position::FRONT_CENTER
            | Position::LFE1
            | Position::REAR_LEFT
            | Position::REAR_RIGHT;
        let all = mixed(Channels::Positioned(surround), 2, &[1.0; 6]);
        assert!(all.iter().all(|sample| (0.99..=1.0).contains(sample)), "{all:?}");
        let left = mixed(Channels::Positioned(surround), 2, &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(left[0] > 0.4 && left[1] == 0.0, "{left:?}");
        let centre = mixed(Channels::Positioned(surround), 2, &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert!(centre[0] > 0.28 && centre[0] == centre[1], "{centre:?}");
    }

    #[test]
    fn channels_without_positions_are_in_the_usual_ones() {
        for count in 3..=12 {
            let all = mixed(Channels::Discrete(count), 2, &vec![1.0; usize::from(count)]);
            assert!(all.iter().all(|sample| (0.99..=1.001).contains(sample)), "{count}: {all:?}");
        }
        let alone = |at: usize| {
            let input: Vec<f32> = (0..8).map(|channel| if channel == at { 1.0 } else { 0.0 }).collect();
            mixed(Channels::Discrete(8), 2, &input)
        };
        assert!(alone(6)[0] > 0.2 && alone(6)[1] == 0.0, "{:?}", alone(6));
        assert_eq!(alone(3), [0.0, 0.0]);
    }

    #[test]
    fn channels_in_another_order_go_where_they_belong() {
        let labels = [Position::FRONT_CENTER, Position::FRONT_RIGHT, Position::LFE1].map(ChannelLabel::Positioned);
        let channels = || Channels::Custom(labels.into());
        let right = mixed(channels(), 2, &[0.0, 1.0, 0.0]);
        assert!(right[0] == 0.0 && right[1] > 0.5, "{right:?}");
        let centre = mixed(channels(), 2, &[1.0, 0.0, 0.0]);
        assert!(centre[0] > 0.3 && centre[0] == centre[1], "{centre:?}");
        assert_eq!(mixed(channels(), 2, &[0.0, 0.0, 1.0]), [0.0, 0.0]);
    }

    #[test]
    fn defects_are_silenced_or_bounded() {
        let defects = mixed(Channels::Discrete(2), 2, &[f32::NAN, f32::INFINITY]);
        assert_eq!(defects, [0.0, 0.0]);
        assert_eq!(mixed(Channels::Discrete(1), 1, &[-1e30]), [-LIMIT]);
    }
}
