//! The boot image of a core of another kind, started by micad: the daemon copies the file to the ELF's entry point and
//! lets the core begin there. So the first byte has to be the first instruction, and there is no header.

use super::BootImage;
use super::flat::FlatImage;
use crate::check::{Code, Place, Report};
use crate::elf::Elf;

/// Makes the image, if the firmware begins at its entry point.
pub(super) fn make<'a>(elf: &Elf<'_>, flat: FlatImage<'a>, report: &mut Report) -> Option<BootImage<'a>> {
    let (entry, start) = (elf.entry_address(), flat.address());
    if entry != start {
        report.add(
            Code::EntryNotAtStart,
            Some(Place::Offset(0x18)),
            format!(
                "the firmware is loaded from {start:#x} on, but begins at {entry:#x}; \
                 on hetero the boot image is copied to the entry point"
            ),
            "put the start code first in the linker script, such as KEEP(*(.text.start)), \
             or give a boot image of your own with --boot-image",
        );
        return None;
    }
    let memory_end = flat.end();
    Some(BootImage { header: None, body_at: 0, flat, load_address: start, memory_end })
}
