//! The resource table, and where its memory lies on the board.

use std::io;

use micrun_image_spec::board::{BoardProfile, RegionKind};
use serde::Serialize;

use super::Address;
use crate::elf::Elf;
use crate::elf::resource_table::{MAX_BYTES, ResourceTable, SECTION, decode};

/// Entries that are listed; a real table has less than ten.
const MAX_LISTED: usize = 256;

/// The section `.resource_table`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Its offset in the file.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
    /// The table; None where it cannot be read.
    pub table: Option<ResourceTable>,
    /// Number of its entries; a table with more than 256 is not listed whole.
    pub count: usize,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Carveouts and vrings with fixed addresses.
    pub shared_memory: Vec<SharedPlace>,
}

/// A carveout or vring with a fixed address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedPlace {
    /// Which one.
    pub what: String,
    /// The first address.
    pub address: Address,
    /// Bytes.
    pub size: u64,
    /// The board's region that holds it whole.
    pub region: Option<String>,
    /// True if that region is reserved for this.
    pub reserved: bool,
}

pub(super) fn read(elf: &Elf<'_>, board: Option<&BoardProfile>) -> io::Result<Option<Resources>> {
    let Some(section) = elf.sections.named(SECTION).filter(|section| section.size > 0) else {
        return Ok(None);
    };
    let decoded = decode(&elf.section_bytes(SECTION, MAX_BYTES)?.unwrap_or_default());
    let (mut table, error) = match decoded {
        Ok(table) => (Some(table), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let mut count = 0;
    if let Some(table) = &mut table {
        count = table.entries.len() + table.broken.len();
        table.entries.truncate(MAX_LISTED);
        table.broken.truncate(MAX_LISTED);
    }
    let areas = table.as_ref().map(ResourceTable::shared_areas).unwrap_or_default();
    let places = areas.into_iter().map(|area| {
        let region = board.and_then(|board| board.memory.region_of(area.start, area.len));
        SharedPlace {
            what: area.what,
            address: Address(area.start),
            size: area.len,
            region: region.map(|region| region.name.clone()),
            reserved: region.is_some_and(|region| region.kind == RegionKind::Reserved),
        }
    });
    let shared_memory = places.collect();
    Ok(Some(Resources { offset: section.offset, size: section.size, table, count, error, shared_memory }))
}
