//! Warnings and notes about what was recognised in the firmware, and about its size.

use micrun_image_spec::firmware::Rtos;

use super::{Code, Report};
use crate::detect::Identity;
use crate::elf::Elf;

/// Adds what the user may want to know before the image travels.
pub fn advise(elf: &Elf<'_>, identity: Option<&Identity>, report: &mut Report) {
    match identity {
        None => report.add(
            Code::UnknownRtos,
            None,
            "the RTOS was not recognised, so the image names none",
            "name it: --rtos zephyr, or --rtos baremetal for a program without an operating system, which silences this",
        ),
        // A program without an operating system has no version of one.
        Some(identity) if identity.version.is_none() && identity.rtos != Rtos::Baremetal => report.add(
            Code::UnknownVersion,
            None,
            format!("the version of {} was not found in the file", identity.rtos),
            "nothing: the image works without it",
        ),
        Some(_) => {}
    }
    let (debug, program) = (debug_info_size(elf), program_size(elf));
    if debug > program {
        report.add(
            Code::DebugInfoLargerThanCode,
            None,
            format!("{debug} bytes of debug information come with {program} bytes of program"),
            "pack it with --strip, which keeps the debug information beside the image instead of in it",
        );
    }
}

/// Bytes of debug information in the file.
pub fn debug_info_size(elf: &Elf<'_>) -> u64 {
    let debug = elf.sections.iter().filter(|s| s.name.starts_with(b".debug_") && !s.allocated);
    debug.fold(0, |sum, section| sum.saturating_add(section.file_size().min(elf.file_len())))
}

fn program_size(elf: &Elf<'_>) -> u64 {
    elf.loads().fold(0, |sum, segment| sum.saturating_add(segment.filesz))
}
