//! Control messages. The daemon receives 32 bytes and keeps 31 of a `set`, so that a longer one would be carried out cut
//! short; a newline makes it none of the known ones.

use std::fmt;
use std::time::Duration;

use crate::error::FieldError;

/// Longest control message, bytes.
pub const MAX_LEN: usize = 31;

/// What a client can be told.
///
/// The daemon's `gdb` is not among these: it answers with a command line for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Load the firmware and run it.
    Start,
    /// Ask the guest to stop; on Xen, destroy its domain.
    Stop,
    /// Stop the guest if it runs, and forget the client.
    Remove,
    /// Tell the state.
    Status,
    /// Change a resource of a running guest. Xen only.
    Set(Setting),
}

impl Command {
    /// The message. Never longer than [`MAX_LEN`].
    pub fn text(&self) -> String {
        match self {
            Command::Start => "start".to_owned(),
            Command::Stop => "stop".to_owned(),
            Command::Remove => "rm".to_owned(),
            Command::Status => "status".to_owned(),
            Command::Set(setting) => setting.to_string(),
        }
    }

    /// How long the daemon may take once it has begun. A start on Xen makes a domain and then waits up to 5 s for its
    /// driver; a status of a guest that went off stops it first.
    pub(crate) fn work(&self) -> Duration {
        match self {
            Command::Start | Command::Stop | Command::Remove => Duration::from_secs(30),
            Command::Status | Command::Set(_) => Duration::from_secs(10),
        }
    }
}

/// A resource that `set` changes, as the daemon compares it: in lower case. (It also knows `maxvcpu`, and refuses it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The cores that every virtual CPU is pinned to, as ranges.
    Cpu,
    /// Virtual CPUs in use.
    Vcpu,
    /// Scheduling weight.
    CpuWeight,
    /// Percent of one core.
    CpuCapacity,
    /// MiB in use.
    Memory,
    /// MiB at most.
    MaxMemory,
}

impl Key {
    /// Every key.
    pub const ALL: [Key; 6] =
        [Key::Cpu, Key::Vcpu, Key::CpuWeight, Key::CpuCapacity, Key::Memory, Key::MaxMemory];

    /// The word in the message.
    pub const fn word(self) -> &'static str {
        match self {
            Key::Cpu => "cpu",
            Key::Vcpu => "vcpu",
            Key::CpuWeight => "cpuweight",
            Key::CpuCapacity => "cpucapacity",
            Key::Memory => "memory",
            Key::MaxMemory => "maxmemory",
        }
    }
}

/// A resource and its new value, checked: the message fits, and `xl` sees one word that is no option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    key: Key,
    value: String,
}

impl Setting {
    /// Checks a value: a number, or for [`Key::Cpu`] a list of cores such as `0-3,5`.
    ///
    /// # Errors
    ///
    /// [`FieldError`] for an empty value, for one that makes the message longer than [`MAX_LEN`], and for one with
    /// anything but digits, commas and dashes in it.
    pub fn new(key: Key, value: impl fmt::Display) -> Result<Setting, FieldError> {
        let field = key.word();
        let setting = Setting { key, value: value.to_string() };
        let allowed = |c: char| c.is_ascii_digit() || (key == Key::Cpu && "-,".contains(c));
        let first_is_digit = setting.value.starts_with(|c: char| c.is_ascii_digit());
        let stray = setting.value.chars().find(|&c| !allowed(c));
        if let Some(character) = stray.or(setting.value.chars().next().filter(|_| !first_is_digit)) {
            return Err(FieldError::Character { field, character });
        }
        if setting.value.is_empty() {
            return Err(FieldError::Empty { field });
        }
        let limit = MAX_LEN - setting.to_string().len().saturating_sub(setting.value.len());
        if setting.value.len() > limit {
            return Err(FieldError::TooLong { field, length: setting.value.len(), limit });
        }
        Ok(setting)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set {} {}", self.key.word(), self.value)
    }
}
