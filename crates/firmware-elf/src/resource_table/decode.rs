//! From bytes to a table. Linear: entries are read in order of their offsets, and none is read where another was.

use super::words::Words;
use super::{BrokenEntry, Entry, MemoryRequest, Resource, ResourceTable, Vdev, Vring};

/// Version, count and two reserved words.
const HEADER_BYTES: u64 = 16;
/// The only version there is.
const VERSION: u32 = 1;

/// Why no entry of a table can be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Less than a header.
    #[error("it has {len} bytes, and its header alone would have 16")]
    TooShort {
        /// The table's length.
        len: u64,
    },
    /// Not 1.
    #[error("its version is {0}, and the only one there is is 1")]
    Version(u32),
    /// The table is shorter than its list of entries.
    #[error("it should have {count} entries, and its {len} bytes do not even hold their offsets")]
    OffsetsOutside {
        /// The number of entries.
        count: u32,
        /// The table's length.
        len: u64,
    },
}

/// Why an entry cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It begins where header and offsets are.
    #[error("begins inside the table's header")]
    InHeader,
    /// It begins behind the table's end.
    #[error("begins outside the table, which has {len} bytes")]
    Outside {
        /// The table's length.
        len: u64,
    },
    /// It begins inside the table and ends behind it.
    #[error("is cut off by the end of the table, which has {len} bytes")]
    CutOff {
        /// The table's length.
        len: u64,
    },
    /// It begins inside another entry.
    #[error("begins inside entry {other}")]
    Overlaps {
        /// The other entry's place in the table.
        other: usize,
    },
}

/// Decodes the contents of a section `.resource_table`.
///
/// # Errors
/// If header or offsets cannot be read. Entries that cannot be are listed in the table.
pub fn decode(bytes: &[u8]) -> Result<ResourceTable, TableError> {
    let len = bytes.len() as u64;
    let mut header = Words::new(bytes);
    let mut word = || header.u32().ok_or(TableError::TooShort { len });
    let (version, count, reserved) = (word()?, word()?, [word()?, word()?]);
    if version != VERSION {
        return Err(TableError::Version(version));
    }
    let header_end = HEADER_BYTES + 4 * u64::from(count);
    if header_end > len {
        return Err(TableError::OffsetsOutside { count, len });
    }
    let offsets = std::iter::from_fn(|| header.u32()).take(count as usize);
    let mut in_order: Vec<(usize, u32)> = offsets.enumerate().collect();
    in_order.sort_unstable_by_key(|&(index, offset)| (offset, index));

    let mut table = ResourceTable { reserved, entries: Vec::new(), broken: Vec::new() };
    let mut last: Option<(usize, u64)> = None;
    for (place, &(index, offset)) in in_order.iter().enumerate() {
        let next = in_order.get(place + 1).map_or(len, |&(_, next)| u64::from(next).min(len));
        let entry = match last {
            Some((other, end)) if u64::from(offset) < end => Err(EntryError::Overlaps { other }),
            _ if u64::from(offset) < header_end => Err(EntryError::InHeader),
            _ => entry(bytes, index, offset, next),
        };
        match entry {
            Ok((entry, size)) => {
                last = Some((index, u64::from(offset) + size));
                table.entries.push(entry);
            }
            Err(error) => table.broken.push(BrokenEntry { index, offset, error }),
        }
    }
    table.entries.sort_unstable_by_key(|entry| entry.index);
    table.broken.sort_unstable_by_key(|entry| entry.index);
    Ok(table)
}

