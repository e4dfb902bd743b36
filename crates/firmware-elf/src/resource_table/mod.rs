//! The resource table of an OpenAMP guest: what it wants from its host before it starts.
//!
//! It is the contents of the section `.resource_table`. Layouts are those of Linux (include/linux/remoteproc.h) and,
//! for vendor types, those of openEuler's mcs (library/include/remoteproc/mica_rsc.h): packed, little-endian words.
//! Decoding is separate from judging: whatever can be decoded is, and what cannot is named with its reason.

use serde::Serialize;

mod decode;
mod locate;
mod micad;
mod rules;
mod shared;
mod words;

pub use decode::{EntryError, TableError, decode};
pub use locate::{Located, Missing};
pub use micad::{ForMicad, for_micad};
pub use rules::{Fault, Rule, is_for_micad};
pub use shared::SharedArea;

/// The section that loaders look for, by this name.
pub const SECTION: &[u8] = b".resource_table";

/// Bytes of a table that are looked at. Real ones have less than 4 KiB.
pub const MAX_BYTES: u64 = 1 << 20;

/// The virtio device that carries RPMsg (virtio specification, "Reserved device types").
pub const VIRTIO_ID_RPMSG: u32 = 7;

/// A resource table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceTable {
    /// Two words that are zero until the guest runs.
    pub reserved: [u32; 2],
    /// What could be decoded, in the table's order.
    pub entries: Vec<Entry>,
    /// What could not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<BrokenEntry>,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its place in the table, from 0.
    pub index: usize,
    /// Where it begins in the table, bytes.
    pub offset: u32,
    /// The number of its type.
    #[serde(rename = "type")]
    pub kind: u32,
    /// What it says.
    #[serde(flatten)]
    pub resource: Resource,
}

/// An entry that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokenEntry {
    /// Its place in the table, from 0.
    pub index: usize,
    /// Where it should begin in the table, bytes.
    pub offset: u32,
    /// Why not.
    #[serde(serialize_with = "as_text")]
    pub error: EntryError,
}

/// What an entry asks for or announces. Addresses are those that the guest's core uses; None where the host may choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Resource {
    /// Memory for the guest.
    Carveout(MemoryRequest),
    /// Registers of a peripheral, to be mapped by the host's IOMMU.
    Devmem(MemoryRequest),
    /// A buffer that the guest logs to.
    Trace {
        /// Its address.
        #[serde(serialize_with = "as_hex")]
        da: Option<u32>,
        /// Bytes.
        len: u32,
        /// Zero.
        reserved: u32,
        /// For people.
        name: String,
    },
    /// A virtio device.
    Vdev(Vdev),
    /// mcs: the RPMsg endpoints that were bound when the host was lost.
    EndpointTable {
        /// Their number; 0 in a file.
        bound: u32,
    },
    /// mcs: two ring buffers for the debugger.
    RingBufferPair {
        /// IOMMU flags.
        flags: u32,
        /// Address; 0 in a file.
        da: u64,
        /// Physical address; 0 in a file.
        pa: u64,
        /// Bytes of both.
        len: u64,
        /// What is in them; 0 in a file.
        state: u8,
    },
    /// mcs: where the vrings begin in memory whose address the two sides see differently.
    VringOffsets {
        /// Bytes from the beginning of the shared memory; 0 in a file.
        offsets: [u32; 8],
    },
    /// Anything else: its layout is not known here.
    Other,
}

/// A carveout or a peripheral.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryRequest {
    /// The address that the guest uses.
    #[serde(serialize_with = "as_hex")]
    pub da: Option<u32>,
    /// The physical address.
    #[serde(serialize_with = "as_hex")]
    pub pa: Option<u32>,
    /// Bytes.
    pub len: u32,
    /// IOMMU flags.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// For people, and for the kernel to find memory that its driver set aside.
    pub name: String,
}

/// A virtio device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vdev {
    /// What it is: 7 is RPMsg.
    pub id: u32,
    /// The number by which it is notified.
    pub notify_id: u32,
    /// The features that the guest offers, one bit each.
    pub features: u32,
    /// Those that the host took; 0 in a file.
    pub accepted_features: u32,
    /// Bytes of configuration behind the vrings.
    pub config_len: u32,
    /// The host's progress; 0 in a file.
    pub status: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Its rings.
    pub vrings: Vec<Vring>,
}

/// A ring of a virtio device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vring {
    /// Where the guest expects it.
    #[serde(serialize_with = "as_hex")]
    pub da: Option<u32>,
    /// Alignment of its parts, bytes.
    pub align: u32,
    /// Buffers in it.
    pub num: u32,
    /// The number by which it is notified.
    pub notify_id: u32,
}

impl Vring {
    /// Bytes that the ring takes, without its buffers (virtio specification, "Legacy Interfaces: A Note on Virtqueue
    /// Layout"): 16 for each descriptor, then the available ring, then, aligned, the used ring with 8 for each.
    pub fn size(&self) -> u64 {
        let (num, align) = (u64::from(self.num), u64::from(self.align.max(1)));
        (16 * num + 6 + 2 * num).next_multiple_of(align) + 6 + 8 * num
    }
}

impl Entry {
    /// What people call its type.
    pub fn type_name(&self) -> &'static str {
        type_name(self.kind)
    }
}

/// What people call a type of entry. OpenAMP gave 4 and 5 a meaning; Linux, and others, do not know them.
pub fn type_name(kind: u32) -> &'static str {
    match kind {
        0 => "carveout",
        1 => "devmem",
        2 => "trace",
        3 => "vdev",
        4 => "processor memory",
        5 => "firmware checksum",
        128 => "endpoint table",
        129 => "ring buffer pair",
        130 => "vring offsets",
        131 => "xenstore",
        132.. => "vendor type",
        _ => "unknown type",
    }
}

/// True for a type that some loader gives a meaning to.
pub fn is_known_type(kind: u32) -> bool {
    matches!(kind, 0..=5 | 128..)
}

/// Addresses are written as in board files.
fn as_hex<S: serde::Serializer>(address: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(&format_args!("{address:#x}")),
        None => serializer.serialize_none(),
    }
}

fn as_text<S: serde::Serializer>(error: &EntryError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}
