//! Do the segments make a program that can be loaded and run?
//!
//! Loading concerns `[paddr, paddr + filesz)` and running `[vaddr, vaddr + memsz)`; never memsz at paddr, since
//! GNU ld gives Cortex-M's .data and .bss a flash paddr with memsz above filesz.

use super::{Code, Place, Report};
use crate::elf::{Elf, Segment};

pub(super) fn check(elf: &Elf<'_>, report: &mut Report) {
    if !elf.loads().any(|segment| segment.filesz > 0) {
        report.add(
            Code::NoLoadableSegment,
            None,
            "there is nothing to load: no segment of type LOAD has contents",
            "give the linked firmware, not its debug information or an object file",
        );
        return;
    }
    for segment in elf.loads() {
        check_sizes(elf, segment, report);
    }
    if elf.loads().any(|segment| address_wraps(elf, segment)) {
        return;
    }
    check_entry(elf, report);
    let load = |s: &Segment| (s.paddr, s.filesz);
    check_overlap(elf, load, Code::LoadOverlap, "are loaded to", report);
    let run = |s: &Segment| (s.vaddr, s.memsz);
    check_overlap(elf, run, Code::RunOverlap, "run at", report);
    note_permissions(elf, report);
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

/// The entry point is a virtual address. A few kernels state a physical one, which loaders take as well.
fn check_entry(elf: &Elf<'_>, report: &mut Report) {
    let entry = elf.entry_address();
    let inside = |start: u64, size: u64| entry >= start && entry - start < size;
    let found = elf
        .loads()
        .filter(|s| s.is_executable())
        .any(|s| inside(s.vaddr, s.memsz) || inside(s.paddr, s.filesz));
    if !found {
        report.add(
            Code::EntryOutside,
            Some(Place::Offset(0x18)),
            format!("the entry point {:#x} is outside every executable segment", elf.entry),
            "name the start symbol in the linker script with ENTRY(...), and see that its section is executable",
        );
    }
}

/// Reports the first pair of neighbours that overlap: sorting keeps this far from quadratic time.
fn check_overlap(
    elf: &Elf<'_>,
    range: impl Fn(&Segment) -> (u64, u64),
    code: Code,
    verb: &str,
    report: &mut Report,
) {
    let mut segments: Vec<&Segment> = elf.loads().filter(|s| range(s).1 > 0).collect();
    segments.sort_by_key(|s| range(s).0);
    let overlapping = segments.windows(2).find(|pair| {
        let ((low, size), (high, _)) = (range(pair[0]), range(pair[1]));
        high - low < size
    });
    if let Some(&[low, high]) = overlapping {
        report.add(
            code,
            Some(Place::Segment(high.index)),
            format!("segments {} and {} both {verb} {:#x}", low.index, high.index, range(high).0),
            "check the linker script; if these are overlays on purpose, allow it",
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
