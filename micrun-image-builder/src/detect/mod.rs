//! Recognises what is in a firmware, and the board that it was probably built for.

mod board;
mod evidence;
mod rtos;
mod version;

pub use board::{BoardGuess, Outside, guess_board, outside_memory};

use std::io;

use micrun_image_spec::firmware::Rtos;

use crate::elf::Elf;

/// What runs in a firmware, and how that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The RTOS, or the program where it is a well-known one without.
    pub rtos: Rtos,
    /// Its version; None unless the file really says so.
    pub version: Option<String>,
    /// What gave it away: ``section `initlevel` ``.
    pub evidence: String,
}

/// Looks for traces of the systems that are known here. None if there are none.
///
/// # Errors
/// If the file cannot be read.
pub fn identify(elf: &Elf<'_>) -> io::Result<Option<Identity>> {
    let traces = evidence::Traces::collect(elf)?;
    let found = rtos::PROFILES.iter().find_map(|profile| Some((profile, profile.matches(&traces)?)));
    Ok(found.map(|(profile, evidence)| {
        let version = profile.version_prefix.and_then(|prefix| version::after(&traces, prefix));
        Identity { rtos: profile.rtos.clone(), version, evidence }
    }))
}
