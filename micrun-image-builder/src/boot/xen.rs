//! The boot image of a Xen domain on arm64.
//!
//! What Xen does with the file that `kernel=` names (Xen 4.20; libxenguest, the domain builder of `xl`):
//!
//! * It takes the file for an arm64 Image if the magic `ARM\x64` is at offset 0x38, and for nothing else that firmware
//!   could be: ELF files need Xen's own notes, on x86 only (`xg_dom_armzimageloader.c`, `xc_dom_probe_zimage64_kernel`).
//! * It copies the whole file, header included, to the start of the domain's memory plus `text_offset`, and begins to run
//!   at its first byte, at EL1 with the MMU and the caches off (`xc_dom_parse_zimage64_kernel`, `vcpu_arm64`). It
//!   never looks at `image_size`.
//! * The domain's memory begins at 0x40000000; its first bank has 3 GiB (`xen/include/public/arch-arm.h`,
//!   `GUEST_RAM0_BASE`).
//! * A `text_offset` that is no multiple of 4096 ends in "segment boundary isn't page aligned" (`xg_dom_core.c`,
//!   `xc_dom_alloc_pad`), of which `xl` shows "xc_dom_build_image failed".
//! * The device tree comes 128 MiB behind the start of memory, or to its end if there is less, and its address is in x0
//!   (`xg_dom_arm.c`, `meminit`). Nothing keeps it out of .bss: firmware that reads it has to do so first.
//!
//! So a header that we add lies in the page before the firmware, which thereby comes to its link address:
//!
//! ```text
//! 0x40000000          + text_offset   + 64                link address
//! |  free             |  header       |  zeros            |  firmware ...
//!                        code0: b entry ------------------------->
//! ```

use std::io;
use std::ops::Range;

use goblin::elf::header::ET_DYN;
use micrun_image_spec::firmware::Arch;

use super::BootImage;
use super::arm64::{HEADER_SIZE, ImageHeader};
use super::flat::FlatImage;
use crate::check::{Code, Place, Report};
use crate::elf::Elf;
use crate::source::{self, ReadAt};

/// The first bank of a domain's memory.
pub const MEMORY: Range<u64> = 0x4000_0000..0x1_0000_0000;

const PAGE: u64 = 4096;

/// What a position-independent program is moved by is a multiple of this: the arm64 boot protocol aligns memory
/// to it, and no program's own alignment is larger.
const BLOCK: u64 = 2 << 20;

/// Makes the image, with the header that the firmware has or a new one.
pub(super) fn make<'a>(
    elf: &Elf<'_>,
    flat: FlatImage<'a>,
    report: &mut Report,
) -> io::Result<Option<BootImage<'a>>> {
    if !check_architecture(elf, report) {
        return Ok(None);
    }
    let beginning = source::bytes(&flat, 0, HEADER_SIZE)?;
    let footprint = footprint(elf, &flat);
    Ok(match ImageHeader::parse(&beginning) {
        Some(header) => with_own_header(elf, header, flat, footprint, report),
        None => with_new_header(elf, flat, footprint, report),
    })
}

/// True if a domain has such a core. The report says if not.
pub(super) fn check_architecture(elf: &Elf<'_>, report: &mut Report) -> bool {
    let fits = elf.arch == Arch::Aarch64;
    if !fits {
        report.add(
            Code::ArchitectureNotOnXen,
            Some(Place::Offset(0x12)),
            format!("the firmware is for {}, and Xen boots arm64 Images", elf.arch),
            "build it for aarch64, or choose another pedestal",
        );
    }
    fits
}

/// Reports what keeps Xen from loading an Image of this size. Where it would be loaded, if anywhere.
pub(super) fn check_header(
    header: &ImageHeader,
    size: u64,
    place: Option<&Place>,
    report: &mut Report,
) -> Option<u64> {
    let ImageHeader { text_offset, .. } = *header;
    let mut bad = |message: String, remedy: &str| {
        report.add(Code::BadImageHeader, place.cloned(), message, remedy);
    };
    if header.is_big_endian() {
        bad("its arm64 Image header asks for a big-endian core".to_owned(), "build little-endian");
    }
    let end = MEMORY.start.checked_add(text_offset).and_then(|start| start.checked_add(size));
    if end.is_none_or(|end| end > MEMORY.end) {
        bad(
            format!("its arm64 Image header has the text offset {text_offset:#x}, beyond a domain's memory"),
            "set text_offset to the link address minus 0x40000000, where the memory of Xen's domains begins",
        );
        return None;
    }
    if !text_offset.is_multiple_of(PAGE) {
        bad(
            format!(
                "its arm64 Image header has the text offset {text_offset:#x}, and Xen loads to whole pages"
            ),
            "set text_offset to a multiple of 4096, and link the firmware accordingly",
        );
    }
    Some(MEMORY.start + text_offset)
}

