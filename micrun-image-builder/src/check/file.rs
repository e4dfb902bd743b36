//! Is the file an ELF file, and all there?

use super::{Code, Foreign, Place, Report};
use crate::elf::{Elf, ReadError};
use crate::source::{self, ReadAt};

/// Turns the reader's error into a finding with a remedy.
pub(super) fn report_unreadable(error: &ReadError, file: &dyn ReadAt, report: &mut Report) {
    const COPY_AGAIN: &str = "build the firmware again, or copy it again and compare sizes";
    let (code, offset, remedy) = match error {
        ReadError::Io(error) => return super::unreadable(error, report),
        ReadError::Empty => (Code::EmptyFile, None, "build the firmware again; the linker may have failed"),
        ReadError::NotElf => (Code::NotElf, Some(0), what_to_give_instead(file)),
        ReadError::HeaderCut { file_len } => (Code::HeaderCut, Some(*file_len), COPY_AGAIN),
        ReadError::Header(_) => (Code::BadHeader, Some(0), COPY_AGAIN),
        ReadError::ProgramHeadersOutside { offset, .. } => {
            (Code::ProgramHeadersOutside, Some(*offset), COPY_AGAIN)
        }
        // Offsets of e_machine, EI_CLASS and EI_DATA in the ELF header.
        ReadError::Machine { .. } => (
            Code::UnsupportedMachine,
            Some(0x12),
            "build for aarch64, arm, riscv64, riscv32, x86 or x86_64, or give the file of such a build",
        ),
        ReadError::Class { .. } => {
            (Code::WrongClass, Some(4), "build for the machine's own class (no -mabi=ilp32, no -mx32)")
        }
        ReadError::ByteOrder { .. } => {
            (Code::WrongByteOrder, Some(5), "build little-endian (-mlittle-endian)")
        }
    };
    report.add(code, offset.map(Place::Offset), error.to_string(), remedy);
}

fn what_to_give_instead(file: &dyn ReadAt) -> &'static str {
    let bytes = source::bytes(file, 0, 64).unwrap_or_default();
    match Foreign::of(&bytes) {
        Some(Foreign::IntelHex) => {
            "this looks like Intel HEX; give the ELF file that it was made from, or say for which machine it is: --arch arm"
        }
        Some(Foreign::SRecords) => "this looks like S-records; give the ELF file that they were made from",
        Some(Foreign::Uf2) => "this looks like UF2; give the ELF file that it was made from",
        Some(Foreign::Archive) => "this is a library; give the ELF file that the linker wrote",
        Some(Foreign::Gzip) => "this is gzip data; unpack it first",
        _ if source::bytes(file, 257, 5).is_ok_and(|magic| magic == b"ustar") => {
            "this is a tar archive; if it is an image, its firmware comes out with: \
             micrun-image-builder extract ARCHIVE --elf FILE"
        }
        _ if bytes.get(0x38..0x3c) == Some(b"ARM\x64") => {
            "this is a raw arm64 Image; give the ELF file that it was made from, or say where it is loaded: \
             --arch aarch64 --load-address 0x40000000"
        }
        _ => {
            "give the ELF file that the linker wrote, often called zephyr.elf, firmware.elf or *.axf; \
              for a raw binary add --arch and --load-address"
        }
    }
}

/// Checks that everything which the headers name is in the file.
pub(super) fn check(elf: &Elf<'_>, report: &mut Report) {
    let cut = elf
        .loads()
        .find(|s| s.filesz > 0 && s.offset.checked_add(s.filesz).is_none_or(|end| end > elf.file_len()));
    if let Some(segment) = cut {
        report.add(
            Code::SegmentOutside,
            Some(Place::Segment(segment.index)),
            format!(
                "the segment should be {} bytes at offset {:#x}, but the file has {} bytes: it is cut short",
                segment.filesz,
                segment.offset,
                elf.file_len()
            ),
            "copy the file again and compare sizes, or build it again",
        );
    }
    match elf.sections.problem() {
        // One cut, one finding.
        Some(_) if cut.is_some() => {}
        Some(problem) => report.add(
            Code::SectionHeadersOutside,
            None,
            problem,
            "copy the file again and compare sizes; if it is meant to be like this, allow it",
        ),
        None if elf.sections.is_empty() => report.add(
            Code::NoSectionHeaders,
            None,
            "the file has no section headers; the RTOS may not be recognised",
            "nothing, or pack the file from before they were stripped",
        ),
        None => {}
    }
}
