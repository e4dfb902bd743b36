//! Names that come from the engine and end up in paths.

use std::fmt;

use micrun_image_spec::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

/// A containerd namespace or container id: what containerd's own `identifiers` package accepts
/// (letters, digits and single `.`, `_`, `-` between them, 76 bytes at most), so it is safe in a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

/// Longest id, in bytes (containerd `identifiers.maxLength`).
pub const MAX_ID: usize = 76;

/// Why a string is not an [`Id`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a valid id: 1 to {MAX_ID} letters, digits, and '.', '_', '-' between them")]
pub struct InvalidId(String);

impl Id {
    /// Checks and takes a name.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] where containerd itself would refuse the name.
    pub fn new(text: impl Into<String>) -> Result<Id, InvalidId> {
        let text = text.into();
        let words = || text.split(['.', '_', '-']);
        let valid = text.len() <= MAX_ID
            && words().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric()));
        if valid { Ok(Id(text)) } else { Err(InvalidId(text)) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Id {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Id, InvalidId> {
        Id::new(text)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.0
    }
}

/// What names a container on a node: ids are unique within a containerd namespace only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The containerd namespace.
    pub namespace: Id,
    /// The container id.
    pub id: Id,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.id)
    }
}

/// What a guest is called beneath us, where container ids will not do: they have up to 76 bytes, are unique within
/// one containerd namespace only, and can be all digits, which `xl` takes for a domain id. The first 12 bytes of the
/// id, a dash, and 16 hexadecimal digits of sha256(namespace/id): 29 bytes at most, the same for the same container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GuestName(String);

/// How much of the id is kept for people to recognise, bytes. Ids are ASCII.
const RECOGNISABLE: usize = 12;

impl GuestName {
    /// The name of a container's guest.
    pub fn of(key: &Key) -> GuestName {
        let hex = Sha256Digest::of(key.to_string().as_bytes()).hex();
        let id = key.id.as_str();
        GuestName(format!("{}-{}", &id[..id.len().min(RECOGNISABLE)], &hex[..16]))
    }

    /// Whether a name looks like one of these. Others may choose such names, too.
    pub fn resembles(text: &str) -> bool {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.rsplit_once('-').is_some_and(|(id, digits)| {
            (1..=RECOGNISABLE).contains(&id.len()) && digits.len() == 16 && digits.bytes().all(is_digit)
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{GuestName, Id, Key};

    fn name(namespace: &str, id: &str) -> String {
        let key = Key { namespace: Id::new(namespace).unwrap(), id: Id::new(id).unwrap() };
        GuestName::of(&key).to_string()
    }

    #[test]
    fn a_guest_has_a_short_name_of_its_own_in_each_namespace() {
        assert_eq!(name("default", "0"), "0-44fc86fea88966b1");
        let long = "x".repeat(76);
        assert_eq!(name("default", &long).len(), 29);
        assert!(name("default", &long).starts_with("xxxxxxxxxxxx-"));
        assert_ne!(name("default", "web"), name("k8s.io", "web"));
        assert_ne!(name("a", "b"), name("default", "b"));
    }

    #[test]
    fn such_names_are_recognised() {
        assert!(GuestName::resembles(&name("default", "a-b")) && GuestName::resembles(&name("k8s.io", "0")));
        for other in
            ["Domain-0", "zephyr", "-44fc86fea88966b1", "0-44fc86fea88966bX", "0-44fc86fea88966b11", ""]
        {
            assert!(!GuestName::resembles(other), "{other}");
        }
    }

    #[test]
    fn takes_what_containerd_takes() {
        for good in ["a", "0", "default", "k8s.io", "a-b_c.d", &"x".repeat(76)] {
            assert!(Id::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn refuses_what_could_leave_the_state_directory() {
        for bad in ["", ".", "..", "a/b", "../x", "a..b", "-a", "a-", "a\0", "ä", &"x".repeat(77)] {
            assert!(Id::new(bad).is_err(), "{bad}");
        }
    }
}
