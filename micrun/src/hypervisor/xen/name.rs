//! What a domain is called: by us, and by Xen.
//!
//! `xl` takes a name of digits alone for a number: `xl destroy 0` is not about a domain *called* 0. And a
//! number can have a new owner by the time it is used. So names here are never all digits, and a number is
//! used only after the uuid of its domain was compared; see [`Xen`](super::Xen).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a domain that MicRun may touch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

/// Why a text is no [`DomainName`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} cannot be the name of a Xen domain: 1 to 65 letters, digits, '.', '_', '-', not all digits")]
pub struct InvalidName(String);

impl DomainName {
    /// Longest name, bytes: what micad's create message holds.
    pub const MAX: usize = 65;

    /// Checks and takes a name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for what `xl` would take for something else, or print so that it cannot be read back.
    pub fn new(text: impl Into<String>) -> Result<DomainName, InvalidName> {
        let text = text.into();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let valid = (1..=DomainName::MAX).contains(&text.len())
            && text.bytes().all(plain)
            && !text.bytes().all(|b| b.is_ascii_digit())
            && !text.starts_with('-')
            && text != "Domain-0";
        if valid { Ok(DomainName(text)) } else { Err(InvalidName(text)) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for DomainName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<DomainName, InvalidName> {
        DomainName::new(text)
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> String {
        name.0
    }
}

/// A domain's uuid, which no other domain has or will have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uuid([u8; 16]);

/// Why a text is no [`Uuid`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no uuid")]
pub struct InvalidUuid(String);

impl Uuid {
    /// A random one, made by the kernel (random(4)).
    ///
    /// # Errors
    ///
    /// Only where /proc is not mounted.
    pub fn random() -> std::io::Result<Uuid> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        text.trim_end().parse().map_err(std::io::Error::other)
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    /// Reads the form of RFC 9562, 8-4-4-4-12 hex digits, and no other.
    fn from_str(text: &str) -> Result<Uuid, InvalidUuid> {
        let invalid = || InvalidUuid(text.chars().take(64).collect());
        let groups: Vec<&str> = text.split('-').collect();
        if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) {
            return Err(invalid());
        }
        let digits = groups.concat();
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        u128::from_str_radix(&digits, 16).map(|number| Uuid(number.to_be_bytes())).map_err(|_| invalid())
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if [4, 6, 8, 10].contains(&at) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Uuid {
    type Error = InvalidUuid;

    fn try_from(text: String) -> Result<Uuid, InvalidUuid> {
        text.parse()
    }
}

impl From<Uuid> for String {
    fn from(uuid: Uuid) -> String {
        uuid.to_string()
    }
}

/// A domain as it is kept on disk: enough to find it again, whoever created it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRef {
    /// For people and messages.
    pub name: DomainName,
    /// What decides whether a domain is this one.
    pub uuid: Uuid,
}

impl fmt::Display for DomainRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.uuid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_nothing_that_xl_reads_as_something_else() {
        for good in ["z1-0123456789abcdef", "0-0123456789abcdef", "a", "1a", "k8s.io_x"] {
            assert!(DomainName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(66);
        for bad in ["", "0", "77", "Domain-0", "-q", "a b", "a\n", "a\"b", "(null)", "a/b", "ä", &long] {
            assert!(DomainName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn random_uuids_differ() {
        assert_ne!(Uuid::random().unwrap(), Uuid::random().unwrap());
    }

    proptest! {
        #[test]
        fn a_uuid_is_read_back(bytes in any::<[u8; 16]>()) {
            let uuid = Uuid(bytes);
            prop_assert_eq!(uuid.to_string().parse::<Uuid>().unwrap(), uuid);
        }

        #[test]
        fn no_text_brings_the_reader_down(text in ".{0,60}") {
            let _ = text.parse::<Uuid>();
            let _ = DomainName::new(text);
        }
    }
}
