//! MPEG transport streams (`.ts`, `.m2ts`), with packets of 188 bytes, 192 (Blu-ray, AVCHD) or 204 (with error
//! correction).
//!
//! The audio streams of a program keep their tracks when its table changes in mid-stream.

use std::collections::BTreeMap;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::common::FourCc;
use symphonia::core::errors::{Error, Result};
use symphonia::core::formats::{FormatId, FormatInfo, Track};
use symphonia::core::packet::Packet;

use super::bytes::{be16, u8_at};
use super::frames::Coding;
use super::input::Input;
use super::pes::{self, Elementary, Streams};
use super::tables::{Section, programs, streams};
use super::{Demux, info, names, video_track};

const SYNC: u8 = 0x47;
const PACKET: usize = 188;
/// Bytes before the first packet that may be something else.
const MAX_LEAD: usize = 4096;
/// Bytes looked through for the tracks once one of them is known, and if none is.
const PROBE: (u64, u64) = (4 << 20, 64 << 20);
const MAX_PIDS: usize = 256;
const MAX_STREAMS: usize = 64;
/// The longest header of a PES packet.
const MAX_HEADER: usize = 9 + 255;
const VIDEO_TRACK: u32 = 1000;

/// Where the first packet begins, and how far apart they are.
pub(super) fn layout(head: &[u8]) -> Option<(usize, usize)> {
    [PACKET, 192, 204].into_iter().find_map(|stride| {
        let start = (0..MAX_LEAD.min(head.len())).find(|start| {
            let mut syncs = head.get(*start..).unwrap_or_default().iter().step_by(stride).take(10);
            syncs.len() >= 4 && syncs.all(|byte| *byte == SYNC)
        })?;
        Some((start, stride))
    })
}

pub(super) struct Transport {
    start: u64,
    stride: usize,
    tracks: Vec<Track>,
    streams: Streams,
    /// What the streams are: the program, and which of its audio streams.
    places: Vec<(u16, usize)>,
    pids: BTreeMap<u16, Pid>,
    has_video: bool,
    has_tables: bool,
    lost: bool,
    ended: bool,
}

struct Pid {
    role: Role,
    counter: Option<u8>,
}

enum Role {
    Programs(Section),
    Program(u16, Section),
    Audio(Carried),
    Other,
}

/// An audio stream in PES packets.
struct Carried {
    stream: usize,
    coding: std::result::Result<Coding, AudioCodecId>,
    header: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The beginning of the packet was not seen.
    Waiting,
    Header,
    Payload,
}

