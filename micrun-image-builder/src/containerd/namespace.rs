//! containerd keeps the images of its clients apart by namespaces.

use std::fmt;
use std::str::FromStr;

use micrun_image_spec::text::excerpt;

/// The name of a namespace: up to 76 letters and digits, with single `.`, `_` or `-` between them (containerd,
/// pkg/identifiers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(String);

/// A text that names no namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no namespace of containerd: up to {max} letters and digits, with single `.`, `_` or `-` between them; ctr \
     uses default, Kubernetes k8s.io",
    max = Namespace::MAX
)]
pub struct BadNamespace(String);

impl Namespace {
    const MAX: usize = 76;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Namespace("default".to_owned())
    }
}

impl FromStr for Namespace {
    type Err = BadNamespace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = text.split(['.', '_', '-']);
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
        if text.len() <= Self::MAX && words.into_iter().all(is_word) {
            return Ok(Namespace(text.to_owned()));
        }
        Err(BadNamespace(excerpt(text)))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_containerd_takes() {
        for good in ["default", "k8s.io", "a", "moby", "my-team_1.x", &"a".repeat(76)] {
            assert_eq!(good.parse::<Namespace>().map(|n| n.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", ".", "a..b", "-a", "a-", "a/b", "ä", "a b", &"a".repeat(77)] {
            assert!(bad.parse::<Namespace>().is_err(), "{bad}");
        }
    }
}
