//! The node's platform: where the shim runs, which is not what the guest's core is.

use std::fmt;
use std::str::FromStr;

use micrun_image_spec::firmware::{Arch, Pedestal};
use micrun_image_spec::text::excerpt;

/// An OCI platform, `linux/arm64` or `linux/arm/v7`. The system is always Linux.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    architecture: String,
    variant: Option<String>,
}

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no platform of a node: write linux/ and {list}; linux/arm/v7 has a variant", list = ARCHITECTURES.join(", "))]
pub struct BadPlatform(String);

/// The architectures on which Linux runs, by Go's names (the list of the image specification refers to them).
const ARCHITECTURES: [&str; 13] = [
    "amd64", "arm64", "riscv64", "arm", "386", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "s390x",
];

impl Platform {
    /// The platform of the machine that this program was built for.
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "loongarch64" => "loong64",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Platform { architecture: architecture.to_owned(), variant: None }
    }

    /// The platform of the nodes that can run a guest of this architecture on a pedestal with real cores. A
    /// pedestal that lends cores of the node has the guest's own; a co-processor's node is usually an arm64.
    pub fn for_cores(arch: Arch, pedestal: Pedestal) -> Self {
        let of_the_node = match pedestal {
            Pedestal::Hetero | Pedestal::Remoteproc => Arch::Aarch64,
            _ if arch == Arch::Arm => Arch::Aarch64,
            _ => arch,
        };
        Platform { architecture: of_the_node.oci_name().to_owned(), variant: None }
    }

    /// Go's name for the architecture.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant, `v7`.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = BadPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |part: &str| {
            let plain = part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            (plain && (1..=16).contains(&part.len())).then(|| part.to_owned())
        };
        let parse = || {
            let (architecture, variant) = match *text.split('/').collect::<Vec<_>>().as_slice() {
                ["linux", architecture] => (word(architecture)?, None),
                ["linux", architecture, variant] => (word(architecture)?, Some(word(variant)?)),
                _ => return None,
            };
            ARCHITECTURES.contains(&architecture.as_str()).then_some(Platform { architecture, variant })
        };
        parse().ok_or_else(|| BadPlatform(excerpt(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_linux_on_something() {
        for text in ["linux/arm64", "linux/arm/v7", "linux/riscv64"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "arm64",
            "linux",
            "linux/",
            "windows/amd64",
            "linux/ARM",
            "linux/arm/v7/x",
            "linux/a b",
            "linux/arm46",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
