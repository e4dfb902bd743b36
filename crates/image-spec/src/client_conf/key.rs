//! The keys of section `[Mica]` and what micad can take as their values.

use std::fmt;

use super::error::Problem;
use crate::firmware::Pedestal;
use crate::rootfs_path::RootfsPath;
use crate::text::{excerpt, parse_bool};

/// A key that micad knows. The order is the order in which client.conf is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The guest's name.
    Name,
    /// The CPUs: one core, a list or range such as `1-3`, or `riscv`.
    Cpu,
    /// The firmware ELF.
    ClientPath,
    /// What the guest runs on.
    Pedestal,
    /// The pedestal's own file: the boot image of xen and hetero, the cell of jailhouse.
    PedestalConf,
    /// Number of virtual CPUs.
    Vcpu,
    /// Most virtual CPUs that the guest may get later.
    MaxVcpu,
    /// Scheduling weight, 1 to 65535.
    CpuWeight,
    /// Percent of one core, 0 for no limit.
    CpuCapacity,
    /// Memory in MiB.
    Memory,
    /// Most memory that the guest may get later, MiB.
    MaxMemory,
    /// Passed into the Xen domain's configuration.
    IoMem,
    /// Passed into the Xen domain's configuration.
    Network,
    /// Start the guest when the daemon starts.
    AutoBoot,
    /// Start the guest under the daemon's debugger.
    Debug,
}

/// What a value has to look like. Lengths are in bytes and follow the fields of micad's create message: a C
/// string of n bytes fits a field of n + 1.
enum Shape {
    /// Text of bounded length, possibly empty.
    Text { max: usize },
    /// A guest name of 1 to 65 bytes.
    Name,
    /// A CPU list.
    Cpus,
    /// A path inside the rootfs; empty only where that means "none".
    Path { may_be_empty: bool },
    /// One of the pedestals.
    Pedestal,
    /// A number within bounds. Above them is the i32 of the create message.
    Number { min: u32, max: u32 },
    /// yes or no.
    Bool,
}

impl Key {
    /// Every key, in order.
    pub const ALL: [Key; 15] = [
        Key::Name,
        Key::Cpu,
        Key::ClientPath,
        Key::Pedestal,
        Key::PedestalConf,
        Key::Vcpu,
        Key::MaxVcpu,
        Key::CpuWeight,
        Key::CpuCapacity,
        Key::Memory,
        Key::MaxMemory,
        Key::IoMem,
        Key::Network,
        Key::AutoBoot,
        Key::Debug,
    ];

    /// The spelling in micad's documentation. Readers ignore case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Key::Name => "Name",
            Key::Cpu => "CPU",
            Key::ClientPath => "ClientPath",
            Key::Pedestal => "Pedestal",
            Key::PedestalConf => "PedestalConf",
            Key::Vcpu => "VCPU",
            Key::MaxVcpu => "MaxVCPU",
            Key::CpuWeight => "CPUWeight",
            Key::CpuCapacity => "CPUCapacity",
            Key::Memory => "Memory",
            Key::MaxMemory => "MaxMemory",
            Key::IoMem => "IOMem",
            Key::Network => "Network",
            Key::AutoBoot => "AutoBoot",
            Key::Debug => "Debug",
        }
    }

    /// The key of this name, in any case.
    pub fn from_name(name: &str) -> Option<Key> {
        Key::ALL.into_iter().find(|key| key.as_str().eq_ignore_ascii_case(name))
    }

    const fn shape(self) -> Shape {
        const I32_MAX: u32 = i32::MAX as u32;
        match self {
            Key::Name => Shape::Name,
            Key::Cpu => Shape::Cpus,
            Key::ClientPath => Shape::Path { may_be_empty: false },
            Key::PedestalConf => Shape::Path { may_be_empty: true },
            Key::Pedestal => Shape::Pedestal,
            Key::Vcpu | Key::MaxVcpu | Key::Memory | Key::MaxMemory => Shape::Number { min: 1, max: I32_MAX },
            Key::CpuWeight => Shape::Number { min: 1, max: 65535 },
            Key::CpuCapacity => Shape::Number { min: 0, max: I32_MAX },
            Key::IoMem | Key::Network => Shape::Text { max: 511 },
            Key::AutoBoot | Key::Debug => Shape::Bool,
        }
    }

    /// Checks a value and brings it into the one form in which it is written.
    pub(super) fn canonical(self, value: &str) -> Result<String, Problem> {
        let bad = |wanted: &str| Problem::BadValue {
            key: self.to_string(),
            value: excerpt(value),
            wanted: wanted.to_owned(),
        };
        let fits = |max: usize| match value.len() {
            length if length > max => Err(Problem::TooLong { key: self.to_string(), length, max }),
            _ => Ok(()),
        };
        match self.shape() {
            Shape::Text { max } => fits(max).map(|()| value.to_owned()),
            Shape::Name => {
                fits(65)?;
                if value.is_empty() || value.contains(['/', ' ']) {
                    return Err(bad("1 to 65 characters without blanks and slashes"));
                }
                Ok(value.to_owned())
            }
            Shape::Cpus => {
                fits(127)?;
                let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b",-^:".contains(&b);
                if value.is_empty() || !value.bytes().all(allowed) {
                    return Err(bad("a core, a list or range such as 1-3, or riscv"));
                }
                Ok(value.to_owned())
            }
            Shape::Path { may_be_empty: true } if value.is_empty() => Ok(String::new()),
            Shape::Path { .. } => {
                let path: RootfsPath = value.parse().map_err(|e| bad(&format!("a path, but {e}")))?;
                fits(255)?;
                let text = path.to_string();
                // Readers take it for layout, and look for another file.
                if text.ends_with(char::is_whitespace) {
                    return Err(bad("a path that does not end in a blank"));
                }
                Ok(text)
            }
            Shape::Pedestal => {
                let pedestal: Pedestal = value.parse().map_err(|_| bad(&list(&Pedestal::ALL)))?;
                Ok(pedestal.to_string())
            }
            Shape::Number { min, max } => {
                let number = value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse::<u32>().ok());
                match number.flatten() {
                    Some(n) if (min..=max).contains(&n) => Ok(n.to_string()),
                    _ => Err(bad(&format!("a number from {min} to {max}"))),
                }
            }
            Shape::Bool => match parse_bool(value) {
                Some(true) => Ok("yes".to_owned()),
                Some(false) => Ok("no".to_owned()),
                None => Err(bad("yes or no")),
            },
        }
    }
}

fn list(pedestals: &[Pedestal]) -> String {
    let words: Vec<_> = pedestals.iter().map(|p| p.as_str()).collect();
    format!("one of {}", words.join(", "))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
