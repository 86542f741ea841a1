//! The loudspeakers of Xiph's codecs (Vorbis I, 4.3.9; RFC 7845, 5.1.1.2).

use symphonia::core::audio::Position;

/// For 1 to 8 channels: the layout, and for each of its channels in Symphonia's order (that of
/// WAVE) which one of the Vorbis order it is.
pub(super) const LAYOUTS: [(Position, &[usize]); 8] = {
    const FRONT: Position = Position::FRONT_LEFT.union(Position::FRONT_RIGHT);
    const REAR: Position = Position::REAR_LEFT.union(Position::REAR_RIGHT);
    const SIDE: Position = Position::SIDE_LEFT.union(Position::SIDE_RIGHT);
    const THREE: Position = FRONT.union(Position::FRONT_CENTER);
    const FIVE_ONE: Position = THREE.union(REAR).union(Position::LFE1);
    [
        (Position::FRONT_LEFT, &[0]),
        (FRONT, &[0, 1]),
        (THREE, &[0, 2, 1]),
        (FRONT.union(REAR), &[0, 1, 2, 3]),
        (THREE.union(REAR), &[0, 2, 1, 3, 4]),
        (FIVE_ONE, &[0, 2, 1, 5, 3, 4]),
        (THREE.union(SIDE).union(Position::REAR_CENTER).union(Position::LFE1), &[0, 2, 1, 6, 5, 3, 4]),
        (FIVE_ONE.union(SIDE), &[0, 2, 1, 7, 5, 6, 3, 4]),
    ]
};
