//! The boot image that an image carries beside the ELF, where its pedestal boots one.

use std::io;

use micrun_image_spec::firmware::Pedestal;

use serde::Serialize;

use super::{Choice, Request};
use crate::boot::{self, BootImage, xen};
use crate::check::{Place, Report};
use crate::elf::Elf;
use crate::source::ReadAt;

const OPTION: &str = "--boot-image";

/// What the user is told about the boot image in an image.
#[derive(Debug, Clone, Serialize)]
pub struct BootFacts {
    /// Its size in bytes.
    pub size: u64,
    /// The guest's physical address of its first byte; None for the user's own image.
    pub load_address: Option<u64>,
}

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
                boot::check_given(elf, pedestal, given, &Place::Option(OPTION.to_owned()), report)?;
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

    pub(super) fn facts(&self) -> Choice<BootFacts> {
        let size = self.data().size();
        match self {
            Boot::Given(_) => Choice::given(BootFacts { size, load_address: None }, OPTION),
            Boot::Made(made) => {
                let how = if made.has_new_header() {
                    "the ELF flattened, behind a new arm64 Image header"
                } else {
                    "the ELF flattened"
                };
                Choice::assumed(BootFacts { size, load_address: Some(made.load_address()) }, how, OPTION)
            }
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
