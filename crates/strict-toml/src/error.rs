//! What is wrong with a file that somebody wrote.

use std::fmt;
use std::path::{Path, PathBuf};

/// A file that cannot be used: which one, where in it, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", .file.display(), At(*.at))]
pub struct FileError<P> {
    /// The file.
    pub file: PathBuf,
    /// Line and column, counted from 1; `None` for the file as a whole.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub problem: P,
}

impl<P> FileError<P> {
    /// An error of a whole file.
    pub fn of_file(file: &Path, problem: P) -> FileError<P> {
        FileError { file: file.to_owned(), at: None, problem }
    }
}

struct At(Option<(usize, usize)>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(line, column)| write!(f, ":{line}:{column}"))
    }
}
