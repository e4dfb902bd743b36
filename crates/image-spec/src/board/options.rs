//! The part of QEMU's command line that a board profile may write.
//!
//! This is an allow list. Whatever could open a host file, a socket, a character device or the network, or change
//! how QEMU is confined, is not on it; the shim alone decides about those.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::{excerpt, serde_as_string};

/// The properties of `-machine` that a profile may set: features of the board itself.
const MACHINE_PROPERTIES: [&str; 15] = [
    "acpi",
    "aclint",
    "aia",
    "gic-version",
    "graphics",
    "highmem",
    "hpet",
    "i8042",
    "its",
    "mte",
    "ras",
    "secure",
    "smm",
    "usb",
    "virtualization",
];

/// The devices that a profile may plug in. None of them reaches out of the guest.
const DEVICES: [&str; 5] =
    ["isa-debug-exit", "pvpanic", "pvpanic-pci", "virtio-rng-device", "virtio-rng-pci"];

/// Lets a guest open files of the host, by instructions that only debuggers know.
const SEMIHOSTING: &str = "semihosting";

/// Why an option is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Empty, or with a character that no machine name or property needs.
    #[error("`{0}` is no QEMU machine, CPU or property list: use letters, digits and `_.-+=,`")]
    Characters(String),
    /// A machine property that is not on the list.
    #[error("the machine property `{0}` is not allowed in a board profile: {allowed} are", allowed = MACHINE_PROPERTIES.join(", "))]
    Property(String),
    /// An option that is not on the list.
    #[error(
        "the QEMU option `{0}` is not allowed in a board profile: only -bios none, -device, -icount and -semihosting are"
    )]
    Option(String),
    /// An option without its value.
    #[error("the QEMU option `{0}` needs a value: write it as the next item of args")]
    MissingValue(String),
    /// A value that is not on the list.
    #[error("`{option} {value}` is not allowed in a board profile: {allowed}")]
    Value {
        /// The option.
        option: String,
        /// Its value, shortened.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}

/// The value of `-machine`: a machine and properties, `virt,gic-version=3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine(String);

impl Machine {
    /// As it stands on the command line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Machine {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_model(text)?;
        for property in text.split(',').skip(1) {
            let name = property.split('=').next().unwrap_or(property);
            if !MACHINE_PROPERTIES.contains(&name) {
                return Err(OptionError::Property(excerpt(name)));
            }
        }
        Ok(Machine(text.to_owned()))
    }
}

serde_as_string!(Machine);

/// The value of `-cpu`: a model and features, `qemu32,+nx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu(String);

impl Cpu {
    /// As it stands on the command line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Cpu {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_model(text)?;
        Ok(Cpu(text.to_owned()))
    }
}

serde_as_string!(Cpu);

/// A machine or CPU model begins with a letter or digit, so that it can be no option.
fn check_model(text: &str) -> Result<(), OptionError> {
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !is_plain(text) {
        return Err(OptionError::Characters(excerpt(text)));
    }
    Ok(())
}

/// Further arguments of QEMU, each of them on the allow list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct ExtraArgs(Vec<String>);

impl ExtraArgs {
    /// The arguments, in order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// True if the guest can reach for files of the host. The node's policy decides whether it may.
    pub fn has_semihosting(&self) -> bool {
        self.0.iter().any(|arg| arg.trim_start_matches('-') == SEMIHOSTING)
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<String>> for ExtraArgs {
    type Error = OptionError;

    fn try_from(args: Vec<String>) -> Result<Self, OptionError> {
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            // QEMU takes two dashes for one.
            let name = match option.strip_prefix("--") {
                Some(name) => format!("-{name}"),
                None => option.clone(),
            };
            let allowed: fn(&str) -> Result<(), String> = match name.as_str() {
                // Without a value. What it opens is the node's matter.
                "-semihosting" => continue,
                "-bios" => bios,
                "-device" => device,
                "-icount" => icount,
                _ => return Err(OptionError::Option(excerpt(option))),
            };
            let value = rest.next().ok_or_else(|| OptionError::MissingValue(excerpt(option)))?;
            let refused =
                |allowed| OptionError::Value { option: name.clone(), value: excerpt(value), allowed };
            allowed(value).map_err(refused)?;
        }
        Ok(ExtraArgs(args))
    }
}

fn bios(value: &str) -> Result<(), String> {
    if value == "none" {
        Ok(())
    } else {
        Err("only `none`; a firmware file is the image's matter".to_owned())
    }
}

fn device(value: &str) -> Result<(), String> {
    let driver = value.split(',').next().unwrap_or(value);
    if is_plain(value) && DEVICES.contains(&driver) {
        return Ok(());
    }
    Err(format!("the devices {} with plain properties are", DEVICES.join(", ")))
}

fn icount(value: &str) -> Result<(), String> {
    let known = |item: &str| ["shift=", "align=", "sleep="].iter().any(|name| item.starts_with(name));
    if is_plain(value) && value.split(',').all(|item| known(item) || item.parse::<u8>().is_ok()) {
        return Ok(());
    }
    Err("only shift, align and sleep".to_owned())
}

/// Letters, digits and the few signs of a property list: no path, no quoting, no blank.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-+=,".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(items: &[&str]) -> Result<ExtraArgs, OptionError> {
        items.iter().map(ToString::to_string).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn takes_what_boards_need() {
        assert!(args(&[]).is_ok());
        assert!(args(&["-bios", "none"]).is_ok());
        assert!(args(&["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]).is_ok());
        assert!(args(&["-icount", "shift=3,sleep=off"]).is_ok());
        for (items, semihosting) in [
            (&["-bios", "none"][..], false),
            (&["-bios", "none", "-semihosting"], true),
            (&["--semihosting"], true),
        ] {
            assert_eq!(args(items).unwrap().has_semihosting(), semihosting, "{items:?}");
        }
        assert!("virt,secure=on,gic-version=3".parse::<Machine>().is_ok());
        assert!("qemu32,+nx,+pae".parse::<Cpu>().is_ok());
    }

    #[test]
    fn refuses_what_reaches_the_host() {
        for bad in [
            &["-monitor", "stdio"][..],
            &["-qmp", "unix:x"],
            &["-chardev", "file,id=a,path=b"],
            &["-serial", "mon:stdio"],
            &["-sandbox", "off"],
            &["-daemonize"],
            &["-pidfile", "x"],
            &["-runas", "root"],
            &["-chroot", "/"],
            &["-D", "log"],
            &["-netdev", "user,id=n"],
            &["-nic", "user"],
            &["--nic", "user"],
            &["-semihosting", "x"],
            &["-semihosting-config", "enable=on,chardev=x"],
            &["-kernel", "x"],
            &["-readconfig", "x"],
            &["-S"],
            &["virt"],
            &["-bios", "u-boot.rom"],
            &["-bios"],
            &["--bios", "/etc/shadow"],
            &["-device", "loader,file=/etc/shadow"],
            &["-device", "loader,file=shadow"],
            &["-device", "isa-debug-exit,iobase=/x"],
            &["-device", "vfio-pci"],
            &["-global", "virtio-blk.drive=x"],
            &["-icount", "shift=3,rr=record"],
        ] {
            assert!(args(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "virt,kernel=x",
            "virt,dumpdtb=x",
            "virt,",
            "virt,accel=kvm",
            "virt,memory_backend=m",
            "a b",
            "/x",
            ",x",
        ] {
            assert!(bad.parse::<Machine>().is_err(), "{bad}");
        }
    }
}
