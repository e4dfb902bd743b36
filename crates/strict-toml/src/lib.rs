//! TOML that people write by hand, read without mercy and without serde: every mistake has a line, a column and a
//! remedy. `micrun.conf` and the declarations of guests are read with it; docs/decisions/0009-toml.md says why.
//!
//! - [`Text`]: a file's text, for places in it.
//! - [`Value`]: from TOML to what a key takes.
//! - [`FileError`]: what is wrong with a file, and where in it.
//! - [`distance`]: for "did you mean".

mod error;
mod value;

use micrun_image_spec::text::excerpt;
use toml::Spanned;
pub use toml::de::{DeTable, DeValue};

pub use error::FileError;
pub use value::{Unfit, Value};

/// A text that should be TOML.
#[derive(Clone, Copy)]
pub struct Text<'a>(pub &'a str);

/// What is not TOML.
#[derive(Debug)]
pub struct Syntax {
    /// Line and column.
    pub at: (usize, usize),
    /// What is wrong there, in one line.
    pub problem: String,
}

impl<'a> Text<'a> {
    /// Reads it as TOML.
    ///
    /// # Errors
    ///
    /// The first place that is none.
    pub fn parse(self) -> Result<Spanned<DeTable<'a>>, Syntax> {
        DeTable::parse(self.0).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            // Some of its messages have several lines.
            let words: Vec<&str> = error.message().split_whitespace().collect();
            Syntax { at: self.position(start), problem: excerpt(&words.join(" ")) }
        })
    }

    /// Line and column (in characters) of a byte, from 1 on.
    pub fn position(self, at: usize) -> (usize, usize) {
        let before = self.0.as_bytes().get(..at).unwrap_or(self.0.as_bytes());
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        (before.iter().filter(|byte| **byte == b'\n').count() + 1, column)
    }
}

/// The name among these that was probably meant: about a third of it is wrong at most.
pub fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let near = names.into_iter().map(|known| (distance(known, name), known)).min()?;
    (near.0 * 3 <= near.1.len() + 1).then_some(near.1)
}

/// How many letters have to be changed, added or left out (Levenshtein). Of what is longer than any key only the
/// beginning counts.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("imgae", ["image", "health"]), Some("image"));
        assert_eq!(nearest("colour", ["image", "health"]), None);
    }

    #[test]
    fn a_place_is_told_in_characters() {
        let text = Text("a = 1\n\u{e4} = = 2\n");
        assert_eq!(text.position(6), (2, 1));
        assert_eq!(text.position(9), (2, 3));
        assert_eq!(text.parse().unwrap_err().at.0, 2);
    }
}
