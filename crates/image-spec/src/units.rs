//! Sizes: bytes as people write them in board files, and whole MiB.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use crate::text::excerpt;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a number with an optional suffix.
    #[error("`{0}` is no size: write bytes (4096, 0x1000) or use a suffix K, M or G (128M)")]
    NotASize(String),
    /// Larger than 64 bits hold.
    #[error("`{0}` is larger than 64 bits can hold")]
    TooLarge(String),
    /// A size in bytes that is no whole number of MiB, or more of them than 32 bits hold.
    #[error("{0} bytes is no whole number of MiB: use the suffix M (128M)")]
    NotWholeMib(u64),
}

/// A number of bytes, written `4096`, `0x1000`, `64K`, `128M` or `2G` (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not_a_size = || SizeError::NotASize(excerpt(text));
        let too_large = || SizeError::TooLarge(excerpt(text));
        if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(not_a_size());
            }
            return u64::from_str_radix(hex, 16).map(ByteSize).map_err(|_| too_large());
        }
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'K' | b'k') => (&text[..text.len() - 1], KIB),
            Some(b'M' | b'm') => (&text[..text.len() - 1], MIB),
            Some(b'G' | b'g') => (&text[..text.len() - 1], GIB),
            _ => (text, 1),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(not_a_size());
        }
        let count: u64 = digits.parse().map_err(|_| too_large())?;
        count.checked_mul(unit).map(ByteSize).ok_or_else(too_large)
    }
}

impl fmt::Display for ByteSize {
    /// Writes the largest unit that leaves no remainder, so that reading it back gives the same size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, suffix) = match self.0 {
            0 => (0, ""),
            n if n.is_multiple_of(GIB) => (n / GIB, "G"),
            n if n.is_multiple_of(MIB) => (n / MIB, "M"),
            n if n.is_multiple_of(KIB) => (n / KIB, "K"),
            n => (n, ""),
        };
        f.pad(&format!("{count}{suffix}"))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    /// From a number (YAML reads `0x1000` as one) or from a string with a suffix.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 0x1000, 64K or 128M")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

/// Reads `30s`, `5m`, or a number of seconds.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    // The i32 of every other number that images hold: nobody waits longer.
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number =
        number.parse::<u32>().ok().filter(|number| is_number && *number <= i32::MAX.unsigned_abs())?;
    Some(Duration::from_secs(u64::from(number) * unit))
}

/// A number of MiB, the unit of all guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mib(pub u32);

impl Mib {
    /// In bytes. Cannot overflow: 32 bits of MiB are at most 52 bits of bytes.
    pub const fn bytes(self) -> u64 {
        self.0 as u64 * MIB
    }

    /// The smallest number of MiB that holds so many bytes; None above 4 EiB.
    pub fn holding(bytes: u64) -> Option<Mib> {
        u32::try_from(bytes.div_ceil(MIB)).ok().map(Mib)
    }
}

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

impl TryFrom<ByteSize> for Mib {
    type Error = SizeError;

    fn try_from(size: ByteSize) -> Result<Self, Self::Error> {
        match u32::try_from(size.0 / MIB) {
            Ok(count) if size.0.is_multiple_of(MIB) => Ok(Mib(count)),
            _ => Err(SizeError::NotWholeMib(size.0)),
        }
    }
}

impl Serialize for Mib {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ByteSize(self.bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mib {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ByteSize::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("0x8000000", 128 * MIB),
            ("64K", 65536),
            ("128m", 128 * MIB),
            ("2G", 2 * GIB),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "M", "0x", "0xM", "-1", "+1", "1.5G", "1 M", "1T", "é", "12é"] {
            assert!(matches!(text.parse::<ByteSize>(), Err(SizeError::NotASize(_))), "{text}");
        }
        for text in ["18446744073709551616", "0x10000000000000000", "17179869184G"] {
            assert!(matches!(text.parse::<ByteSize>(), Err(SizeError::TooLarge(_))), "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_or_minutes() {
        for (text, seconds) in [("0", 0), ("60", 60), ("30s", 30), ("5m", 300)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "-1", "+1", "5 m", "1h", "1.5s", "4294967295"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn mib_are_whole() {
        assert_eq!(Mib::try_from(ByteSize(64 * MIB)), Ok(Mib(64)));
        assert_eq!(Mib::try_from(ByteSize(64)), Err(SizeError::NotWholeMib(64)));
        assert_eq!(Mib::holding(1), Some(Mib(1)));
        assert_eq!(Mib::holding(MIB + 1), Some(Mib(2)));
    }
}
