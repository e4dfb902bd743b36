//! Boot images, and firmware that does not come as an ELF file.
//!
//! Two pedestals do not boot the ELF but raw bytes, which the image carries as `/image.bin`: xen, with an arm64 Image
//! header, and hetero, beginning at the entry point. They are made from the ELF here, or checked if the user made them.
//! The other way round, raw firmware is wrapped into an ELF file ([`raw`]), since the image always carries one.
//!
//! Everything is read from the firmware's file while it is written, so the memory taken does not depend on its size.

use std::io;

use micrun_image_spec::firmware::Pedestal;

pub mod arm64;
mod flat;
mod given;
mod hetero;
pub mod raw;
pub mod xen;

pub use flat::{FlatImage, FlattenError};
pub use given::check_given;

use crate::check::{Code, Place, Report};
use crate::elf::Elf;
use crate::source::ReadAt;
use arm64::HEADER_SIZE;

/// The bytes that a pedestal boots, made from an ELF file.
pub struct BootImage<'a> {
    /// The header that the firmware itself does not have.
    header: Option<[u8; HEADER_SIZE as usize]>,
    /// Where the firmware begins in the image; zeros fill what the header leaves.
    body_at: u64,
    flat: FlatImage<'a>,
    load_address: u64,
    memory_end: u64,
}

impl BootImage<'_> {
    /// True if the arm64 Image header was added, not found.
    pub fn has_new_header(&self) -> bool {
        self.header.is_some()
    }

    /// The physical address of the image's first byte in the guest.
    pub fn load_address(&self) -> u64 {
        self.load_address
    }

    /// The first address behind the memory that the guest takes, .bss included where the ELF file says it. For xen, the
    /// domain needs memory from the start of [`xen::MEMORY`] up to here.
    pub fn memory_end(&self) -> u64 {
        self.memory_end
    }
}

impl ReadAt for BootImage<'_> {
    fn size(&self) -> u64 {
        self.body_at + self.flat.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.body_at {
            return self.flat.read_at(offset - self.body_at, buffer);
        }
        let header = self.header.as_ref().map_or(&[][..], |header| header);
        match header.read_at(offset, flat::at_most(buffer, self.body_at - offset))? {
            0 => Ok(flat::zeros(buffer, self.body_at - offset)),
            n => Ok(n),
        }
    }
}

/// Makes the boot image for a pedestal that boots one. None if there is none to make; then the report says why, or
/// the pedestal boots the ELF.
///
/// # Errors
/// If the firmware cannot be read.
pub fn make<'a>(elf: &Elf<'a>, pedestal: Pedestal, report: &mut Report) -> io::Result<Option<BootImage<'a>>> {
    if !pedestal.boots_raw_image() {
        return Ok(None);
    }
    match FlatImage::new(elf.file(), elf.loads()) {
        Ok(flat) if pedestal == Pedestal::Xen => xen::make(elf, flat, report),
        Ok(flat) => Ok(hetero::make(elf, flat, report)),
        Err(error) => {
            report_flatten_error(&error, report);
            Ok(None)
        }
    }
}

fn report_flatten_error(error: &FlattenError, report: &mut Report) {
    let (segment, remedy) = match error {
        FlattenError::Nothing => (None, "give the linked firmware"),
        FlattenError::Spread { segment, .. } => (
            Some(Place::Segment(*segment)),
            "link the firmware so that all of it is loaded to one memory; data for another one is copied by start code",
        ),
    };
    report.add(Code::NoFlatImage, segment, error.to_string(), remedy);
}
