//! The create message: the `struct create_msg` of micad's `socket_listener.c`, as a C compiler lays it out on a 64-bit
//! machine.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::FieldError;

/// Length of the message, bytes.
pub const LENGTH: usize = 1772;

// Sizes of the fields, bytes, from `mica_client.h`. The last byte of each is the NUL that ends the text.
const NAME: usize = 66;
const PATH: usize = 256;
const PEDESTAL: usize = 16;
const CPUS: usize = 128;
const IOMEM: usize = 512;
const NETWORK: usize = 512;
/// What the compiler adds so that the numbers begin at a multiple of four.
const PADDING: usize = 1;
/// A number that is not set.
const UNSET: i32 = -1;

/// A client's name: also part of a socket's name, of a file under `/etc/xen`, and a domain's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientName(String);

impl ClientName {
    /// Longest name, bytes.
    pub const MAX_LEN: usize = NAME - 1;

    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`FieldError`] for a name that is empty, too long, has anything but letters, digits, `-`, `_` and `.`, or stands
    /// for something else: the create socket, a folder, or (digits alone) a domain by its number.
    pub fn new(name: impl Into<String>) -> Result<ClientName, FieldError> {
        const FIELD: &str = "the client's name";
        let name = name.into();
        check_text(FIELD, name.as_bytes(), NAME)?;
        let why = match name.as_str() {
            "" => return Err(FieldError::Empty { field: FIELD }),
            "mica-create" => "its socket would be the one for create messages",
            "." | ".." => "it is a folder",
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => "xl takes it for a domain's number",
            _ => "",
        };
        if !why.is_empty() {
            return Err(FieldError::Name { name, why });
        }
        match name.chars().find(|&c| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
            Some(character) => Err(FieldError::Character { field: FIELD, character }),
            None => Ok(ClientName(name)),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What micad runs a client on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pedestal {
    /// A core that Linux gave up. The daemon has no word for it: whatever it does not know, it takes for this one, so
    /// the message leaves the field empty.
    Baremetal,
    /// A Jailhouse cell.
    Jailhouse,
    /// A Xen domain.
    Xen,
    /// A core of another kind on the same chip.
    Hetero,
}

impl Pedestal {
    /// The word in the message.
    pub const fn word(self) -> &'static str {
        match self {
            Pedestal::Baremetal => "",
            Pedestal::Jailhouse => "jailhouse",
            Pedestal::Xen => "xen",
            Pedestal::Hetero => "hetero",
        }
    }
}

/// A client to create. Texts that are empty and numbers that are `None` are not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Its name.
    pub name: ClientName,
    /// The firmware's ELF file, as the daemon sees it. Read at every start, not now.
    pub firmware: PathBuf,
    /// What to run it on.
    pub pedestal: Pedestal,
    /// The boot image on Xen and hetero, the cell's configuration on Jailhouse.
    pub pedestal_conf: Option<PathBuf>,
    /// Whether the daemon starts its debug service with the guest.
    pub debug: bool,
    /// One core on bare metal, a list of cores on Xen, `riscv` on hetero.
    pub cpus: String,
    /// Virtual CPUs at start. Xen only, and needed there.
    pub vcpus: Option<u32>,
    /// Virtual CPUs at most. Xen only.
    pub max_vcpus: Option<u32>,
    /// Scheduling weight, 1 to 65535. Xen only.
    pub cpu_weight: Option<u32>,
    /// Percent of one core, 0 for no limit. Xen only.
    pub cpu_capacity: Option<u32>,
    /// MiB at start. Xen only, and needed there.
    pub memory: Option<u32>,
    /// MiB at most. Xen only.
    pub max_memory: Option<u32>,
    /// Device memory, in xl.cfg(5)'s list syntax with its brackets. Xen only.
    pub iomem: String,
    /// Network interface, in xl.cfg(5)'s syntax. Xen only.
    pub network: String,
}

impl Create {
    /// A client of which nothing else is set.
    pub fn new(name: ClientName, firmware: impl Into<PathBuf>, pedestal: Pedestal) -> Create {
        Create {
            name,
            firmware: firmware.into(),
            pedestal,
            pedestal_conf: None,
            debug: false,
            cpus: String::new(),
            vcpus: None,
            max_vcpus: None,
            cpu_weight: None,
            cpu_capacity: None,
            memory: None,
            max_memory: None,
            iomem: String::new(),
            network: String::new(),
        }
    }

    /// The message, byte for byte.
    ///
    /// # Errors
    ///
    /// [`FieldError`] for what does not fit. Nothing is ever cut.
    pub fn encode(&self) -> Result<Vec<u8>, FieldError> {
        let pedestal_conf = self.pedestal_conf.as_deref().unwrap_or("".as_ref());
        if self.firmware.as_os_str().is_empty() {
            return Err(FieldError::Empty { field: "the path of the firmware" });
        }
        let mut message = Message(Vec::with_capacity(LENGTH));
        message.text("the client's name", self.name.as_str().as_bytes(), NAME)?;
        message.text("the path of the firmware", self.firmware.as_os_str().as_bytes(), PATH)?;
        message.text("the pedestal", self.pedestal.word().as_bytes(), PEDESTAL)?;
        message.quoted("PedestalConf", pedestal_conf.as_os_str().as_bytes(), PATH)?;
        message.0.push(u8::from(self.debug));
        message.quoted("CPU", self.cpus.as_bytes(), CPUS)?;
        message.0.extend([0; PADDING]);
        message.number("VCPU", self.vcpus)?;
        message.number("MaxVCPU", self.max_vcpus)?;
        message.number("CPUWeight", self.cpu_weight)?;
        message.number("CPUCapacity", self.cpu_capacity)?;
        message.number("Memory", self.memory)?;
        message.number("MaxMemory", self.max_memory)?;
        message.text("IOMem", self.iomem.as_bytes(), IOMEM)?;
        message.quoted("Network", self.network.as_bytes(), NETWORK)?;
        Ok(message.0)
    }
}

struct Message(Vec<u8>);

impl Message {
    /// A text, filled up with NULs.
    fn text(&mut self, field: &'static str, text: &[u8], size: usize) -> Result<(), FieldError> {
        check_text(field, text, size)?;
        let end = self.0.len() + size;
        self.0.extend_from_slice(text);
        self.0.resize(end, 0);
        Ok(())
    }

    /// A text that the daemon puts between quotes in the domain's configuration, and does not quote itself.
    fn quoted(&mut self, field: &'static str, text: &[u8], size: usize) -> Result<(), FieldError> {
        match text.iter().find(|byte| b"\"\\".contains(byte)) {
            Some(&byte) => Err(FieldError::Character { field, character: char::from(byte) }),
            None => self.text(field, text, size),
        }
    }

    fn number(&mut self, field: &'static str, number: Option<u32>) -> Result<(), FieldError> {
        let limit = i32::MAX.unsigned_abs();
        let number = match number {
            None => UNSET,
            Some(value) => i32::try_from(value).map_err(|_| FieldError::TooLarge { field, value, limit })?,
        };
        self.0.extend(number.to_ne_bytes());
        Ok(())
    }
}

/// Too long, or with a character that ends a text (NUL) or a line of the domain's configuration.
fn check_text(field: &'static str, text: &[u8], size: usize) -> Result<(), FieldError> {
    if text.len() >= size {
        return Err(FieldError::TooLong { field, length: text.len(), limit: size - 1 });
    }
    match text.iter().find(|byte| byte.is_ascii_control()) {
        Some(&byte) => Err(FieldError::Character { field, character: char::from(byte) }),
        None => Ok(()),
    }
}
