//! What micad makes of a table, for who is about to ask it for a guest.
//!
//! micad says "unable to locate rsctable" at best, and on Xen leaves a paused domain behind, so it is better not asked.

use micrun_image_spec::firmware::Pedestal;

use super::Rule;
use crate::source::ReadAt;
use crate::{Elf, ReadError};

/// What a firmware's resource table is worth to micad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForMicad {
    /// There is none. micad refuses the guest; Xen alone would run it. Says so, and what to do.
    Absent(String),
    /// micad can use it.
    Ok,
    /// micad would fail with it, perhaps when the guest runs already. Says why, and what to do.
    Broken(String),
}

/// Looks at a firmware's resource table with micad's eyes.
///
/// # Errors
/// If the firmware cannot be read, or is no ELF file for a supported machine.
pub fn for_micad(firmware: &dyn ReadAt, pedestal: Pedestal) -> Result<ForMicad, ReadError> {
    let located = match Elf::read(firmware)?.resource_table()? {
        Ok(located) => located,
        Err(missing) => {
            let (message, remedy) = (missing.message, missing.remedy);
            return Ok(ForMicad::Absent(format!("{message}, which micad needs; {remedy}")));
        }
    };
    // The drivers of Linux may refuse a carveout without a length. micad does not look at it.
    let mut faults = located.faults(Some(pedestal)).into_iter();
    Ok(match faults.find(|fault| fault.rule != Rule::CarveoutLength) {
        Some(fault) => ForMicad::Broken(format!("{}; {}", fault.message, fault.remedy)),
        None => ForMicad::Ok,
    })
}
