//! Do the segments make a program that can be loaded and run?
//!
//! Loading concerns `[paddr, paddr + filesz)` and running `[vaddr, vaddr + memsz)`; never memsz at paddr, since
//! GNU ld gives Cortex-M's .data and .bss a flash paddr with memsz above filesz.

use std::io;

use super::{Code, Place, Report};
use crate::elf::{Elf, Segment};
use crate::source;

pub(super) fn check(elf: &Elf<'_>, report: &mut Report) -> io::Result<()> {
    if !elf.loads().any(|segment| segment.filesz > 0) {
        report.add(
            Code::NoLoadableSegment,
            None,
            "there is nothing to load: no segment of type LOAD has contents",
            "give the linked firmware, not its debug information or an object file",
        );
        return Ok(());
    }
    for segment in elf.loads() {
        check_sizes(elf, segment, report);
    }
    if elf.loads().any(|segment| address_wraps(elf, segment)) {
        return Ok(());
    }
    check_entry(elf, report);
    let mut segments = without_repetitions(elf, report)?;
    check_overlap(&mut segments, &LOADING, report);
    check_overlap(&mut segments, &RUNNING, report);
    note_permissions(elf, report);
    Ok(())
}

fn check_sizes(elf: &Elf<'_>, segment: &Segment, report: &mut Report) {
    let place = Some(Place::Segment(segment.index));
    if segment.filesz > segment.memsz {
        let (filesz, memsz) = (segment.filesz, segment.memsz);
        report.add(
            Code::FileSizeAboveMemorySize,
            place.clone(),
            format!("the segment has {filesz} bytes in the file and only {memsz} in memory"),
            "build the firmware again; a tool that edits ELF files may have broken it",
        );
    }
    if address_wraps(elf, segment) {
        report.add(
            Code::AddressWraps,
            place,
            format!(
                "the segment at {:#x} (loaded to {:#x}) ends beyond the {}-bit address space",
                segment.vaddr,
                segment.paddr,
                if elf.is_64_bit() { 64 } else { 32 }
            ),
            "check the addresses in the linker script",
        );
    }
}

/// True if loading or running it would need addresses beyond those of the file's class.
fn address_wraps(elf: &Elf<'_>, segment: &Segment) -> bool {
    let limit = if elf.is_64_bit() { u64::MAX } else { u64::from(u32::MAX) };
    let wraps =
        |start: u64, size: u64| size > 0 && start.checked_add(size - 1).is_none_or(|last| last > limit);
    wraps(segment.paddr, segment.filesz) || wraps(segment.vaddr, segment.memsz)
}

/// The entry point is a virtual address. A few kernels state a physical one, which loaders take as well. Without one,
/// a Cortex-M core still begins at its reset vector.
fn check_entry(elf: &Elf<'_>, report: &mut Report) {
    let reset = elf.reset_vector().filter(|reset| elf.entry == 0 && elf.is_cortex_m() && reset & 1 == 1);
    if !is_executable(elf, elf.entry_address()) && !reset.is_some_and(|reset| is_executable(elf, reset & !1))
    {
        report.add(
            Code::EntryOutside,
            Some(Place::Offset(0x18)),
            format!("the entry point {:#x} is outside every executable segment", elf.entry),
            "name the start symbol in the linker script with ENTRY(...), and see that its section is executable",
        );
    }
}

fn is_executable(elf: &Elf<'_>, address: u64) -> bool {
    let inside = |start: u64, size: u64| address >= start && address - start < size;
    elf.loads().filter(|s| s.is_executable()).any(|s| inside(s.vaddr, s.memsz) || inside(s.paddr, s.filesz))
}

/// The segments, without those that put the same bytes to the same addresses once more: they harm nobody.
fn without_repetitions<'e>(elf: &'e Elf<'_>, report: &mut Report) -> io::Result<Vec<&'e Segment>> {
    let addresses = |s: &Segment| (s.paddr, s.vaddr, s.filesz, s.memsz);
    let mut segments: Vec<&Segment> = elf.loads().collect();
    segments.sort_by_key(|s| addresses(s));
    // A made-up file may repeat itself endlessly; comparing as many bytes as it has is enough for any real one.
    let mut to_compare = elf.file_len();
    let mut same_bytes = |a: &Segment, b: &Segment| {
        if a.offset == b.offset {
            return Ok(true);
        }
        let Some(rest) = to_compare.checked_sub(a.filesz) else { return Ok(false) };
        to_compare = rest;
        source::same(elf.file(), a.offset, b.offset, a.filesz)
    };
    let mut repeated = None;
    let mut unread = None;
    segments.dedup_by(|later, earlier| {
        let same = addresses(later) == addresses(earlier)
            && same_bytes(later, earlier).unwrap_or_else(|error| {
                unread = Some(error);
                false
            });
        if same {
            repeated = Some((earlier.index, later.index));
        }
        same
    });
    if let Some((earlier, later)) = repeated {
        report.add(
            Code::RepeatedSegment,
            Some(Place::Segment(later)),
            format!("segment {later} is the same as segment {earlier}"),
            "nothing: it does no harm",
        );
    }
    match unread {
        Some(error) => Err(error),
        None => Ok(segments),
    }
}

/// What segments may share, or not.
struct Overlap {
    /// The first address, and bytes.
    range: fn(&Segment) -> (u64, u64),
    code: Code,
    verb: &'static str,
    remedy: &'static str,
}

const LOADING: Overlap = Overlap {
    range: |s| (s.paddr, s.filesz),
    code: Code::LoadOverlap,
    verb: "are loaded to",
    remedy: "check the addresses in the linker script: what is loaded later overwrites what was there",
};

/// Overlays share addresses by design, and so do sections of variables that are not used at the same time: the ROMs of
/// ESP32 chips and PSoC firmware have such segments.
const RUNNING: Overlap = Overlap {
    range: |s| (s.vaddr, s.memsz),
    code: Code::RunOverlap,
    verb: "run at",
    remedy: "nothing, if they are used in turns, as overlays are; else check the linker script",
};

/// Reports the first pair of neighbours that overlap: sorting keeps this far from quadratic time.
fn check_overlap(segments: &mut [&Segment], overlap: &Overlap, report: &mut Report) {
    let &Overlap { range, code, verb, remedy } = overlap;
    segments.sort_by_key(|s| range(s).0);
    let filled: Vec<_> = segments.iter().filter(|s| range(s).1 > 0).collect();
    let overlapping = filled.windows(2).find(|pair| {
        let ((low, size), (high, _)) = (range(pair[0]), range(pair[1]));
        high - low < size
    });
    if let Some(&[low, high]) = overlapping {
        report.add(
            code,
            Some(Place::Segment(high.index)),
            format!("segments {} and {} both {verb} {:#x}", low.index, high.index, range(high).0),
            remedy,
        );
    }
}

fn note_permissions(elf: &Elf<'_>, report: &mut Report) {
    if let Some(segment) = elf.loads().find(|s| s.is_writable_and_executable()) {
        report.add(
            Code::WritableAndExecutable,
            Some(Place::Segment(segment.index)),
            format!("the segment at {:#x} is {}", segment.vaddr, segment.permissions()),
            "nothing: this is normal for firmware",
        );
    }
}
