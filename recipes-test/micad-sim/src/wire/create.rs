//! The create message: a C struct of native layout.

use std::ffi::OsString;
use std::path::PathBuf;

use super::terminated;

/// Length of the message on 64-bit little-endian machines, bytes.
pub const LENGTH: usize = 1772;

/// What a client is created from. Every text has lost the last byte of its field, which the daemon overwrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Names the client and its socket; `char[66]`.
    pub name: OsString,
    /// The firmware ELF; `char[256]`.
    pub path: PathBuf,
    /// The pedestal's word; `char[16]`.
    pub pedestal: OsString,
    /// The boot image (xen), cell (jailhouse) or binary (hetero); `char[256]`.
    pub pedestal_conf: PathBuf,
    /// Whether the firmware has a gdb stub.
    pub debug: bool,
    /// The CPUs, in the pedestal's own way; `char[128]`.
    pub cpu: OsString,
    /// Number of virtual CPUs; -1 where unset, as are the other numbers.
    pub vcpus: i32,
    /// The most virtual CPUs that `set` may ask for.
    pub max_vcpus: i32,
    /// Xen's scheduling weight.
    pub weight: i32,
    /// Percent of one core.
    pub capacity: i32,
    /// MiB.
    pub memory: i32,
    /// MiB.
    pub max_memory: i32,
    /// Memory that the guest may touch, in xl's form; `char[512]`.
    pub iomem: OsString,
    /// In xl's form; `char[512]`.
    pub network: OsString,
}

impl Create {
    /// Reads what a single recv got. A message cut short goes on with zeros, a longer one is cut.
    pub fn decode(received: &[u8]) -> Create {
        let mut message = [0; LENGTH];
        let length = received.len().min(LENGTH);
        message[..length].copy_from_slice(&received[..length]);
        let text = |from: usize, length: usize| terminated(&message[from..from + length]);
        let number = |index: usize| {
            let at = 724 + 4 * index;
            i32::from_le_bytes([message[at], message[at + 1], message[at + 2], message[at + 3]])
        };
        Create {
            name: text(0, 66),
            path: text(66, 256).into(),
            pedestal: text(322, 16),
            pedestal_conf: text(338, 256).into(),
            debug: message[594] != 0,
            cpu: text(595, 128),
            vcpus: number(0),
            max_vcpus: number(1),
            weight: number(2),
            capacity: number(3),
            memory: number(4),
            max_memory: number(5),
            iomem: text(748, 512),
            network: text(1260, 512),
        }
    }
}
