//! The words for what a firmware is: its architecture, its RTOS, and the pedestal it runs on.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::text::{excerpt, is_lower_case_word, serde_as_string};

/// A word that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownWord {
    /// Not one of the six architectures.
    #[error("`{0}` is no architecture: use aarch64, arm, riscv64, riscv32, x86 or x86_64")]
    Arch(String),
    /// Not one of the six pedestals.
    #[error("`{0}` is no pedestal: use qemu, xen, baremetal, jailhouse, hetero or remoteproc")]
    Pedestal(String),
    /// Not a word that can name an operating system.
    #[error("`{0}` cannot name an RTOS: use a lower-case word of at most {max} bytes, such as zephyr", max = Rtos::MAX_LEN)]
    Rtos(String),
}

/// The instruction set of a guest's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm, the Cortex-M profile included.
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
    /// 32-bit RISC-V.
    Riscv32,
    /// 32-bit x86.
    X86,
    /// 64-bit x86.
    X86_64,
}

impl Arch {
    /// Every architecture, in the order in which they are listed to people.
    pub const ALL: [Arch; 6] =
        [Arch::Aarch64, Arch::Arm, Arch::Riscv64, Arch::Riscv32, Arch::X86, Arch::X86_64];

    /// The name used in board files and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Arch::Aarch64 => "aarch64",
            Arch::Arm => "arm",
            Arch::Riscv64 => "riscv64",
            Arch::Riscv32 => "riscv32",
            Arch::X86 => "x86",
            Arch::X86_64 => "x86_64",
        }
    }

    /// The architecture that an ELF header states with `e_machine` (the EM_* numbers of the ELF gABI) and its
    /// class. None for a machine that is not supported and for a class that this machine cannot have.
    pub const fn from_elf(machine: u16, is_64_bit: bool) -> Option<Arch> {
        match (machine, is_64_bit) {
            (183, true) => Some(Arch::Aarch64),
            (40, false) => Some(Arch::Arm),
            (243, true) => Some(Arch::Riscv64),
            (243, false) => Some(Arch::Riscv32),
            (3, false) => Some(Arch::X86),
            (62, true) => Some(Arch::X86_64),
            _ => None,
        }
    }

    /// The `architecture` of an OCI platform: the names that Go gives to architectures.
    pub const fn oci_name(self) -> &'static str {
        match self {
            Arch::Aarch64 => "arm64",
            Arch::Arm => "arm",
            Arch::Riscv64 => "riscv64",
            Arch::Riscv32 => "riscv",
            Arch::X86 => "386",
            Arch::X86_64 => "amd64",
        }
    }

    /// The QEMU program that emulates this architecture.
    pub const fn qemu_program(self) -> &'static str {
        match self {
            Arch::Aarch64 => "qemu-system-aarch64",
            Arch::Arm => "qemu-system-arm",
            Arch::Riscv64 => "qemu-system-riscv64",
            Arch::Riscv32 => "qemu-system-riscv32",
            Arch::X86 => "qemu-system-i386",
            Arch::X86_64 => "qemu-system-x86_64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Arch::ALL.into_iter().find(|a| a.as_str() == text).ok_or_else(|| UnknownWord::Arch(excerpt(text)))
    }
}

serde_as_string!(Arch);

/// What a guest runs on. The image says the pedestal; the node decides which driver serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Pedestal {
    /// A Xen domain.
    Xen,
    /// A core set aside on the node, run by micad. What client.conf means when it says nothing.
    #[default]
    Baremetal,
    /// A Jailhouse cell.
    Jailhouse,
    /// A core of another kind on the same chip, run by micad.
    Hetero,
    /// A QEMU process of the shim's own.
    Qemu,
    /// A co-processor behind the kernel's remoteproc framework.
    Remoteproc,
}

impl Pedestal {
    /// Every pedestal, in the order in which they are listed to people.
    pub const ALL: [Pedestal; 6] = [
        Pedestal::Qemu,
        Pedestal::Xen,
        Pedestal::Baremetal,
        Pedestal::Jailhouse,
        Pedestal::Hetero,
        Pedestal::Remoteproc,
    ];