/// An entry and its size. `next` is where the next one begins, or the table ends.
fn entry(bytes: &[u8], index: usize, offset: u32, next: u64) -> Result<(Entry, u64), EntryError> {
    let len = bytes.len() as u64;
    let rest = bytes.get(offset as usize..).filter(|rest| !rest.is_empty());
    let mut words = Words::new(rest.ok_or(EntryError::Outside { len })?);
    let cut_off = EntryError::CutOff { len };
    let kind = words.u32().ok_or(cut_off.clone())?;
    let resource = match kind {
        0 => memory_request(&mut words).map(Resource::Carveout),
        1 => memory_request(&mut words).map(Resource::Devmem),
        2 => trace(&mut words),
        3 => vdev(&mut words).map(Resource::Vdev),
        // These numbers belong to other vendors too. It is the layout of mcs only if there is room for it.
        _ => {
            let mut as_mcs = words;
            let known = mcs(kind, &mut as_mcs).filter(|_| u64::from(offset) + as_mcs.taken() as u64 <= next);
            if known.is_some() {
                words = as_mcs;
            }
            Some(known.unwrap_or(Resource::Other))
        }
    };
    let resource = resource.ok_or(cut_off)?;
    Ok((Entry { index, offset, kind, resource }, words.taken() as u64))
}

fn memory_request(words: &mut Words<'_>) -> Option<MemoryRequest> {
    Some(MemoryRequest {
        da: words.address()?,
        pa: words.address()?,
        len: words.u32()?,
        flags: words.u32()?,
        reserved: words.u32()?,
        name: words.name()?,
    })
}

fn trace(words: &mut Words<'_>) -> Option<Resource> {
    let (da, len, reserved) = (words.address()?, words.u32()?, words.u32()?);
    Some(Resource::Trace { da, len, reserved, name: words.name()? })
}

fn vdev(words: &mut Words<'_>) -> Option<Vdev> {
    let (id, notify_id) = (words.u32()?, words.u32()?);
    let (features, accepted_features) = (words.u32()?, words.u32()?);
    let (config_len, status, vring_count) = (words.u32()?, words.u8()?, words.u8()?);
    let reserved = words.take()?;
    // At most 255, and reading ends with the table.
    let vrings = (0..vring_count).map(|_| vring(words)).collect::<Option<_>>()?;
    words.skip(config_len)?;
    Some(Vdev { id, notify_id, features, accepted_features, config_len, status, reserved, vrings })
}

fn vring(words: &mut Words<'_>) -> Option<Vring> {
    let vring =
        Vring { da: words.address()?, align: words.u32()?, num: words.u32()?, notify_id: words.u32()? };
    // The physical address, which the host writes. Older headers call it reserved.
    words.skip(4)?;
    Some(vring)
}

