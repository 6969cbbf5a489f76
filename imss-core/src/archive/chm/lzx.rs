//! The LZX stream of compiled help, frame by frame.
//!
//! In: the packed octets, the control data and the reset table. Out: a reader of what they expand
//! to. A frame that lies elsewhere than the table allows is an error.

use std::io::{Error, ErrorKind, Read};

use lzxd::WindowSize;

use super::le;
use crate::archive::lzx::Lzx;

/// Octets that one frame expands to.
const FRAME: u64 = 0x8000;

/// Decodes frame after frame.
pub(super) struct Frames<'a> {
    packed: &'a [u8],
    /// Where frames start.
    table: &'a [u8],
    next: usize,
    /// Frames between two resets.
    interval: usize,
    window: WindowSize,
    decoder: Option<Lzx>,
    /// Octets still to come.
    left: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a> Frames<'a> {
    pub(super) fn new(packed: &'a [u8], control: &[u8], resets: &'a [u8]) -> Option<Self> {
        if control.get(4..8)? != b"LZXC" {
            return None;
        }
        let unit = if le::u32_at(control, 8)? == 2 { FRAME } else { 1 };
        let interval = u64::from(le::u32_at(control, 12)?).checked_mul(unit)? / FRAME;
        let window = match u64::from(le::u32_at(control, 16)?).checked_mul(unit)? {
            0x8000 => WindowSize::KB32,
            0x1_0000 => WindowSize::KB64,
            0x2_0000 => WindowSize::KB128,
            0x4_0000 => WindowSize::KB256,
            0x8_0000 => WindowSize::KB512,
            0x10_0000 => WindowSize::MB1,
            0x20_0000 => WindowSize::MB2,
            _ => return None,
        };
        let header = usize::try_from(le::u32_at(resets, 12)?).ok()?;
        Some(Self {
            packed,
            table: resets.get(header..)?,
            next: 0,
            interval: usize::try_from(interval).ok().filter(|&interval| interval > 0)?,
            window,
            decoder: None,
            left: le::u64_at(resets, 16)?,
            buffer: Vec::new(),
            at: 0,
        })
    }

    /// Steps that clearing the window at each reset may take.
    pub(super) fn work(&self) -> u64 {
        let frames = self.table.len() / 8;
        (frames / self.interval.max(1)) as u64 * (self.window as u64 / 16)
    }

    fn frame(&mut self) -> Option<()> {
        let place = |number: usize| {
            let start = le::u64_at(self.table, number.checked_mul(8)?)?;
            usize::try_from(start).ok()
        };
        let start = place(self.next)?;
        let end = place(self.next.checked_add(1)?).unwrap_or(self.packed.len());
        let packed = self.packed.get(start..end.min(self.packed.len()))?;
        if self.next.is_multiple_of(self.interval) {
            self.decoder = Some(Lzx::new(self.window));
        }
        let length = usize::try_from(self.left.min(FRAME)).ok()?;
        self.decoder.as_mut()?.chunk(packed, length, &mut self.buffer).ok()?;
        self.left = self.left.saturating_sub(length as u64);
        (self.at, self.next) = (0, self.next.checked_add(1)?);
        Some(())
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.buffer.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.frame().ok_or(Error::new(ErrorKind::InvalidData, "a frame cannot be decoded"))?;
        }
        let ready = self.buffer.get(self.at..).unwrap_or_default();
        let length = ready.len().min(out.len());
        for (to, from) in out.iter_mut().zip(ready) {
            *to = *from;
        }
        self.at = self.at.saturating_add(length);
        Ok(length)
    }
}
