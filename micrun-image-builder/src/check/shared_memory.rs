//! Where a resource table puts what host and guest share, against the board's memory and the program itself.
//!
//! Only fixed addresses can be judged. They are the guest's, and so are a segment's load addresses: loaders take both
//! for the same.

use std::io;

use micrun_image_spec::board::BoardProfile;

use super::{Code, Place, Report};
use crate::elf::resource_table::{ResourceTable, SharedArea};
use crate::elf::{Elf, Segment};
use crate::source;

/// Bytes of one area that are looked at to see whether the program has anything there, and bytes of all of them: areas and
/// segments may lie upon each other in a made-up file.
const MAX_LOOKED_AT: u64 = 64 << 10;
const MAX_LOOKED_AT_IN_ALL: u64 = 1 << 20;
/// Segments that are compared with each area; real firmware has less than a hundred.
const MAX_SEGMENTS: usize = 256;

pub(super) fn check(
    elf: &Elf<'_>,
    section_at: u64,
    table: &ResourceTable,
    board: Option<&BoardProfile>,
    report: &mut Report,
) -> io::Result<()> {
    let mut program = Program { elf, to_look_at: MAX_LOOKED_AT_IN_ALL };
    for area in table.shared_areas() {
        let place = Some(Place::Offset(section_at.saturating_add(area.entry_at.into())));
        let SharedArea { what, start, len, .. } = &area;
        if let Some(board) = board.filter(|board| is_outside(&area, board)) {
            report.add(
                Code::OutsideReservedMemory,
                place.clone(),
                format!("{what}, {len} bytes at {start:#x}, is outside what board {board} reserves"),
                "place it in a region of kind reserved: micrun-image-builder boards show BOARD",
            );
        }
        if let Some(segment) = program.first_overwritten(&area)? {
            report.add(
                Code::SharedMemoryOnProgram,
                place,
                format!("{what}, {len} bytes at {start:#x}, lies on segment {}", segment.index),
                "move one of them in the linker script, or leave the address to the host (0xffffffff)",
            );
        }
    }
    Ok(())
}

/// True if the board says what it reserves, and the area is not in it.
fn is_outside(area: &SharedArea, board: &BoardProfile) -> bool {
    let mut reserved = board.memory.reserved().peekable();
    reserved.peek().is_some() && !reserved.any(|region| region.contains(area.start, area.len))
}

/// What is loaded, looked at up to a number of bytes.
struct Program<'e, 'f> {
    elf: &'e Elf<'f>,
    to_look_at: u64,
}

impl<'e> Program<'e, '_> {
    /// The first segment that the host would overwrite. A carveout may hold whole segments, and buffers may be part of
    /// the program as long as nothing stands there.
    fn first_overwritten(&mut self, area: &SharedArea) -> io::Result<Option<&'e Segment>> {
        let end = area.start.saturating_add(area.len);
        for segment in self.elf.loads().take(MAX_SEGMENTS) {
            let segment_end = segment.paddr.saturating_add(segment.filesz);
            let (from, to) = (area.start.max(segment.paddr), end.min(segment_end));
            let is_whole = from == segment.paddr && to == segment_end;
            let is_meant = area.is_carveout && is_whole;
            if from < to && !is_meant && !self.is_blank(segment, from - segment.paddr, to - from)? {
                return Ok(Some(segment));
            }
        }
        Ok(None)
    }

    fn is_blank(&mut self, segment: &Segment, skip: u64, len: u64) -> io::Result<bool> {
        let len = len.min(MAX_LOOKED_AT).min(self.to_look_at);
        self.to_look_at -= len;
        let bytes = source::bytes(self.elf.file(), segment.offset.saturating_add(skip), len)?;
        Ok(bytes.iter().all(|&byte| byte == 0))
    }
}
