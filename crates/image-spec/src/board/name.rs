//! The name of a board.

use std::fmt;
use std::str::FromStr;

use crate::text::{excerpt, serde_as_string};

/// A board's name: letters, digits, `_`, `-`, `.`, `@` and `/` (Zephyr writes `board@revision/soc`), at most 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoardName(String);

/// Text that cannot name a board.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot name a board: use at most 64 letters, digits, `_`, `-`, `.`, `@` and `/`, a letter or digit first and last"
)]
pub struct BoardNameError(String);

impl BoardName {
    const MAX_LEN: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BoardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for BoardName {
    type Err = BoardNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alphanumeric = |c: char| c.is_ascii_alphanumeric();
        let good = text.len() <= Self::MAX_LEN
            && text.starts_with(alphanumeric)
            && text.ends_with(alphanumeric)
            && text.chars().all(|c| alphanumeric(c) || "_-.@/".contains(c));
        if good { Ok(BoardName(text.to_owned())) } else { Err(BoardNameError(excerpt(text))) }
    }
}

serde_as_string!(BoardName);
