//! What can be wrong with a declaration: which file, where in it, and what to write instead.

use std::io;

use micrun_strict_toml::FileError;

/// A declaration that cannot be used.
pub type DeclarationError = FileError<Problem>;

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
    /// No text.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// A file's name is the guest's.
    #[error(
        "`{name}` cannot be a guest's name: name the file with letters and digits, and single `.`, `_` or `-` between them, 60 in all"
    )]
    Name {
        /// The file's name, shortened.
        name: String,
    },
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
        name: String,
        /// What is there, shortened.
        found: String,
        /// What it takes.
        wanted: String,
    },
    /// An annotation that nobody reads.
    #[error("nobody reads the annotation `{0}`; docs/run.md and docs/configuration.md list those that are")]
    Annotation(String),
    /// An annotation with a value that it cannot have.
    #[error("`{name}`: {why}")]
    BadAnnotation {
        /// The key's full name, shortened.
        name: String,
        /// What is wrong with it, and what to write.
        why: String,
    },
    /// A key that has to be there.
    #[error("there is no `image`: write {wanted}")]
    NoImage {
        /// What it takes.
        wanted: &'static str,
    },
    /// Keys that exclude one another.
    #[error("`health.console` and `health.exec` are both there: keep the one that says more")]
    TwoHealths,
    /// Nobody could read what the guest prints.
    #[error("`health.console` needs a log that can be read: write `log = \"file\"`, or file:// and a path")]
    NoLog,
}

fn did_you_mean(nearest: &Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; docs/guests.md lists all keys".to_owned(),
    }
}
