//! Is it firmware at all, or a program for Linux, or no program yet?

use goblin::elf::header::{ELFOSABI_GNU, ET_CORE, ET_DYN, ET_EXEC, ET_REL};
use goblin::elf::program_header::PT_GNU_RELRO;

use super::{Code, Place, Report};
use crate::elf::Elf;

/// The type of the note that states the oldest kernel for a program (glibc's .note.ABI-tag). The GNU toolchain's
/// other notes, build ID and machine properties, are found in firmware as well.
const NT_GNU_ABI_TAG: u32 = 1;

/// False if it is no program at all, so that its layout says nothing.
pub(super) fn check(elf: &Elf<'_>, report: &mut Report) -> bool {
    const E_TYPE: Option<Place> = Some(Place::Offset(0x10));
    match elf.file_type {
        // Firmware that relocates itself (U-Boot) is ET_DYN with entry 0.
        ET_EXEC | ET_DYN => {
            check_linux_program(elf, report);
            return true;
        }
        ET_REL => report.add(
            Code::Relocatable,
            E_TYPE,
            "this is a relocatable object (.o or .ko): its addresses are not decided yet",
            "link it with your firmware's linker script, and give the result",
        ),
        ET_CORE => report.add(
            Code::CoreDump,
            E_TYPE,
            "this is a core dump, not a program",
            "give the ELF file of the firmware itself",
        ),
        other => report.add(
            Code::BadHeader,
            E_TYPE,
            format!("the ELF file's type is {other}, neither an executable nor a shared object"),
            "build the firmware again",
        ),
    }
    false
}

fn check_linux_program(elf: &Elf<'_>, report: &mut Report) {
    const REMEDY: &str = "a Linux program runs in an ordinary container; give the firmware's ELF file, \
                          built with a bare-metal toolchain or with -nostdlib -static";
    let dynamic = match (elf.has_interpreter(), elf.needs_libraries()) {
        (true, _) => Some("it asks for a dynamic linker (PT_INTERP)"),
        (_, true) => Some("it needs shared libraries (DT_NEEDED)"),
        _ => None,
    };
    if let Some(proof) = dynamic {
        report.add(Code::DynamicLinuxProgram, None, format!("this is a Linux program: {proof}"), REMEDY);
    } else if let Some((proof, place)) = static_proof(elf) {
        report.add(
            Code::StaticLinuxProgram,
            place,
            format!("this is a static Linux program: {proof}"),
            REMEDY,
        );
    }
}

fn static_proof(elf: &Elf<'_>) -> Option<(&'static str, Option<Place>)> {
    const ABI_TAG: &[u8] = b".note.ABI-tag";
    if elf.sections.named(ABI_TAG).is_some() {
        return Some(("it states a Linux version", Some(Place::Section(".note.ABI-tag".to_owned()))));
    }
    if elf.notes().any(|note| note.owner == b"GNU" && note.kind == NT_GNU_ABI_TAG) {
        return Some(("it has a note with the Linux version that it needs", None));
    }
    if elf.notes().any(|note| note.owner == b"Go") {
        return Some(("it has a note of the Go linker", None));
    }
    if elf.os_abi == ELFOSABI_GNU {
        return Some(("its OS ABI is GNU/Linux", Some(Place::Offset(7))));
    }
    let relro = elf.segments.iter().find(|segment| segment.kind == PT_GNU_RELRO)?;
    Some(("it has a segment to be made read-only after relocation", Some(Place::Segment(relro.index))))
}
