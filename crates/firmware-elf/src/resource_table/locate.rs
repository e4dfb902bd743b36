//! Where a firmware has its table, if it has one.

use std::io;

use super::{MAX_BYTES, ResourceTable, SECTION, TableError, decode};
use crate::{Elf, Section};

/// The table of a firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where it begins in the file.
    pub offset: u64,
    /// Bytes, by the account of its section.
    pub size: u64,
    /// False where no segment that is loaded holds it.
    pub loaded: bool,
    /// What it says, as far as it can be decoded.
    pub contents: Result<ResourceTable, TableError>,
}

/// That there is no table, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Half a sentence: it may go on with why that matters.
    pub message: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl Elf<'_> {
    /// The firmware's resource table, which hosts find by its section's name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn resource_table(&self) -> io::Result<Result<Located, Missing>> {
        // Linker scripts of some vendors make the section also where nothing is put into it.
        let Some(section) = self.sections.named(SECTION).filter(|section| section.size > 0) else {
            return Ok(Err(self.without_table()));
        };
        let contents = self.section_bytes(SECTION, MAX_BYTES)?.unwrap_or_default();
        Ok(Ok(Located {
            offset: section.offset,
            size: section.size,
            loaded: self.loads_section(section),
            contents: decode(&contents),
        }))
    }

    fn without_table(&self) -> Missing {
        if self.sections.is_empty() {
            Missing {
                message: "without section headers there is no resource table",
                remedy: "give the file from before they were stripped: hosts find the table by its section's name",
            }
        } else {
            Missing {
                message: "the firmware has no resource table",
                remedy: "build it with OpenAMP (Zephyr: CONFIG_OPENAMP and CONFIG_OPENAMP_RSC_TABLE), and keep the \
                         section .resource_table in the linker script",
            }
        }
    }

    fn loads_section(&self, section: &Section) -> bool {
        self.loads().any(|segment| {
            let start = section.offset.checked_sub(segment.offset);
            let rest = start.and_then(|start| segment.filesz.checked_sub(start));
            rest.is_some_and(|rest| section.file_size() <= rest)
        })
    }
}
