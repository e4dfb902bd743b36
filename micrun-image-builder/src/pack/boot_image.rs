//! The boot image that an image carries beside the ELF, where its pedestal boots one.

use std::io;

use micrun_image_spec::firmware::Pedestal;

use super::Request;
use crate::boot::{self, BootImage, xen};
use crate::check::Report;
use crate::elf::Elf;
use crate::source::ReadAt;

/// A boot image.
pub(super) enum Boot<'a> {
    /// The user's own.
    Given(&'a dyn ReadAt),
    /// Made from the ELF.
    Made(BootImage<'a>),
}

impl<'a> Boot<'a> {
    /// Takes the user's, or makes one. None on pedestals that boot the ELF, and where the report says why.
    pub(super) fn choose(
        request: &Request<'a>,
        elf: &Elf<'a>,
        pedestal: Pedestal,
        report: &mut Report,
    ) -> io::Result<Option<Boot<'a>>> {
        match request.boot_image {
            Some(given) => {
                boot::check_given(elf, pedestal, given, report)?;
                Ok(Some(Boot::Given(given)))
            }
            None => Ok(boot::make(elf, pedestal, report)?.map(Boot::Made)),
        }
    }

    pub(super) fn data(&self) -> &dyn ReadAt {
        match self {
            Boot::Given(given) => *given,
            Boot::Made(made) => made,
        }
    }
}

/// Bytes of memory without which the guest cannot run. A Xen domain's memory begins at a fixed address, so it has to
/// reach to the program's end.
pub(super) fn memory_need(elf: &Elf<'_>, boot: Option<&Boot<'_>>, pedestal: Pedestal) -> u64 {
    match boot {
        Some(Boot::Made(image)) if pedestal == Pedestal::Xen => {
            image.memory_end().saturating_sub(xen::MEMORY.start)
        }
        _ => elf.loads().fold(0, |sum, segment| sum.saturating_add(segment.memsz)),
    }
}
