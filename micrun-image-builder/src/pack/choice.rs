//! A value and how it was come by, so that the user can see what was assumed and change it.

use std::fmt;

use serde::Serialize;

/// How a value was come by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "how", content = "because", rename_all = "lowercase")]
pub enum Source {
    /// The user gave it.
    Given,
    /// The file says so.
    Found(String),
    /// Nobody said so; it is the usual thing.
    Assumed(String),
}

/// A value that stands in the image.
#[derive(Debug, Clone, Serialize)]
pub struct Choice<T> {
    /// The value; None where there is none.
    pub value: Option<T>,
    /// How it was come by.
    #[serde(flatten)]
    pub source: Source,
    /// The option that changes it.
    pub option: &'static str,
}

impl<T> Choice<T> {
    pub(super) fn given(value: T, option: &'static str) -> Self {
        Choice { value: Some(value), source: Source::Given, option }
    }

    pub(super) fn found(value: T, because: String, option: &'static str) -> Self {
        Choice { value: Some(value), source: Source::Found(because), option }
    }

    pub(super) fn assumed(value: Option<T>, because: impl Into<String>, option: &'static str) -> Self {
        Choice { value, source: Source::Assumed(because.into()), option }
    }
}

impl<T> fmt::Display for Choice<T> {
    /// The source, for people: the value itself is shown by the caller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Given => write!(f, "given with {}", self.option),
            Source::Found(because) => write!(f, "found: {because}"),
            Source::Assumed(because) if self.value.is_some() => {
                write!(f, "assumed: {because}; {} changes it", self.option)
            }
            Source::Assumed(because) => write!(f, "{because}; {} sets it", self.option),
        }
    }
}
