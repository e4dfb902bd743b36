//! Judges a firmware: what is wrong with it, where, and what to do.
//!
//! A check that rejects real firmware is worse than no check. What real firmware looks like is written in the
//! comments of the checks, and the tests pack real third-party firmware.

mod advice;
mod code;
mod example;
mod file;
mod finding;
mod foreign;
mod kind;
mod layout;
mod quote;
mod resource_table;
pub mod sarif;
mod shared_memory;

pub use advice::{advise, debug_info_size};
pub use code::{Code, RETIRED, Severity, UnknownCode};
pub use finding::{Finding, Place, Report};
pub(crate) use foreign::Foreign;
pub use resource_table::resource_table;

use std::io;

use crate::elf::Elf;
use crate::source::ReadAt;

/// Reads an ELF file and makes all checks that need to know nothing but the file. None where the file could not
/// be read; then the report says why.
pub fn examine<'a>(file: &'a dyn ReadAt, report: &mut Report) -> Option<Elf<'a>> {
    let elf = match Elf::read(file) {
        Ok(elf) => elf,
        Err(error) => {
            file::report_unreadable(&error, file, report);
            return None;
        }
    };
    file::check(&elf, report);
    if kind::check(&elf, report) {
        match layout::check(&elf, report) {
            Ok(()) => {}
            Err(error) => {
                unreadable(&error, report);
                return None;
            }
        }
    }
    Some(elf)
}

/// Reports that the file system did not give the firmware.
pub fn unreadable(error: &io::Error, report: &mut Report) {
    let remedy = match error.kind() {
        io::ErrorKind::InvalidInput => "give the ELF file; copy what comes from a pipe into one",
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => "check the path, and who may read there",
        _ => "see that the file can be read, and try again",
    };
    report.add(Code::Unreadable, None, format!("cannot read the firmware: {error}"), remedy);
}
