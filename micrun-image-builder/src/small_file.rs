//! Reads a file that is described as small, whatever it really is: a FIFO would block for ever, a device never end.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file that is not read.
#[derive(Debug, thiserror::Error)]
pub enum SmallFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no file of this kind.
    #[error("{} has {length} bytes, and no file of its kind has more than {max}: check the path", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, bytes.
        length: u64,
        /// The limit, bytes.
        max: u64,
    },
    /// It is no text.
    #[error("{} is no text: the byte at {offset} is not UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where the text ends.
        offset: usize,
    },
}

/// The bytes of a regular file of at most `max` bytes.
///
/// # Errors
/// If it is not there, not regular, or larger.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, SmallFileError> {
    let failed = |source| SmallFileError::Read { path: path.to_owned(), source };
    let metadata = path.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    if metadata.len() > max {
        return Err(SmallFileError::TooLarge { path: path.to_owned(), length: metadata.len(), max });
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(max).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

/// The same, as text.
///
/// # Errors
/// As [`read`], and if it is not UTF-8.
pub fn read_text(path: &Path, max: u64) -> Result<String, SmallFileError> {
    String::from_utf8(read(path, max)?).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        SmallFileError::NotText { path: path.to_owned(), offset }
    })
}

/// The same, or None where there is no such file.
///
/// # Errors
/// As [`read_text`], for a file that is there.
pub fn read_text_if_there(path: &Path, max: u64) -> Result<Option<String>, SmallFileError> {
    match read_text(path, max) {
        Err(SmallFileError::Read { source, .. }) if is_missing(&source) => Ok(None),
        other => other.map(Some),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
