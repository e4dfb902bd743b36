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
    /// There is no value, for this reason.
    Unknown(String),
}

/// A value that stands in the image. Where an image can do without, `T` is an Option.
#[derive(Debug, Clone, Serialize)]
pub struct Choice<T> {
    /// The value.
    pub value: T,
    /// How it was come by.
    #[serde(flatten)]
    pub source: Source,
    /// The option that changes it.
    pub option: &'static str,
}

impl<T> Choice<T> {
    pub(super) fn given(value: T, option: &'static str) -> Self {
        Choice { value, source: Source::Given, option }
    }

    pub(super) fn found(value: T, because: impl Into<String>, option: &'static str) -> Self {
        Choice { value, source: Source::Found(because.into()), option }
    }

    pub(super) fn assumed(value: T, because: impl Into<String>, option: &'static str) -> Self {
        Choice { value, source: Source::Assumed(because.into()), option }
    }

    /// The same choice with another form of its value.
    pub fn map<U>(&self, form: impl FnOnce(&T) -> U) -> Choice<U> {
        Choice { value: form(&self.value), source: self.source.clone(), option: self.option }
    }
}

impl<T> Choice<Option<T>> {
    pub(super) fn unknown(because: impl Into<String>, option: &'static str) -> Self {
        Choice { value: None, source: Source::Unknown(because.into()), option }
    }
}

impl<T> fmt::Display for Choice<T> {
    /// The source, for people: the value itself is shown by the caller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = self.option;
        match &self.source {
            Source::Given => write!(f, "given with {option}"),
            Source::Found(because) => write!(f, "found: {because}"),
            Source::Assumed(because) => write!(f, "assumed: {because}; {option} changes it"),
            Source::Unknown(because) => write!(f, "{because}; {option} sets it"),
        }
    }
}
