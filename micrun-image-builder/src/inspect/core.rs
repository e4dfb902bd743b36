//! The core that a firmware was built for.

use std::fmt;

use micrun_image_spec::firmware::Arch;
use serde::Serialize;

use super::Known;
use crate::elf::Elf;

/// EF_ARM_ABI_FLOAT_SOFT and EF_ARM_ABI_FLOAT_HARD ("ELF for the Arm Architecture").
const ARM_FLOAT_SOFT: u32 = 0x200;
const ARM_FLOAT_HARD: u32 = 0x400;
/// EF_RISCV_RVC, EF_RISCV_FLOAT_ABI, EF_RISCV_RVE and EF_RISCV_TSO ("RISC-V ELF Specification").
const RISCV_RVC: u32 = 1;
const RISCV_FLOAT_ABI: u32 = 6;
const RISCV_RVE: u32 = 8;
const RISCV_TSO: u32 = 0x10;

/// A core, as the ELF header and the build attributes describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Core {
    /// The instruction set.
    #[serde(rename = "architecture")]
    pub arch: Arch,
    /// 32 or 64.
    pub bits: u8,
    /// The core, or the version of its architecture: `7-A`, `Cortex-M3`, `rv64i2p1_m2p0`.
    pub model: Option<String>,
    /// What else it needs.
    pub features: Vec<&'static str>,
    /// How floating-point numbers are passed; None where the file does not say it.
    pub float_abi: Option<Known<FloatAbi>>,
}

/// How functions get floating-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FloatAbi {
    /// In the registers for integers: works on cores without floating point.
    Soft,
    /// In floating-point registers.
    Hard,
    /// In floating-point registers, numbers of 32 bits only.
    Single,
    /// In floating-point registers, numbers of up to 64 bits.
    Double,
    /// In floating-point registers, numbers of up to 128 bits.
    Quad,
    /// There are none: it fits both.
    Any,
}

impl fmt::Display for FloatAbi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FloatAbi::Soft => "soft",
            FloatAbi::Hard => "hard",
            FloatAbi::Single => "single",
            FloatAbi::Double => "double",
            FloatAbi::Quad => "quad",
            FloatAbi::Any => "any",
        })
    }
}

impl Core {
    pub(super) fn of(elf: &Elf<'_>) -> Self {
        let attributes = &elf.attributes;
        let (model, features, float_abi) = match elf.arch {
            Arch::Arm => (attributes.cpu.clone(), arm_features(elf), arm_float_abi(elf)),
            Arch::Riscv32 | Arch::Riscv64 => {
                (attributes.isa.clone(), riscv_features(elf.flags), Some(riscv_float_abi(elf.flags)))
            }
            // The 64-bit procedure call standard has no other (AAPCS64).
            Arch::Aarch64 => (None, Vec::new(), Some(known(FloatAbi::Hard, "the architecture has no other"))),
            Arch::X86 | Arch::X86_64 => (None, Vec::new(), None),
        };
        Core { arch: elf.arch, bits: if elf.is_64_bit() { 64 } else { 32 }, model, features, float_abi }
    }
}

fn known<T>(value: T, because: &str) -> Known<T> {
    Known { value, because: because.to_owned() }
}

fn arm_features(elf: &Elf<'_>) -> Vec<&'static str> {
    match elf.attributes.profile {
        Some(b'A') => vec!["application profile"],
        Some(b'R') => vec!["real-time profile"],
        Some(b'M') => vec!["microcontroller profile"],
        _ if elf.is_cortex_m() => vec!["microcontroller profile (by its vector table)"],
        _ => Vec::new(),
    }
}

/// Linkers set the flag for soft also where nothing was said, so the attributes come first.
fn arm_float_abi(elf: &Elf<'_>) -> Option<Known<FloatAbi>> {
    match (elf.attributes.vfp_args, elf.flags & (ARM_FLOAT_SOFT | ARM_FLOAT_HARD)) {
        (Some(1), _) => Some(known(FloatAbi::Hard, "build attribute ABI_VFP_args")),
        (Some(3), _) => Some(known(FloatAbi::Any, "build attribute ABI_VFP_args")),
        (_, ARM_FLOAT_HARD) => Some(known(FloatAbi::Hard, "flag of the ELF header")),
        (_, ARM_FLOAT_SOFT) => Some(known(FloatAbi::Soft, "flag of the ELF header")),
        (Some(0), _) => Some(known(FloatAbi::Soft, "build attribute ABI_VFP_args")),
        _ => None,
    }
}

fn riscv_features(flags: u32) -> Vec<&'static str> {
    let features = [
        (RISCV_RVC, "compressed instructions (RVC)"),
        (RISCV_RVE, "16 registers (RVE)"),
        (RISCV_TSO, "total store order"),
    ];
    features.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name).collect()
}

fn riscv_float_abi(flags: u32) -> Known<FloatAbi> {
    let abi = match flags & RISCV_FLOAT_ABI {
        0 => FloatAbi::Soft,
        2 => FloatAbi::Single,
        4 => FloatAbi::Double,
        _ => FloatAbi::Quad,
    };
    known(abi, "flags of the ELF header")
}
