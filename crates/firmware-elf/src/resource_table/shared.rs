//! The memory with a fixed address that a table shares between host and guest.

use super::{Resource, ResourceTable};

/// Areas that are looked at; a real table has less than ten.
const MAX_AREAS: usize = 64;

/// A carveout or vring with a fixed address and a length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedArea {
    /// For people: `carveout "shared"`, `vring 0 of entry 2`.
    pub what: String,
    /// Where the entry begins in the table, bytes.
    pub entry_at: u32,
    /// The first address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// True for a carveout, false for a vring.
    pub is_carveout: bool,
}

impl ResourceTable {
    /// The carveouts and vrings whose place is not left to the host; the first 64 of them.
    pub fn shared_areas(&self) -> Vec<SharedArea> {
        let mut areas = Vec::new();
        for entry in &self.entries {
            let (index, entry_at) = (entry.index, entry.offset);
            match &entry.resource {
                Resource::Carveout(carveout) => areas.extend(carveout.da.map(|da| SharedArea {
                    what: format!("carveout {:?}", carveout.name),
                    entry_at,
                    start: da.into(),
                    len: carveout.len.into(),
                    is_carveout: true,
                })),
                Resource::Vdev(vdev) => {
                    areas.extend(vdev.vrings.iter().enumerate().filter_map(|(number, vring)| {
                        Some(SharedArea {
                            what: format!("vring {number} of entry {index}"),
                            entry_at,
                            start: vring.da?.into(),
                            len: vring.size(),
                            is_carveout: false,
                        })
                    }))
                }
                _ => {}
            }
            if areas.len() >= MAX_AREAS {
                break;
            }
        }
        areas.retain(|area| area.len > 0);
        areas.truncate(MAX_AREAS);
        areas
    }
}
