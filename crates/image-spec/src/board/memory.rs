//! A board's memory map.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::text::excerpt;
use crate::units::{ByteSize, Mib};

/// What a region is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegionKind {
    /// Firmware can be loaded here, run here, and write here.
    Ram,
    /// Firmware can be loaded here and run here.
    Flash,
    /// RAM that the node keeps free for what it shares with the firmware: carveouts and vrings.
    Reserved,
}

/// A stretch of physical addresses. Not empty, and its end is within 64 bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawRegion")]
#[non_exhaustive]
pub struct Region {
    /// For people: `flash`, `ram`.
    pub name: String,
    /// First address.
    #[serde(serialize_with = "as_hex")]
    pub base: u64,
    /// Bytes.
    pub size: ByteSize,
    /// What it is made of.
    pub kind: RegionKind,
}

impl Region {
    /// The last address. Cannot overflow: checked when the region was read.
    pub const fn last(&self) -> u64 {
        self.base + (self.size.0 - 1)
    }

    /// True if `[start, start + size)` lies inside.
    pub const fn contains(&self, start: u64, size: u64) -> bool {
        match start.checked_add(size.saturating_sub(1)) {
            Some(last) => self.base <= start && last <= self.last(),
            None => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegion {
    name: String,
    base: ByteSize,
    size: ByteSize,
    kind: RegionKind,
}

impl TryFrom<RawRegion> for Region {
    type Error = String;

    fn try_from(raw: RawRegion) -> Result<Self, String> {
        let name = excerpt(&raw.name);
        if raw.size.0 == 0 {
            return Err(format!("region {name} has the size 0"));
        }
        if raw.base.0.checked_add(raw.size.0 - 1).is_none() {
            return Err(format!("region {name} ends beyond the 64-bit address space"));
        }
        Ok(Region { name: raw.name, base: raw.base.0, size: raw.size, kind: raw.kind })
    }
}

fn as_hex<S: serde::Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}

/// The regions of a board: in order of address, without overlap, at least one of them RAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Region>")]
pub struct MemoryMap(Vec<Region>);

impl MemoryMap {
    /// More regions than any board here needs; keeps checks short.
    const MAX_REGIONS: usize = 64;

    /// The regions in order of address.
    pub fn regions(&self) -> &[Region] {
        &self.0
    }

    /// The memory kept free for what node and firmware share; none where the board does not say.
    pub fn reserved(&self) -> impl Iterator<Item = &Region> {
        self.0.iter().filter(|region| region.kind == RegionKind::Reserved)
    }

    /// The region that holds all of `[start, start + size)`.
    pub fn region_of(&self, start: u64, size: u64) -> Option<&Region> {
        self.0.iter().find(|region| region.contains(start, size))
    }
}

impl TryFrom<Vec<Region>> for MemoryMap {
    type Error = String;

    fn try_from(mut regions: Vec<Region>) -> Result<Self, String> {
        if regions.len() > Self::MAX_REGIONS {
            return Err(format!(
                "{} memory regions are too many (at most {})",
                regions.len(),
                Self::MAX_REGIONS
            ));
        }
        if !regions.iter().any(|region| region.kind == RegionKind::Ram) {
            return Err("the memory map has no region of kind ram".to_owned());
        }
        regions.sort_by_key(|region| region.base);
        for (low, high) in regions.iter().zip(regions.iter().skip(1)) {
            if high.base <= low.last() {
                let (low, high) = (excerpt(&low.name), excerpt(&high.name));
                return Err(format!("memory regions {low} and {high} overlap"));
            }
        }
        Ok(MemoryMap(regions))
    }
}

/// Reads a guest's memory size: at least 1 MiB and at most 1 TiB, which QEMU's machines stay below.
pub(super) fn sane_guest_memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mib, D::Error> {
    const MAX: u32 = 1024 * 1024;
    let memory = Mib::deserialize(deserializer)?;
    if !(1..=MAX).contains(&memory.0) {
        return Err(de::Error::custom(format_args!("memory is {memory}: write a size from 1M to 1024G")));
    }
    Ok(memory)
}
