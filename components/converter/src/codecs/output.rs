//! What the decoders here hand out: one packet's samples in a buffer that is used again and again.

use symphonia::core::audio::{
    AsGenericAudioBufferRef, Audio, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::packet::PacketRef;

/// The samples of the packet decoded last.
pub(super) struct Output {
    buffer: AudioBuffer<f32>,
}

impl Output {
    /// Nothing decoded yet.
    pub(super) fn new() -> Self {
        // A layout without channels is not possible; the first packet says which one it is.
        Self { buffer: AudioBuffer::new(AudioSpec::new(48_000, Channels::Discrete(1)), 0) }
    }

    /// Takes `frames` samples of each channel, `write` filling the planes in the order of `channels`, and cuts off
    /// what the container says is not meant to be heard.
    pub(super) fn fill(
        &mut self,
        rate: u32,
        channels: &Channels,
        frames: usize,
        packet: &PacketRef<'_>,
        mut write: impl FnMut(usize, &mut [f32]),
    ) -> GenericAudioBufferRef<'_> {
        let spec = self.buffer.spec();
        if spec.rate() != rate || spec.channels() != channels || self.buffer.capacity() < frames {
            self.buffer = AudioBuffer::new(AudioSpec::new(rate, channels.clone()), frames);
        }
        self.buffer.clear();
        self.buffer.render_silence(Some(frames));
        for (index, plane) in self.buffer.iter_planes_mut().enumerate() {
            write(index, plane);
        }
        let ticks = |ticks: u64| usize::try_from(ticks).unwrap_or(usize::MAX);
        self.buffer.trim(ticks(packet.trim_start.get()), ticks(packet.trim_end.get()));
        self.last()
    }

    /// Forgets the last packet, after one that could not be decoded.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }

    /// The samples of the packet decoded last.
    pub(super) fn last(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}
