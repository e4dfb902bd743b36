//! Board profiles: which machine boots a firmware is data, not code.
//!
//! A profile is one YAML file with one board. Some are built in; a node adds its own under
//! `/etc/mica/micrun/boards.d/`, and one of the same name replaces the built-in one. The builder checks a
//! firmware against a board's memory map, the shim makes QEMU's command line from it.
//!
//! A profile may come from a third party, so it cannot loosen the confinement of the QEMU that it describes: only
//! the options listed in [`options`] are accepted, and none of them names a file of the host.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::firmware::{Arch, Pedestal};
use crate::profile::{Kind, ProfileError, duplicate};
use crate::units::Mib;

mod memory;
mod name;
pub mod options;
mod set;

pub use memory::{MemoryMap, Region, RegionKind};
pub use name::BoardName;
pub use options::{Cpu, ExtraArgs, Machine};
pub use set::{Boards, Origin};

/// A board file that cannot be used.
pub type BoardError = ProfileError;

/// One board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BoardProfile {
    /// What images and annotations call it.
    pub name: BoardName,
    /// Other names for the same board.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<BoardName>,
    /// One line for people.
    pub description: String,
    /// The guest core's instruction set.
    pub arch: Arch,
    /// The pedestals that can run this board, the usual one first.
    pub pedestals: Vec<Pedestal>,
    /// Where firmware may lie and run.
    pub memory: MemoryMap,
    /// How QEMU plays this board; None where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qemu: Option<QemuBoard>,
    /// How Xen plays this board; None for the usual way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xen: Option<XenBoard>,
}

/// The QEMU side of a board. The shim adds everything that is the same for all boards: no default devices, no
/// display, no network, no reboot, the console, the control socket, the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct QemuBoard {
    /// For `-machine`: a machine and its properties.
    pub machine: Machine,
    /// For `-cpu`; None for the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// For `-m` where the container says nothing.
    #[serde(deserialize_with = "memory::sane_guest_memory")]
    pub memory: Mib,
    /// Further arguments, placed after the shim's own.
    #[serde(default, skip_serializing_if = "ExtraArgs::is_empty")]
    pub args: ExtraArgs,
    /// What the end of the QEMU process says about the guest.
    #[serde(default)]
    pub exit: ExitConvention,
    /// The machine has QEMU's `fw_cfg` device, in which the shim leaves what the guest may want to know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fw_cfg: bool,
    /// The network interface that the guest's drivers know, for guests that get the pod's; None where they know none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic: Option<Nic>,
}

/// A network interface that QEMU can plug into a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nic {
    /// virtio over memory (virtio-mmio), as the `virt` machines have it.
    VirtioNetDevice,
    /// virtio over PCI.
    VirtioNetPci,
    /// Intel's 82540EM, on PCI.
    E1000,
}

impl Nic {
    /// What QEMU calls the device.
    pub const fn device(self) -> &'static str {
        match self {
            Nic::VirtioNetDevice => "virtio-net-device",
            Nic::VirtioNetPci => "virtio-net-pci",
            Nic::E1000 => "e1000",
        }
    }

    /// Whether it sits on PCI, and would bring a file of QEMU's with code for a PC's BIOS.
    pub const fn is_pci(self) -> bool {
        !matches!(self, Nic::VirtioNetDevice)
    }
}

/// The Xen side of a board.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct XenBoard {
    /// Where the firmware's output comes from.
    #[serde(default)]
    pub console: XenConsole,
}

/// The console of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum XenConsole {
    /// The ring that firmware written for Xen uses.
    #[default]
    Pv,
    /// A PL011 that Xen emulates, for firmware that knows nothing of Xen: `vuart` in `xl.cfg`.
    Vuart,
}

/// How a QEMU that ended without a SHUTDOWN event is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitConvention {
    /// It is a failure: this machine always announces its end.
    #[default]
    None,
    /// QEMU's exit status is the guest's own code (the test finisher of the riscv `virt` machine).
    Status,
    /// QEMU's exit status is `(code << 1) | 1` (the device `isa-debug-exit`); an even one is QEMU's own.
    IsaDebugExit,
}

impl ExitConvention {
    /// The code with which the guest ended, from QEMU's exit status; None if the status says that QEMU failed.
    pub const fn guest_code(self, status: u8) -> Option<u8> {
        match self {
            ExitConvention::None => None,
            ExitConvention::Status => Some(status),
            ExitConvention::IsaDebugExit if status & 1 == 1 => Some(status >> 1),
            ExitConvention::IsaDebugExit => None,
        }
    }
}

impl BoardProfile {
    /// Reads one profile. `origin` is named in errors: a path, or `built in`.
    ///
    /// # Errors
    /// If the text is too long, no YAML, no profile, or contradicts itself; with the line where there is one.
    pub fn parse(origin: &str, text: &str) -> Result<Self, BoardError> {
        let board: BoardProfile = Kind::Board.parse(origin, text)?;
        board.check_whole().map_err(|reason| Kind::Board.contradiction(origin, reason))?;
        Ok(board)
    }

    /// The profile as a board file.
    pub fn to_yaml(&self) -> String {
        // Serializing strings, numbers and enums into a string has no way to fail.
        serde_yaml::to_string(self).unwrap_or_default()
    }

    /// True if images may call the board by this name.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name.as_str() == name || self.aliases.iter().any(|alias| alias.as_str() == name)
    }

    /// What no single field shows.
    fn check_whole(&self) -> Result<(), String> {
        if self.pedestals.is_empty() {
            return Err("pedestals is empty: name at least one".to_owned());
        }
        if let Some(twice) = duplicate(&self.pedestals) {
            return Err(format!("pedestal {twice} is listed twice"));
        }
        let names: Vec<_> = std::iter::once(&self.name).chain(&self.aliases).collect();
        if let Some(twice) = duplicate(&names) {
            return Err(format!("the name {twice} is listed twice"));
        }
        if self.xen.is_some() && !self.pedestals.contains(&Pedestal::Xen) {
            return Err("there is a section `xen`, but pedestals does not list xen".to_owned());
        }
        match (self.pedestals.contains(&Pedestal::Qemu), &self.qemu) {
            (true, None) => Err("pedestal qemu needs a section `qemu`".to_owned()),
            (false, Some(_)) => Err("there is a section `qemu`, but pedestals does not list qemu".to_owned()),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for BoardProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name, f)
    }
}
