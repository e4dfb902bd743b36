//! Recognises what is in a firmware, and the board that it was probably built for.

mod board;
mod evidence;
mod rtos;
mod version;

pub use board::{BoardGuess, guess_board, segment_outside};

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
pub fn identify(elf: &Elf<'_>) -> Option<Identity> {
    let traces = evidence::Traces::collect(elf);
    let (profile, evidence) = rtos::PROFILES.iter().find_map(|p| Some((p, p.matches(&traces)?)))?;
    let version = profile.version_prefix.and_then(|prefix| version::after(&traces, prefix));
    Some(Identity { rtos: profile.rtos.clone(), version, evidence })
}