impl Demux for Transport {
    const INFO: FormatInfo = info(FormatId::new(FourCc::new(*b"mpts")), "mpegts", "MPEG transport stream");

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next(&mut self, input: &mut Input<'_>) -> Result<Option<Packet>> {
        loop {
            if let Some(given) = self.streams.next(self.ended) {
                if matches!(given, Err(Error::ResetRequired)) {
                    self.tracks = self.all_tracks();
                }
                return given.map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            self.packet(input)?;
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.streams.end();
    }
}

impl Transport {
    /// Finds the tracks.
    pub(super) fn open(input: &mut Input<'_>) -> Result<Self> {
        let (start, stride) = layout(input.peek(64 * 1024)?).ok_or(Error::DecodeError("mpegts: no packets"))?;
        let mut probe = Self::new(start as u64, stride);
        // Without a table, streams are taken for what they look like.
        for has_tables in [true, false] {
            probe = Self { has_tables, ..Self::new(start as u64, stride) };
            input.seek(probe.start)?;
            probe.find_tracks(input)?;
            if probe.streams.known().1 || probe.has_video {
                break;
            }
        }
        probe.tracks = probe.all_tracks();
        input.seek(probe.start)?;
        probe.rewind();
        Ok(probe)
    }

    fn new(start: u64, stride: usize) -> Self {
        let programs = Pid { role: Role::Programs(Section::default()), counter: None };
        Self {
            start,
            stride,
            tracks: Vec::new(),
            streams: Streams::default(),
            places: Vec::new(),
            pids: BTreeMap::from([(0, programs)]),
            has_video: false,
            has_tables: true,
            lost: false,
            ended: false,
        }
    }

    fn find_tracks(&mut self, input: &mut Input<'_>) -> Result<()> {
        loop {
            match self.next(input) {
                Ok(None) => return Ok(()),
                Ok(Some(_)) | Err(Error::ResetRequired | Error::DecodeError(_)) => {}
                Err(error) => return Err(error),
            }
            let (all, any) = self.streams.known();
            let passed = input.position().saturating_sub(self.start);
            // A table may still come that names more streams, but not for long.
            if (all && any && passed > PROBE.0 / 4) || passed > if any { PROBE.0 } else { PROBE.1 } {
                return Ok(());
            }
        }
    }

    /// Forgets the media, but not the tables.
    fn rewind(&mut self) {
        self.ended = false;
        self.lost = false;
        for pid in self.pids.values_mut() {
            pid.counter = None;
            if let Role::Audio(carried) = &mut pid.role {
                carried.state = State::Waiting;
            }
        }
        self.streams = std::mem::take(&mut self.streams).renewed();
    }

    fn all_tracks(&self) -> Vec<Track> {
        let mut tracks: Vec<Track> = self.streams.tracks().collect();
        if self.has_video {
            tracks.push(video_track(VIDEO_TRACK));
        }
        tracks
    }

    /// Reads one packet, or goes on looking for one.
    fn packet(&mut self, input: &mut Input<'_>) -> Result<()> {
        let window = input.peek(self.stride + 1)?;
        if window.len() < PACKET {
            self.end();
            return Ok(());
        }
        let next = window.get(self.stride).copied();
        if u8_at(window, 0) != Some(SYNC) || (self.lost && next.is_some_and(|next| next != SYNC)) {
            let passed = window.iter().skip(1).position(|byte| *byte == SYNC).map_or(window.len(), |at| at + 1);
            input.consume(passed);
            if !std::mem::replace(&mut self.lost, true) {
                self.streams.cut();
            }
            return Ok(());
        }
        self.lost = false;
        let packet = window.get(..PACKET).unwrap_or_default().to_vec();
        input.consume(self.stride);
        let _ = self.take(&packet);
        Ok(())
    }

    /// Takes what is in a packet; none if it is nothing that counts.
    fn take(&mut self, packet: &[u8]) -> Option<()> {
        let start = be16(packet, 1)?;
        let control = u8_at(packet, 3)?;
        let (damaged, begins, pid) = (start & 0x8000 != 0, start & 0x4000 != 0, start & 0x1fff);
        let mut at = 4;
        let mut discontinuous = false;
        if control & 0x20 != 0 {
            let length = usize::from(u8_at(packet, 4)?);
            discontinuous = length > 0 && u8_at(packet, 5)? & 0x80 != 0;
            at += 1 + length;
        }
        if control & 0x10 == 0 || damaged {
            return None;
        }
        let payload = packet.get(at..)?;
        if !self.has_tables && begins && !self.pids.contains_key(&pid) {
            self.guess(pid, payload);
        }
        let known = self.pids.get_mut(&pid)?;
        let counter = control & 15;
        let before = known.counter.replace(counter);
        if before == Some(counter) && !discontinuous {
            return None;
        }
        let whole = discontinuous || before.is_none_or(|before| (before + 1) & 15 == counter);
        match &mut known.role {
            Role::Programs(section) => {
                let table = section.push(payload, begins)?;
                for (program, pid) in programs(&table) {
                    if self.pids.len() < MAX_PIDS {
                        let role = Role::Program(program, Section::default());
                        self.pids.entry(pid).or_insert(Pid { role, counter: None });
                    }
                }
                None
            }
            Role::Program(program, section) => {
                let program = *program;
                let table = section.push(payload, begins)?;
                self.program(program, &table);
                None
            }
            Role::Audio(carried) => {
                if !whole && let Some(stream) = self.streams.get(carried.stream) {
                    stream.cut();
                }
                if control & 0xc0 == 0 {
                    carried.push(payload, begins, &mut self.streams);
                } else if let Some(stream) = self.streams.get(carried.stream)
                    && !stream.is_known()
                {
                    stream.recode(Err(names::ENCRYPTED));
                }
                Some(())
            }
            Role::Other => None,
        }
    }

    /// Takes over a program's table.
    fn program(&mut self, program: u16, table: &[u8]) {
        let mut audio = 0;
        for found in streams(table) {
            self.has_video |= found.video;
            let Some(coding) = found.audio else { continue };
            let place = (program, audio);
            audio += 1;
            let index = self.places.iter().position(|known| *known == place);
            let index = index.unwrap_or(self.places.len());
            if index == self.places.len() {
                if index >= MAX_STREAMS || self.pids.len() >= MAX_PIDS {
                    return;
                }
                self.places.push(place);
                self.streams.add(Elementary::new(u32::try_from(index).unwrap_or(0), coding, found.language));
            }
            let same = match self.pids.get(&found.pid).map(|pid| &pid.role) {
                Some(Role::Audio(carried)) => carried.stream == index && carried.coding == coding,
                Some(Role::Programs(_) | Role::Program(..)) => true,
                Some(Role::Other) | None => false,
            };
            if !same {
                let moved =
                    self.pids.values_mut().find(|pid| matches!(&pid.role, Role::Audio(old) if old.stream == index));
                if let Some(moved) = moved {
                    moved.role = Role::Other;
                    if let Some(stream) = self.streams.get(index) {
                        stream.recode(coding);
                    }
                }
                let carried = Carried { stream: index, coding, header: Vec::new(), state: State::Waiting };
                self.pids.insert(found.pid, Pid { role: Role::Audio(carried), counter: None });
            }
        }
    }

    /// A stream that no table names, by the first bytes of one of its PES packets.
    fn guess(&mut self, pid: u16, payload: &[u8]) {
        let coding = match super::bytes::be32(payload, 0) {
            Some(0x1c0..=0x1df) => Coding::Unknown,
            Some(0x1bd) => Coding::Ac3,
            Some(0x1e0..=0x1ef) => {
                self.has_video = true;
                return;
            }
            _ => return,
        };
        if self.places.len() < MAX_STREAMS && self.pids.len() < MAX_PIDS {
            let stream = self.places.len();
            self.places.push((0, stream));
            self.streams.add(Elementary::new(u32::try_from(stream).unwrap_or(0), Ok(coding), None));
            let carried = Carried { stream, coding: Ok(coding), header: Vec::new(), state: State::Waiting };
            self.pids.insert(pid, Pid { role: Role::Audio(carried), counter: None });
        }
    }
}

impl Carried {
    fn push(&mut self, payload: &[u8], begins: bool, streams: &mut Streams) {
        if begins {
            self.header.clear();
            self.state = State::Header;
        }
        match self.state {
            State::Waiting => {}
            State::Payload => streams.push(self.stream, payload, None),
            State::Header => {
                self.header.extend_from_slice(payload);
                match pes::header(&self.header) {
                    _ if !self.header.starts_with(&[0, 0, 1]) => self.state = State::Waiting,
                    Some((end, time)) => {
                        streams.push(self.stream, self.header.get(end..).unwrap_or_default(), time);
                        self.state = State::Payload;
                    }
                    None if self.header.len() > MAX_HEADER => self.state = State::Waiting,
                    None => {}
                }
            }
        }
    }
}
