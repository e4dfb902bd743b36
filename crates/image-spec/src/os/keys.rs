//! Keys that are typed at a console.

use std::fmt;
use std::str::FromStr;

use crate::text::{excerpt, serde_as_string};

/// A few bytes to type: ASCII, control characters too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(String);

/// Text that cannot be typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` are no keys to type: write 1 to {max} ASCII characters, such as \"\\r\" or \"\\x03\"", max = Keys::MAX_LEN)]
pub struct KeysError(String);

impl Keys {
    /// Most keys, bytes.
    pub const MAX_LEN: usize = 16;

    /// What a terminal would send.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Keys {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = (1..=Keys::MAX_LEN).contains(&text.len()) && text.is_ascii();
        if good { Ok(Keys(text.to_owned())) } else { Err(KeysError(excerpt(text))) }
    }
}

serde_as_string!(Keys);
