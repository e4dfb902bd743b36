//! What the original writes to syslog: the reason of a failure is there, and hardly ever in an answer.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// Where the daemon's messages go.
#[derive(Debug)]
pub enum Journal {
    /// To stderr, for people.
    Stderr,
    /// Kept, for tests.
    Kept(Mutex<Vec<String>>),
}

impl Journal {
    /// A journal that keeps what it is told.
    pub fn kept() -> Journal {
        Journal::Kept(Mutex::default())
    }

    /// Writes a line.
    pub fn say(&self, text: impl Display) {
        match self {
            Journal::Stderr => eprintln!("micad-sim: {text}"),
            Journal::Kept(lines) => {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_string());
            }
        }
    }

    /// The lines kept so far.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Journal::Stderr => Vec::new(),
            Journal::Kept(lines) => lines.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
