//! Profiles: facts about boards and operating systems as data. Each is one YAML file. Some are built in, and a
//! node adds its own in a directory; one of the same name replaces the built-in one.
//!
//! Here is what all kinds of profiles share: finding the files, reading them, and what can be wrong with one.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::yaml::{MAX_OPEN_BRACKETS, too_many_brackets};

/// A profile that cannot be used. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file or directory that cannot be read.
    #[error("cannot read {kind} profiles from {}: {source}", path.display())]
    Read {
        /// What it describes.
        kind: Kind,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Larger than any real profile.
    #[error("{kind} file {origin} has {length} bytes, at most {} are read", ProfileError::MAX_BYTES)]
    TooLarge {
        /// What it describes.
        kind: Kind,
        /// The file.
        origin: String,
        /// Its size.
        length: u64,
    },
    /// More files than any node needs.
    #[error("there are more than {} {kind} files in {}: remove some", ProfileError::MAX_FILES, path.display())]
    TooManyFiles {
        /// What they describe.
        kind: Kind,
        /// The directory.
        path: PathBuf,
    },
    /// Not YAML, or not a profile.
    #[error("{kind} file {origin}{}: {reason}", At(*line))]
    Invalid {
        /// What it describes.
        kind: Kind,
        /// The file.
        origin: String,
        /// The line, counted from 1, of the value or of the section that it is in; None if it is the whole file.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// Two profiles that answer to one name.
    #[error("{kind} file {origin}: the name {name} already belongs to the {kind} {other}: choose another")]
    NameTaken {
        /// What both describe.
        kind: Kind,
        /// The file.
        origin: String,
        /// The name or alias.
        name: String,
        /// The profile that has it.
        other: String,
    },
}

/// What a profile describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A board.
    Board,
    /// An operating system.
    Os,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Board => "board",
            Kind::Os => "OS",
        })
    }
}

struct At(Option<usize>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, " line {line}"))
    }
}

impl ProfileError {
    /// Largest profile that is read, bytes.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Most profiles that are read from one directory.
    pub const MAX_FILES: usize = 1024;
}

impl Kind {
    fn failed(self, path: &Path, source: io::Error) -> ProfileError {
        ProfileError::Read { kind: self, path: path.to_owned(), source }
    }

    fn too_large(self, origin: &str, length: u64) -> ProfileError {
        ProfileError::TooLarge { kind: self, origin: origin.to_owned(), length }
    }

    fn invalid(self, origin: &str, error: &serde_yaml::Error) -> ProfileError {
        let text = error.to_string();
        let (line, reason) = match error.location() {
            // The line stands in front, as in every compiler's messages; not once more at the end.
            Some(place) => {
                let end = format!(" at line {} column {}", place.line(), place.column());
                (Some(place.line()), text.strip_suffix(&end).unwrap_or(&text).to_owned())
            }
            None => (None, text),
        };
        ProfileError::Invalid { kind: self, origin: origin.to_owned(), line, reason }
    }

    /// The error of a profile whose fields do not fit each other.
    pub(crate) fn contradiction(self, origin: &str, reason: String) -> ProfileError {
        ProfileError::Invalid { kind: self, origin: origin.to_owned(), line: None, reason }
    }

    /// Reads a profile's text, before its fields are held against each other.
    pub(crate) fn parse<T: DeserializeOwned>(self, origin: &str, text: &str) -> Result<T, ProfileError> {
        if text.len() > ProfileError::MAX_BYTES {
            return Err(self.too_large(origin, text.len() as u64));
        }
        if let Some(line) = too_many_brackets(text) {
            let reason = format!("more than {MAX_OPEN_BRACKETS} brackets are open");
            let origin = origin.to_owned();
            return Err(ProfileError::Invalid { kind: self, origin, line: Some(line), reason });
        }
        serde_yaml::from_str(text).map_err(|error| self.invalid(origin, &error))
    }

    /// The text of a file, which must be a regular one (opening a FIFO would block for ever) of bounded size.
    pub(crate) fn read(self, path: &Path) -> Result<String, ProfileError> {
        let failed = |source| self.failed(path, source);
        let metadata = fs::metadata(path).map_err(failed)?;
        let limit = ProfileError::MAX_BYTES as u64;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        if metadata.len() > limit {
            return Err(self.too_large(&path.display().to_string(), metadata.len()));
        }
        let mut text = String::new();
        File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)).map_err(failed)?;
        Ok(text)
    }

    /// The `*.yaml` of a directory in the order of their names. A directory that does not exist has none.
    pub(crate) fn files(self, dir: &Path) -> Result<Vec<PathBuf>, ProfileError> {
        let failed = |source| self.failed(dir, source);
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
            if files.len() > ProfileError::MAX_FILES {
                return Err(ProfileError::TooManyFiles { kind: self, path: dir.to_owned() });
            }
        }
        files.sort();
        Ok(files)
    }
}

/// The item that stands twice in a list.
pub(crate) fn duplicate<T: PartialEq>(items: &[T]) -> Option<&T> {
    items.iter().enumerate().find(|(i, item)| items[..*i].contains(item)).map(|(_, item)| item)
}