    /// The word in client.conf, in annotations and in board files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Pedestal::Xen => "xen",
            Pedestal::Baremetal => "baremetal",
            Pedestal::Jailhouse => "jailhouse",
            Pedestal::Hetero => "hetero",
            Pedestal::Qemu => "qemu",
            Pedestal::Remoteproc => "remoteproc",
        }
    }

    /// True for the pedestals that boot a raw binary (`/image.bin`) and not the ELF.
    pub const fn boots_raw_image(self) -> bool {
        matches!(self, Pedestal::Xen | Pedestal::Hetero)
    }
}

impl fmt::Display for Pedestal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Pedestal {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Pedestal::ALL
            .into_iter()
            .find(|p| p.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownWord::Pedestal(excerpt(text)))
    }
}

serde_as_string!(Pedestal);

/// The operating system in a firmware.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rtos {
    /// Zephyr.
    Zephyr,
    /// openEuler's UniProton.
    Uniproton,
    /// FreeRTOS.
    Freertos,
    /// RT-Thread.
    RtThread,
    /// Apache NuttX.
    Nuttx,
    /// No operating system: a program on the bare machine.
    Baremetal,
    /// Any other, by a name of the user's choice.
    Other(OtherRtos),
}

/// The name of an RTOS that is not one of the known ones: a lower-case word, built by parsing an [`Rtos`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherRtos(Cow<'static, str>);

impl Rtos {
    /// Longest name in bytes; our own choice, far above any real name.
    pub const MAX_LEN: usize = 64;

    /// Das U-Boot: a boot loader, but what many people have at hand.
    pub const U_BOOT: Rtos = Rtos::Other(OtherRtos(Cow::Borrowed("u-boot")));
    /// OpenSBI, the same for RISC-V.
    pub const OPENSBI: Rtos = Rtos::Other(OtherRtos(Cow::Borrowed("opensbi")));

    const KNOWN: [Rtos; 6] =
        [Rtos::Zephyr, Rtos::Uniproton, Rtos::Freertos, Rtos::RtThread, Rtos::Nuttx, Rtos::Baremetal];

    /// The value of the annotation `container.os`.
    pub fn as_str(&self) -> &str {
        match self {
            Rtos::Zephyr => "zephyr",
            Rtos::Uniproton => "uniproton",
            Rtos::Freertos => "freertos",
            Rtos::RtThread => "rt-thread",
            Rtos::Nuttx => "nuttx",
            Rtos::Baremetal => "baremetal",
            Rtos::Other(name) => &name.0,
        }
    }
}

impl fmt::Display for Rtos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Rtos {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(known) = Rtos::KNOWN.into_iter().find(|r| r.as_str() == text) {
            return Ok(known);
        }
        if text.len() > Rtos::MAX_LEN || !is_lower_case_word(text) {
            return Err(UnknownWord::Rtos(excerpt(text)));
        }
        Ok(Rtos::Other(OtherRtos(Cow::Owned(text.to_owned()))))
    }
}

serde_as_string!(Rtos);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_as_they_are_written() {
        for arch in Arch::ALL {
            assert_eq!(arch.to_string().parse(), Ok(arch));
        }
        for pedestal in Pedestal::ALL {
            assert_eq!(pedestal.to_string().parse(), Ok(pedestal));
        }
        assert_eq!("u-boot".parse(), Ok(Rtos::U_BOOT));
        assert_eq!("opensbi".parse(), Ok(Rtos::OPENSBI));
        for name in ["zephyr", "rt-thread", "baremetal", "u-boot", "threadx6.2"] {
            assert_eq!(name.parse::<Rtos>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn an_rtos_is_a_lower_case_word() {
        for name in ["", "Zephyr", "my os", "-x", "9front", "a\nb", "ü", &"x".repeat(65)] {
            assert!(name.parse::<Rtos>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_machine_number_needs_the_right_class() {
        assert_eq!(Arch::from_elf(183, true), Some(Arch::Aarch64));
        assert_eq!(Arch::from_elf(183, false), None);
        assert_eq!(Arch::from_elf(243, false), Some(Arch::Riscv32));
        assert_eq!(Arch::from_elf(20, false), None, "PowerPC");
    }
}