fn mcs(kind: u32, words: &mut Words<'_>) -> Option<Resource> {
    /// Each a name of 32 bytes and two addresses.
    const ENDPOINTS: u32 = 64 * 40;
    match kind {
        128 => {
            let bound = words.u32()?;
            words.skip(ENDPOINTS)?;
            Some(Resource::EndpointTable { bound })
        }
        129 => {
            let (flags, da, pa, len) = (words.u32()?, words.u64()?, words.u64()?, words.u64()?);
            let state = words.u8()?;
            words.skip(7)?;
            Some(Resource::RingBufferPair { flags, da, pa, len, state })
        }
        130 => {
            let mut offsets = [0; 8];
            for offset in &mut offsets {
                *offset = words.u32()?;
            }
            Some(Resource::VringOffsets { offsets })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of these entries, one behind the other.
    fn table(entries: &[Vec<u32>]) -> Vec<u8> {
        let mut offset = 16 + 4 * entries.len() as u32;
        let mut words = vec![1, entries.len() as u32, 0, 0];
        for entry in entries {
            words.push(offset);
            offset += 4 * entry.len() as u32;
        }
        words.extend(entries.iter().flatten());
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    const ANY: u32 = u32::MAX;

    fn rpmsg() -> Vec<u32> {
        vec![3, 7, 2, 1, 0, 0, 2 << 8, ANY, 4, 8, 0, 0, ANY, 4, 8, 1, 0]
    }

    fn named(mut words: Vec<u32>, name: &[u8; 32]) -> Vec<u32> {
        words.extend(name.chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())));
        words
    }

    #[test]
    fn the_table_of_a_uniproton_build_with_debugger_is_decoded() {
        let endpoints = [vec![128, 0], vec![0; 640]].concat();
        let ring_buffers = vec![129, 0, 0, 0, 0, 0, 0x2000, 0, 0, 0];
        let bytes = table(&[endpoints, ring_buffers, rpmsg()]);
        let table = decode(&bytes).unwrap();
        assert_eq!(table.broken, []);
        let [endpoints, ring_buffers, vdev] = &table.entries[..] else { panic!("{table:?}") };
        assert_eq!(endpoints.resource, Resource::EndpointTable { bound: 0 });
        assert!(matches!(ring_buffers.resource, Resource::RingBufferPair { len: 0x2000, .. }));
        let Resource::Vdev(vdev) = &vdev.resource else { panic!("{vdev:?}") };
        assert_eq!((vdev.id, vdev.features, vdev.vrings.len()), (super::super::VIRTIO_ID_RPMSG, 1, 2));
        assert_eq!(vdev.vrings[1], Vring { da: None, align: 4, num: 8, notify_id: 1 });
    }

    #[test]
    fn names_may_fill_their_field() {
        let full = named(vec![0, 0x1000, ANY, 64, 0, 0], b"0123456789abcdef0123456789abcdef");
        let short = named(vec![2, 0x2000, 1023, 0], b"trace\0garbage\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        let table = decode(&table(&[full, short])).unwrap();
        let Resource::Carveout(carveout) = &table.entries[0].resource else { panic!("{table:?}") };
        assert_eq!((carveout.da, carveout.pa, carveout.name.len()), (Some(0x1000), None, 32));
        let Resource::Trace { name, len: 1023, .. } = &table.entries[1].resource else { panic!("{table:?}") };
        assert_eq!(name, "trace");
    }

    #[test]
    fn a_vendor_type_has_the_layout_of_mcs_only_where_that_fits() {
        let foreign = table(&[vec![128, 4, 0xabcd], rpmsg()]);
        let table = decode(&foreign).unwrap();
        assert_eq!(table.entries[0].resource, Resource::Other);
        assert!(matches!(table.entries[1].resource, Resource::Vdev(_)));
    }

    #[test]
    fn a_header_that_makes_no_sense_is_named() {
        assert_eq!(decode(&[1, 0, 0]), Err(TableError::TooShort { len: 3 }));
        let mut bytes = table(&[rpmsg()]);
        bytes[4] = 200;
        assert_eq!(decode(&bytes), Err(TableError::OffsetsOutside { count: 200, len: 88 }));
        bytes[0] = 2;
        assert_eq!(decode(&bytes), Err(TableError::Version(2)));
    }

    #[test]
    fn entries_that_cannot_be_decoded_do_not_hide_the_others() {
        let mut bytes = table(&[rpmsg(), rpmsg(), rpmsg(), rpmsg(), rpmsg()]);
        let len = bytes.len() as u64;
        // The second entry stays where it is, from 104 to 172. Near the end stands a 1, the type of a peripheral.
        for (index, offset) in [(0, 20), (2, 108), (3, len as u32), (4, len as u32 - 8)] {
            bytes[16 + 4 * index..][..4].copy_from_slice(&u32::to_le_bytes(offset));
        }
        let table = decode(&bytes).unwrap();
        let errors: Vec<_> = table.broken.into_iter().map(|entry| (entry.index, entry.error)).collect();
        assert_eq!(
            errors,
            [
                (0, EntryError::InHeader),
                (2, EntryError::Overlaps { other: 1 }),
                (3, EntryError::Outside { len }),
                (4, EntryError::CutOff { len }),
            ]
        );
        assert_eq!(table.entries.len(), 1);
        assert_eq!((table.entries[0].index, table.entries[0].type_name()), (1, "vdev"));
    }
}
