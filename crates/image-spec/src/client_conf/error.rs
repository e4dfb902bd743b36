//! What can be wrong with a client.conf.

use std::fmt;

/// A client.conf that cannot be used, or a value that cannot be put into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("client.conf{}: {problem}", At(*line))]
pub struct ClientConfError {
    /// The line, counted from 1; None where the problem has no line (a value set by a program, a contradiction
    /// between two keys).
    pub line: Option<usize>,
    /// What is wrong, and what to write instead.
    pub problem: Problem,
}

struct At(Option<usize>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, " line {line}"))
    }
}

/// The kinds of problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is larger than any real one.
    #[error("the file has {length} bytes, at most {max} are read: leave out what no one reads")]
    FileTooLarge {
        /// Bytes in the file.
        length: usize,
        /// Bytes that are accepted.
        max: usize,
    },
    /// The file is not text.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// There is no `[Mica]` section.
    #[error("there is no section [Mica]: micad reads nothing else")]
    NoMicaSection,
    /// A section that nobody reads.
    #[error("section [{0}] is unknown: write [Mica] for micad's keys or [MicRun] for ours, in this spelling")]
    UnknownSection(String),
    /// The same section twice; micad's reader refuses the file.
    #[error("section [{0}] appears twice: put its keys together")]
    DuplicateSection(String),
    /// The same key twice; micad's reader refuses the file.
    #[error("key {0} appears twice: remove one")]
    DuplicateKey(String),
    /// A key before the first section.
    #[error("there is a key before the first section: begin the file with [Mica]")]
    KeyOutsideSection,
    /// Neither a section, nor a key, nor a comment.
    #[error("`{0}` is no key: write Key=Value, [Section] or # comment")]
    NotAKey(String),
    /// A line that begins with a blank; micad's reader joins it to the line before.
    #[error("the line begins with a blank, so micad would join it to the line before: remove the blank")]
    Continuation,
    /// A character that means something else to micad's reader.
    #[error(
        "{key} contains {character:?}, which micad's reader misunderstands: use printable ASCII without % and quotes"
    )]
    RefusedCharacter {
        /// The key whose value it is.
        key: String,
        /// The character.
        character: char,
    },
    /// A value that does not fit its field of micad's create message.
    #[error("{key} has {length} bytes, micad takes at most {max}")]
    TooLong {
        /// The key.
        key: String,
        /// Bytes given.
        length: usize,
        /// Bytes that fit.
        max: usize,
    },
    /// A value of the wrong kind.
    #[error("{key} is `{value}`: write {wanted}")]
    BadValue {
        /// The key.
        key: String,
        /// The value given, shortened.
        value: String,
        /// What it has to be.
        wanted: String,
    },
    /// A maximum below what it limits.
    #[error("{maximum_key} is {maximum}, below {key} which is {value}: raise the one or lower the other")]
    MaximumBelow {
        /// The key that sets the maximum.
        maximum_key: String,
        /// The maximum.
        maximum: u32,
        /// The key that is limited.
        key: String,
        /// Its value.
        value: u32,
    },
}
