//! Judges a firmware: what is wrong with it, where, and what to do.
//!
//! A check that rejects real firmware is worse than no check. What real firmware looks like is written in the
//! comments of the checks, and the tests pack real third-party firmware.

mod advice;
mod code;
mod file;
mod finding;
mod kind;
mod layout;

pub use advice::{advise, debug_info_size};
pub use code::{Code, Severity, UnknownCode};
pub use finding::{Finding, Place, Report};

use crate::elf::Elf;

/// Reads an ELF file and makes all checks that need to know nothing but the file. None where the file could not
/// be read; then the report says why.
pub fn examine<'a>(bytes: &'a [u8], report: &mut Report) -> Option<Elf<'a>> {
    let elf = match Elf::read(bytes) {
        Ok(elf) => elf,
        Err(error) => {
            file::report_unreadable(&error, bytes, report);
            return None;
        }
    };
    file::check(&elf, report);
    if kind::check(&elf, report) {
        layout::check(&elf, report);
    }
    Some(elf)
}