fn with_own_header<'a>(
    elf: &Elf<'_>,
    header: ImageHeader,
    flat: FlatImage<'a>,
    footprint: Range<u64>,
    report: &mut Report,
) -> Option<BootImage<'a>> {
    let load_address = check_header(&header, flat.size(), None, report)?;
    let linked = flat.address();
    if load_address != linked && !is_movable(elf) {
        let remedy = match linked.checked_sub(MEMORY.start).filter(|offset| offset.is_multiple_of(PAGE)) {
            Some(offset) => {
                format!("set text_offset to {offset:#x}, or link the firmware at {load_address:#x}")
            }
            None => format!("link the firmware at {load_address:#x}"),
        };
        report.add(
            Code::LoadedElsewhere,
            None,
            format!(
                "the firmware is linked to be loaded at {linked:#x}, but by the text offset in its arm64 Image \
                 header Xen loads it at {load_address:#x}"
            ),
            remedy,
        );
    }
    let memory_end = load_address.saturating_add(footprint.end - linked);
    Some(BootImage { header: None, body_at: 0, flat, load_address, memory_end })
}

fn with_new_header<'a>(
    elf: &Elf<'_>,
    flat: FlatImage<'a>,
    footprint: Range<u64>,
    report: &mut Report,
) -> Option<BootImage<'a>> {
    let target = target_address(elf, &flat, &footprint, report);
    let Some(load_address) = target.checked_sub(HEADER_SIZE).map(|at| at - at % PAGE).filter(in_memory)
    else {
        report.add(
            Code::NoImageHeaderPossible,
            None,
            format!("there is no room before {target:#x} for the arm64 Image header that Xen needs"),
            "link the firmware at 0x40001000 or higher, or put the header in front of its first instruction",
        );
        return None;
    };
    let body_at = target - load_address;
    let memory_end = target.saturating_add(footprint.end - flat.address());
    let header = ImageHeader {
        text_offset: load_address - MEMORY.start,
        image_size: memory_end - load_address,
        flags: 0,
    };
    let entry = physical_entry(elf).and_then(|entry| entry.checked_sub(flat.address()));
    let header = entry.and_then(|entry| header.encode(body_at.checked_add(entry)?));
    if header.is_none() {
        report.add(
            Code::NoImageHeaderPossible,
            Some(Place::Offset(0x18)),
            format!("no branch leads from an arm64 Image header to the entry point {:#x}", elf.entry),
            "let the firmware begin within its first 128 MiB, at an address that is a multiple of 4",
        );
    }
    Some(BootImage { header: Some(header?), body_at, flat, load_address, memory_end })
}

/// Where the firmware's first byte is to lie: where it was linked to, unless no domain has memory there.
fn target_address(elf: &Elf<'_>, flat: &FlatImage<'_>, footprint: &Range<u64>, report: &mut Report) -> u64 {
    if MEMORY.start <= footprint.start && footprint.end <= MEMORY.end {
        return flat.address();
    }
    let target = MEMORY.start + BLOCK + flat.address() % BLOCK;
    let Range { start, end } = footprint;
    if is_movable(elf) && target.checked_add(end - start).is_some_and(|end| end <= MEMORY.end) {
        report.add(
            Code::MovedForXen,
            None,
            format!("Xen has no memory at {start:#x}; the firmware is position-independent and goes to {target:#x}"),
            "nothing, if it relocates itself; else link it at 0x40001000 or higher",
        );
    } else {
        report.add(
            Code::OutsideXenMemory,
            None,
            format!(
                "the firmware takes the memory from {start:#x} to {end:#x}, \
                 but a domain's begins at {:#x} and ends at {:#x} at most",
                MEMORY.start, MEMORY.end
            ),
            "link it at 0x40001000 or higher; if it runs anywhere, build it as position-independent (-pie), or allow this",
        );
    }
    target
}

fn in_memory(address: &u64) -> bool {
    MEMORY.contains(address)
}

/// A position-independent program states the addresses that it would have at 0, and is loaded anywhere.
pub(super) fn is_movable(elf: &Elf<'_>) -> bool {
    elf.file_type == ET_DYN
}

/// The memory that the firmware takes: what is loaded, and .bss where it runs at the address to which it is loaded. The
/// virtual addresses of firmware that sets up an MMU of its own say nothing.
fn footprint(elf: &Elf<'_>, flat: &FlatImage<'_>) -> Range<u64> {
    let unmapped = elf.loads().filter(|s| s.vaddr == s.paddr);
    unmapped.fold(flat.address()..flat.end(), |all, s| {
        all.start.min(s.vaddr)..all.end.max(s.vaddr.saturating_add(s.memsz))
    })
}

/// Where the entry point lies after loading. It is a virtual address, but some kernels state a physical one.
fn physical_entry(elf: &Elf<'_>) -> Option<u64> {
    let entry = elf.entry_address();
    let inside = |start: u64, size: u64| entry >= start && entry - start < size;
    let by_vaddr = elf.loads().find(|s| inside(s.vaddr, s.filesz));
    let by_paddr = || elf.loads().any(|s| inside(s.paddr, s.filesz)).then_some(entry);
    by_vaddr.map(|s| s.paddr.saturating_add(entry - s.vaddr)).or_else(by_paddr)
}
