//! What can be wrong with a board file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::yaml::MAX_OPEN_BRACKETS;

/// A board file that cannot be used. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// A file or directory that cannot be read.
    #[error("cannot read board profiles from {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Larger than any real profile.
    #[error("board file {origin} has {length} bytes, at most {} are read", BoardError::MAX_BYTES)]
    TooLarge {
        /// The file.
        origin: String,
        /// Its size.
        length: u64,
    },
    /// More files than any node needs.
    #[error("there are more than {} board files in {}: remove some", BoardError::MAX_FILES, path.display())]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
    },
    /// Not YAML, or not a board profile.
    #[error("board file {origin}{}: {reason}", At(*line))]
    Invalid {
        /// The file.
        origin: String,
        /// The line, counted from 1, of the value or of the section that it is in; None if it is the whole file.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// Two boards that answer to one name.
    #[error("board file {origin}: the name {name} already belongs to the board {other}: choose another")]
    NameTaken {
        /// The file.
        origin: String,
        /// The name or alias.
        name: String,
        /// The board that has it.
        other: String,
    },
}

struct At(Option<usize>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, " line {line}"))
    }
}

impl BoardError {
    /// Largest board file that is read, bytes.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Most board files that are read from one directory.
    pub const MAX_FILES: usize = 1024;

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        BoardError::Read { path: path.to_owned(), source }
    }

    pub(super) fn too_large(origin: &str, length: u64) -> Self {
        BoardError::TooLarge { origin: origin.to_owned(), length }
    }

    pub(super) fn too_deep(origin: &str, line: usize) -> Self {
        let reason = format!("more than {MAX_OPEN_BRACKETS} brackets are open");
        BoardError::Invalid { origin: origin.to_owned(), line: Some(line), reason }
    }

    pub(super) fn invalid(origin: &str, error: &serde_yaml::Error) -> Self {
        let text = error.to_string();
        let (line, reason) = match error.location() {
            // The line stands in front, as in every compiler's messages; not once more at the end.
            Some(place) => {
                let end = format!(" at line {} column {}", place.line(), place.column());
                (Some(place.line()), text.strip_suffix(&end).unwrap_or(&text).to_owned())
            }
            None => (None, text),
        };
        BoardError::Invalid { origin: origin.to_owned(), line, reason }
    }

    pub(super) fn contradiction(origin: &str, reason: String) -> Self {
        BoardError::Invalid { origin: origin.to_owned(), line: None, reason }
    }
}
