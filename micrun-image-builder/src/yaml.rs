//! Reads YAML that may come from anywhere, in linear time and memory.
//!
//! Two things in YAML are not linear by themselves. Of brackets within brackets only so many may be open. And a large
//! value can be repeated by a short alias: here every text and every list has a limit, which is checked before anything
//! is copied.

use std::fmt;
use std::marker::PhantomData;

use micrun_image_spec::yaml::{MAX_OPEN_BRACKETS, too_many_brackets};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest message of the parser that is shown; it may quote the text.
const MAX_REASON: usize = 600;

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// The line, counted from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for YamlError {
    /// As it goes behind the name of the file: `:3: unknown field ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.iter().try_for_each(|line| write!(f, ":{line}"))?;
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for YamlError {}

/// Reads one document.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    if let Some(line) = too_many_brackets(text) {
        let reason = format!("more than {MAX_OPEN_BRACKETS} brackets are open");
        return Err(YamlError { line: Some(line), reason });
    }
    serde_yaml::from_str(text).map_err(|error| {
        let text = error.to_string();
        let (line, reason) = match error.location() {
            Some(place) => {
                let end = format!(" at line {} column {}", place.line(), place.column());
                (Some(place.line()), text.strip_suffix(&end).unwrap_or(&text))
            }
            None => (None, text.as_str()),
        };
        YamlError { line, reason: reason.chars().take(MAX_REASON).collect() }
    })
}

/// A text of at most `MAX` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<const MAX: usize>(pub(crate) String);

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for Bounded<MAX> {
            type Value = Text<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a text of at most {MAX} bytes")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text.len() {
                    length if length > MAX => {
                        Err(E::custom(format_args!("a text of {length} bytes: at most {MAX} are read")))
                    }
                    _ => Ok(Text(text.to_owned())),
                }
            }
        }
        deserializer.deserialize_str(Bounded)
    }
}

/// A list of at most `MAX` items.
#[derive(Debug, Clone)]
pub(crate) struct List<T, const MAX: usize>(pub(crate) Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    if list.len() == MAX {
                        return Err(A::Error::custom(format_args!("a list of more than {MAX} items")));
                    }
                    list.push(item);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_seq(Bounded(PhantomData))
    }
}
