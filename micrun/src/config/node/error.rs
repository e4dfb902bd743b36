//! What can be wrong with `micrun.conf`: which file, where in it, and what to write instead.

use std::io;

use micrun_strict_toml::FileError;

/// A configuration that cannot be used.
pub type NodeConfigError = FileError<Problem>;

/// The kinds of problem.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Larger than any that somebody writes.
    #[error("the file has more than {max} bytes; nobody needs so many")]
    TooLarge {
        /// Bytes that are read.
        max: u64,
    },
    /// More drop-ins than somebody keeps.
    #[error("there are more than {max} files; put some together")]
    TooManyFiles {
        /// Files that are read.
        max: usize,
    },
    /// No text.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// Not TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// A key that nobody reads.
    #[error("there is no key `{name}`{}", did_you_mean(.nearest))]
    Unknown {
        /// Its full name, shortened.
        name: String,
        /// The one that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A value that the key does not take.
    #[error("`{name}` is {found}: write {wanted}")]
    Value {
        /// The key's full name.
        name: &'static str,
        /// What is there, shortened.
        found: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// A maximum below what it limits.
    #[error("`{maximum}` is below `{name}`: raise the one or lower the other")]
    MaximumBelow {
        /// The key of the maximum.
        maximum: &'static str,
        /// The key that it limits.
        name: &'static str,
    },
}

fn did_you_mean(nearest: &Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; `micrun config` lists all keys".to_owned(),
    }
}
