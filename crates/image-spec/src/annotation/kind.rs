//! What the values of annotations look like, so that a wrong one is found when an image is made, not when it is run.

use super::*;
use crate::board::BoardName;
use crate::digest::Sha256Digest;
use crate::firmware::{Pedestal, Rtos};
use crate::rootfs_path::RootfsPath;
use crate::text::{excerpt, parse_bool};
use crate::units::{ByteSize, duration};

/// What the value of an annotation has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// yes or no, in any of configparser's spellings.
    Bool,
    /// A number from 1 on.
    Number,
    /// MiB, from 1 on.
    Mib,
    /// A number of bytes.
    Bytes,
    /// Seconds, or with a suffix s or m; 0 for never.
    Duration,
    /// A digest of the algorithm sha256.
    Digest,
    /// A path inside the rootfs.
    Path,
    /// The same, or nothing.
    OptionalPath,
    /// A pedestal.
    Pedestal,
    /// An RTOS.
    Rtos,
    /// A board's name.
    Board,
    /// The word [`POD_NETWORK`].
    Network,
    /// Any text but none.
    Text,
}

/// A value of the wrong kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is {}", kind.problem())]
pub struct BadValue {
    value: String,
    kind: Kind,
}

impl Kind {
    /// The kind of an annotation, by its name without the prefix. None for a name that nobody reads.
    pub fn of(name: &str) -> Option<Kind> {
        Some(match name {
            CONTAINER_OS => Kind::Rtos,
            CONTAINER_FIRMWARE_PATH => Kind::Path,
            CONTAINER_FIRMWARE_HASH => Kind::Digest,
            CONTAINER_MIN_MEMORY_MB => Kind::Mib,
            CONTAINER_NETWORK => Kind::Network,
            CONTAINER_MAX_VCPU_NUM => Kind::Number,
            CONTAINER_AUTO_CLOSE
            | CONTAINER_VERIFY_ONLY
            | RUNTIME_VCPU_PCPU_BINDING
            | RUNTIME_ENABLE_VCPUS_PINNING
            | RUNTIME_STATIC_RESOURCE
            | RUNTIME_HUGEPAGE_ENABLE
            | RUNTIME_EXCLUSIVE_DOM0_CPU
            | RUNTIME_DISABLE_NEW_NETNS
            | RUNTIME_DEBUG => Kind::Bool,
            CONTAINER_AUTO_CLOSE_TIMEOUT => Kind::Duration,
            RUNTIME_PIPE_SIZE => Kind::Bytes,
            PED_PEDESTAL => Kind::Pedestal,
            PED_CONF => Kind::OptionalPath,
            BOARD => Kind::Board,
            CONFIG_PATH => Kind::Text,
            _ => {
                return name
                    .strip_prefix(COMPATIBILITY_PREFIX)
                    .filter(|rest| !rest.is_empty())
                    .map(|_| Kind::Text);
            }
        })
    }

    /// Checks a value.
    ///
    /// # Errors
    /// If it is not of this kind; the sentence says what to write instead.
    pub fn check(self, value: &str) -> Result<(), BadValue> {
        let good = match self {
            Kind::Bool => parse_bool(value).is_some(),
            Kind::Number | Kind::Mib => is_number(value) && value.bytes().any(|digit| digit != b'0'),
            Kind::Bytes => value.parse::<ByteSize>().is_ok(),
            Kind::Duration => duration(value).is_some(),
            Kind::Digest => value.parse::<Sha256Digest>().is_ok(),
            Kind::Path => value.parse::<RootfsPath>().is_ok(),
            Kind::OptionalPath => value.is_empty() || value.parse::<RootfsPath>().is_ok(),
            Kind::Pedestal => value.parse::<Pedestal>().is_ok(),
            Kind::Rtos => value.parse::<Rtos>().is_ok(),
            Kind::Board => value.parse::<BoardName>().is_ok(),
            Kind::Network => value == POD_NETWORK,
            Kind::Text => !value.is_empty(),
        };
        if good { Ok(()) } else { Err(BadValue { value: excerpt(value), kind: self }) }
    }

    const fn problem(self) -> &'static str {
        match self {
            Kind::Bool => "neither yes nor no: write one of these (or true, false, on, off, 1, 0)",
            Kind::Number => "no number from 1 to 2147483647",
            Kind::Mib => "no number of MiB from 1 to 2147483647: leave the unit out",
            Kind::Bytes => "no number of bytes: write 65536 or 64K",
            Kind::Duration => "no duration: write 30s, 5m, 60 (seconds) or 0 (never)",
            Kind::Digest => "no digest: write sha256: and 64 hex digits",
            Kind::Path | Kind::OptionalPath => "no path inside the image: write /firmware.elf, without ..",
            Kind::Pedestal => "no pedestal: write qemu, xen, baremetal, jailhouse, hetero or remoteproc",
            Kind::Rtos => "no name of an RTOS: write a lower-case word such as zephyr",
            Kind::Board => "no name of a board: write letters, digits, _, -, . and /",
            Kind::Network => "no network of a guest: write pod",
            Kind::Text => "empty: leave the annotation out or give it a value",
        }
    }
}

/// True for decimal digits whose value fits the i32 of micad's messages.
fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<i32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_kind_of_its_name() {
        let check = |name: &str, value: &str| Kind::of(name).unwrap().check(value);
        for (name, good, bad) in [
            (CONTAINER_AUTO_CLOSE, "On", "maybe"),
            (CONTAINER_AUTO_CLOSE_TIMEOUT, "5m", "5 minutes"),
            (CONTAINER_AUTO_CLOSE_TIMEOUT, "0", "-1"),
            (CONTAINER_MIN_MEMORY_MB, "64", "64M"),
            (CONTAINER_MAX_VCPU_NUM, "4", "0"),
            (CONTAINER_FIRMWARE_PATH, "/a.elf", "/../a.elf"),
            (CONTAINER_NETWORK, "pod", "host"),
            (CONTAINER_OS, "zephyr", "Zephyr OS"),
            (PED_PEDESTAL, "qemu", "kvm"),
            (PED_CONF, "", ".."),
            (BOARD, "qemu_x86/atom", "my board"),
            (RUNTIME_DEBUG, "1", ""),
            (RUNTIME_PIPE_SIZE, "64K", "many"),
            ("compatibility.libmetal", "1.2", ""),
            (CONFIG_PATH, "/etc/mica/micrun/other.conf", ""),
        ] {
            assert_eq!(check(name, good), Ok(()), "{name}={good}");
            let error = check(name, bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{bad}` is ")), "{error}");
        }
        assert!(check(CONTAINER_FIRMWARE_HASH, "sha256:00").is_err());
        for name in ["bord", "container", "compatibility.", "Board"] {
            assert_eq!(Kind::of(name), None, "{name}");
        }
    }
}
