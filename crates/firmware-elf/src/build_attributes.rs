//! The build attributes, in which toolchains for Arm and RISC-V say what a program needs of its core ("Addenda to, and
//! Errata in, the ABI for the Arm Architecture"; "RISC-V ELF Specification", attributes section).

use std::io;

use micrun_image_spec::firmware::Arch;

use super::Elf;

/// Bytes of the section that are read; seen were less than 100.
const MAX_BYTES: u64 = 4096;
/// Attributes that are looked at.
const MAX_ATTRIBUTES: usize = 256;

const TAG_FILE: u8 = 1;
const TAG_ARM_CPU_RAW_NAME: u64 = 4;
const TAG_ARM_CPU_NAME: u64 = 5;
const TAG_ARM_CPU_ARCH_PROFILE: u64 = 7;
const TAG_ARM_ABI_VFP_ARGS: u64 = 28;
const TAG_ARM_COMPATIBILITY: u64 = 32;
const TAG_RISCV_ARCH: u64 = 5;

/// What the build attributes say; nothing where there are none, or where they cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildAttributes {
    /// Arm: the profile of the core, `A`, `R` or `M`.
    pub profile: Option<u8>,
    /// Arm: the core's name, or that of its architecture (`7-A`).
    pub cpu: Option<String>,
    /// Arm: how floating-point arguments are passed: 0 in core registers, 1 in VFP registers, 3 there are none.
    pub vfp_args: Option<u64>,
    /// RISC-V: the instruction set with its extensions.
    pub isa: Option<String>,
}

impl BuildAttributes {
    /// Reads the section that the file's machine has for them.
    pub(super) fn read(elf: &Elf<'_>) -> io::Result<Self> {
        Ok(match elf.arch {
            Arch::Arm => arm(&elf.section_bytes(b".ARM.attributes", MAX_BYTES)?.unwrap_or_default()),
            Arch::Riscv32 | Arch::Riscv64 => {
                riscv(&elf.section_bytes(b".riscv.attributes", MAX_BYTES)?.unwrap_or_default())
            }
            _ => BuildAttributes::default(),
        })
    }
}

fn arm(section: &[u8]) -> BuildAttributes {
    let mut found = BuildAttributes::default();
    for (tag, value) in Attributes::of(section, b"aeabi\0", arm_shape) {
        match tag {
            TAG_ARM_CPU_NAME => found.cpu = value.text(),
            TAG_ARM_CPU_ARCH_PROFILE => found.profile = value.number.and_then(|n| u8::try_from(n).ok()),
            TAG_ARM_ABI_VFP_ARGS => found.vfp_args = value.number,
            _ => {}
        }
    }
    found
}

fn riscv(section: &[u8]) -> BuildAttributes {
    let mut found = BuildAttributes::default();
    for (tag, value) in Attributes::of(section, b"riscv\0", riscv_shape) {
        if tag == TAG_RISCV_ARCH {
            found.isa = value.text();
        }
    }
    found
}

/// What stands behind a tag.
struct Shape {
    number: bool,
    text: bool,
}

const NUMBER: Shape = Shape { number: true, text: false };
const TEXT: Shape = Shape { number: false, text: true };

fn arm_shape(tag: u64) -> Shape {
    match tag {
        TAG_ARM_CPU_RAW_NAME | TAG_ARM_CPU_NAME => TEXT,
        TAG_ARM_COMPATIBILITY => Shape { number: true, text: true },
        // Above 32, odd tags have texts and even ones numbers, so that readers can skip what is new.
        tag if tag > 32 && tag % 2 == 1 => TEXT,
        _ => NUMBER,
    }
}

fn riscv_shape(tag: u64) -> Shape {
    if tag % 2 == 1 { TEXT } else { NUMBER }
}

struct Value<'a> {
    number: Option<u64>,
    text: &'a [u8],
}

impl Value<'_> {
    fn text(&self) -> Option<String> {
        let text =
            std::str::from_utf8(self.text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// The attributes of the whole file, until one cannot be read.
struct Attributes<'a> {
    rest: &'a [u8],
    shape: fn(u64) -> Shape,
}

impl<'a> Attributes<'a> {
    fn of(
        section: &'a [u8],
        vendor: &[u8],
        shape: fn(u64) -> Shape,
    ) -> impl Iterator<Item = (u64, Value<'a>)> + use<'a> {
        // 'A', the length of the subsection, its vendor; then the attributes of the whole file, with their length.
        let whole_file = || {
            let rest = section.strip_prefix(b"A")?.get(4..)?.strip_prefix(vendor)?;
            let (&tag, rest) = rest.split_first()?;
            let (length, rest) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_sub(5)?;
            (tag == TAG_FILE).then(|| &rest[..length.min(rest.len())])
        };
        Attributes { rest: whole_file().unwrap_or_default(), shape }.take(MAX_ATTRIBUTES)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = uleb128(&mut self.rest)?;
        let shape = (self.shape)(tag);
        let number = if shape.number { Some(uleb128(&mut self.rest)?) } else { None };
        let text = if shape.text { text(&mut self.rest)? } else { &[] };
        Some((tag, Value { number, text }))
    }
}

fn uleb128(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&byte| byte == 0)?;
    let text = &rest[..end];
    *rest = &rest[end + 1..];
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_arm_toolchains_say() {
        // CPU_name "7-M", CPU_arch 10, an unknown odd tag 67 with a text, the profile, and VFP arguments.
        let section = b"A\x1f\0\0\0aeabi\0\x01\x17\0\0\0\x057-M\0\x06\x0a\x43v2\0\x07M\x1c\x01\x08\x01";
        let found = arm(section);
        assert_eq!((found.profile, found.cpu.as_deref(), found.vfp_args), (Some(b'M'), Some("7-M"), Some(1)));
        for end in 0..section.len() - 6 {
            assert_eq!(arm(&section[..end]).profile, None, "cut at {end}");
        }
        assert_eq!(arm(b"A\0\0\0\0gnu\0"), BuildAttributes::default());
    }

    #[test]
    fn finds_the_instruction_set_of_riscv() {
        let section = b"A\x20\0\0\0riscv\0\x01\x12\0\0\0\x04\x10\x05rv32i2p1\0";
        assert_eq!(riscv(section).isa.as_deref(), Some("rv32i2p1"));
        assert_eq!(riscv(&section[..20]), BuildAttributes::default());
    }
}
