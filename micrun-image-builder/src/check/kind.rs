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
                          built with a bare-metal toolchain or with -nostdlib -static and a linker script";
    let dynamic = match (elf.has_interpreter(), elf.needs_libraries()) {
        (true, _) => Some("it asks for a dynamic linker (PT_INTERP)"),
        (_, true) => Some("it needs shared libraries (DT_NEEDED)"),
        _ => None,
    };
    if let Some(proof) = dynamic {
        report.add(Code::DynamicLinuxProgram, None, format!("this is a Linux program: {proof}"), REMEDY);
    } else if let Some((proof, place)) = toolchain_proof(elf).or_else(|| linker_proof(elf)) {
        let message = format!("this is a static Linux program: {proof}");
        report.add(Code::StaticLinuxProgram, place, message, REMEDY);
    } else if is_laid_out_for_linux(elf) {
        report.add(
            Code::LaidOutForLinux,
            None,
            "this may be a static Linux program: its ELF headers are loaded with it",
            "if it is firmware, link it with a linker script of its board, or with --nmagic for lld",
        );
    }
}

type Proof = (&'static str, Option<Place>);

/// What only toolchains for Linux programs leave behind.
fn toolchain_proof(elf: &Elf<'_>) -> Option<Proof> {
    let section = |suffix: &[u8]| {
        let found = elf.sections.iter().find(|section| section.name.ends_with(suffix));
        found.map(|section| Some(Place::Section(String::from_utf8_lossy(&section.name).into_owned())))
    };
    if let Some(place) = section(b".note.ABI-tag") {
        return Some(("it states a Linux version", place));
    }
    if elf.notes().iter().any(|note| note.owner == b"GNU" && note.kind == NT_GNU_ABI_TAG) {
        return Some(("it has a note with the Linux version that it needs", None));
    }
    if elf.notes().iter().any(|note| note.owner == b"Go") {
        return Some(("it has a note of the Go linker", None));
    }
    // Go's table of functions stays when notes and symbols are stripped; npm's esbuild is such a program.
    section(b".gopclntab").map(|place| ("it was linked by Go", place))
}

/// What linkers do for Linux programs, but not for them alone: lld makes a relro segment wherever there are
/// constructors, and the unique symbols of g++ for Linux set the OS ABI. So it counts only where the layout agrees.
fn linker_proof(elf: &Elf<'_>) -> Option<Proof> {
    if !is_laid_out_for_linux(elf) {
        return None;
    }
    if elf.os_abi == ELFOSABI_GNU {
        return Some(("its OS ABI is GNU/Linux", Some(Place::Offset(7))));
    }
    let relro = elf.segments.iter().find(|segment| segment.kind == PT_GNU_RELRO)?;
    Some(("it has a segment to be made read-only after relocation", Some(Place::Segment(relro.index))))
}

/// Static Linux programs load their own headers; of the real firmware looked at, none does that was linked with a
/// script of its board. On Cortex-M there is no Linux program to take it for.
fn is_laid_out_for_linux(elf: &Elf<'_>) -> bool {
    elf.is_loaded_with_its_headers() && !elf.is_cortex_m()
}
