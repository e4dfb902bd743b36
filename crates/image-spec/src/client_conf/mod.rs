//! `/client.conf`: micad's description of a guest, which travels inside the image.
//!
//! ```text
//! [Mica]                          what micad reads; it ignores every other section
//! ClientPath=/firmware.elf
//! Pedestal=qemu
//! PedestalConf=
//!
//! [MicRun]                        what only MicRun reads: annotations without their prefix
//! board=qemu_arm64
//! container.os=zephyr
//! ```
//!
//! The second section exists because containerd does not hand image annotations to a runtime. A value that
//! micad could not take, or would read differently than it is written, is refused here, with its line.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

mod error;
mod key;
mod parse;
#[cfg(test)]
mod tests;

pub use error::{ClientConfError, Problem};
pub use key::Key;

use crate::firmware::Pedestal;
use crate::rootfs_path::RootfsPath;
use crate::text::{excerpt, is_lower_case_word};
use crate::units::Mib;
use parse::Section;

/// A client.conf whose every value is within micad's limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientConf {
    /// Values in their canonical form (`Key::canonical`).
    mica: BTreeMap<Key, String>,
    /// Keys of `[Mica]` that micad does not know, as they were spelt.
    unknown: BTreeMap<String, String>,
    micrun: BTreeMap<String, String>,
}

impl ClientConf {
    /// Largest file that is read, bytes. A full one with every field at its limit has under 3 KiB.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Longest value that is taken for a key without a limit of its own, bytes.
    const MAX_VALUE: usize = 4096;
    const MAX_KEY: usize = 128;

    /// Reads the bytes of a client.conf.
    ///
    /// # Errors
    /// With its line, the first thing that micad could not take or would misread.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ClientConfError> {
        let fail = |problem| Err(ClientConfError { line: None, problem });
        if bytes.len() > Self::MAX_BYTES {
            return fail(Problem::FileTooLarge { length: bytes.len(), max: Self::MAX_BYTES });
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => parse::parse(text),
            Err(_) => fail(Problem::NotText),
        }
    }

    /// Sets a key of `[Mica]`, in any case, known to micad or not. Contradictions between keys are found by
    /// [`ClientConf::validate`], after all of them are set. Blanks around the value are left out.
    ///
    /// # Errors
    /// If micad could not take the value, or would misread it.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ClientConfError> {
        self.put(Section::Mica, key, value).map_err(|problem| ClientConfError { line: None, problem })
    }

    /// Sets a key of `[MicRun]`: the name of an annotation without its prefix, in any case. Blanks around the value are
    /// left out.
    ///
    /// # Errors
    /// If the name or the value could not be read back as it is.
    pub fn set_micrun(&mut self, name: &str, value: &str) -> Result<(), ClientConfError> {
        self.put(Section::MicRun, name, value).map_err(|problem| ClientConfError { line: None, problem })
    }

    /// Checks what no single key shows: a maximum may not be below what it limits, and the file may not be larger than
    /// readers take. What passes is read back as it is here.
    ///
    /// # Errors
    /// The first of these that is not so.
    pub fn validate(&self) -> Result<(), ClientConfError> {
        for (key, maximum_key) in [(Key::Memory, Key::MaxMemory), (Key::Vcpu, Key::MaxVcpu)] {
            if let (Some(value), Some(maximum)) = (self.number(key), self.number(maximum_key))
                && maximum < value
            {
                let (key, maximum_key) = (key.to_string(), maximum_key.to_string());
                let problem = Problem::MaximumBelow { maximum_key, maximum, key, value };
                return Err(ClientConfError { line: None, problem });
            }
        }
        match self.to_string().len() {
            length if length > Self::MAX_BYTES => {
                let problem = Problem::FileTooLarge { length, max: Self::MAX_BYTES };
                Err(ClientConfError { line: None, problem })
            }
            _ => Ok(()),
        }
    }

    /// The guest's name. Images leave it out; the shim puts one in.
    pub fn name(&self) -> Option<&str> {
        self.get(Key::Name)
    }

    /// The firmware ELF: inside the image's root here, on the node once the shim has copied it.
    pub fn client_path(&self) -> Option<RootfsPath> {
        self.get(Key::ClientPath)?.parse().ok()
    }

    /// What the guest runs on; baremetal where the file says nothing.
    pub fn pedestal(&self) -> Pedestal {
        self.get(Key::Pedestal).and_then(|word| word.parse().ok()).unwrap_or_default()
    }

    /// The pedestal's own file; None where there is none.
    pub fn pedestal_conf(&self) -> Option<RootfsPath> {
        self.get(Key::PedestalConf)?.parse().ok()
    }

    /// The CPUs, as micad takes them.
    pub fn cpu(&self) -> Option<&str> {
        self.get(Key::Cpu)
    }

    /// Number of virtual CPUs.
    pub fn vcpu(&self) -> Option<u32> {
        self.number(Key::Vcpu)
    }

    /// Most virtual CPUs that the guest may get later.
    pub fn max_vcpu(&self) -> Option<u32> {
        self.number(Key::MaxVcpu)
    }

    /// Scheduling weight, 1 to 65535; micad's default is 256.
    pub fn cpu_weight(&self) -> Option<u32> {
        self.number(Key::CpuWeight)
    }

    /// Percent of one core; 0 for no limit.
    pub fn cpu_capacity(&self) -> Option<u32> {
        self.number(Key::CpuCapacity)
    }

    /// Memory.
    pub fn memory(&self) -> Option<Mib> {
        self.number(Key::Memory).map(Mib)
    }

    /// Most memory that the guest may get later.
    pub fn max_memory(&self) -> Option<Mib> {
        self.number(Key::MaxMemory).map(Mib)
    }

    /// Passed into the Xen domain's configuration.
    pub fn io_mem(&self) -> Option<&str> {
        self.get(Key::IoMem)
    }

    /// Passed into the Xen domain's configuration.
    pub fn network(&self) -> Option<&str> {
        self.get(Key::Network)
    }

    /// Start the guest when the daemon starts.
    pub fn auto_boot(&self) -> Option<bool> {
        self.get(Key::AutoBoot).map(|word| word == "yes")
    }

    /// Start the guest under the daemon's debugger.
    pub fn debug(&self) -> Option<bool> {
        self.get(Key::Debug).map(|word| word == "yes")
    }

    /// A value as it is written, None if unset.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.mica.get(&key).map(String::as_str)
    }

    /// Section `[MicRun]`: annotation names without their prefix, lower case, and their values.
    pub fn micrun(&self) -> &BTreeMap<String, String> {
        &self.micrun
    }

    /// The keys of `[Mica]` that micad does not know: worth a warning, most are misspelt.
    pub fn unknown_keys(&self) -> impl Iterator<Item = &str> {
        self.unknown.keys().map(String::as_str)
    }

    /// The same keys with their values.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.unknown.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn number(&self, key: Key) -> Option<u32> {
        self.get(key)?.parse().ok()
    }

    fn contains(&self, section: Section, key: &str) -> bool {
        match (section, Key::from_name(key)) {
            (Section::Mica, Some(known)) => self.mica.contains_key(&known),
            (Section::Mica, None) => self.unknown.keys().any(|other| other.eq_ignore_ascii_case(key)),
            (Section::MicRun, _) => self.micrun.contains_key(&key.to_ascii_lowercase()),
        }
    }

    fn put(&mut self, section: Section, key: &str, value: &str) -> Result<(), Problem> {
        refuse_characters(key, value)?;
        // Readers take blanks around a value for layout.
        let value = value.trim();
        match (section, Key::from_name(key)) {
            (Section::Mica, Some(known)) => {
                self.mica.insert(known, known.canonical(value)?);
            }
            (Section::Mica, None) => {
                check_key(key, &key.to_ascii_lowercase())?;
                self.unknown.retain(|other, _| !other.eq_ignore_ascii_case(key));
                self.unknown.insert(key.to_owned(), value.to_owned());
            }
            (Section::MicRun, _) => {
                let lower = key.to_ascii_lowercase();
                check_key(key, &lower)?;
                self.micrun.insert(lower, value.to_owned());
            }
        }
        Ok(())
    }
}

fn check_key(key: &str, lower: &str) -> Result<(), Problem> {
    if key.len() > ClientConf::MAX_KEY || !is_lower_case_word(lower) {
        return Err(Problem::NotAKey(excerpt(key)));
    }
    Ok(())
}

/// configparser interpolates `%`, keeps quotes as part of the value, and ends a value at a newline; bytes beyond
/// ASCII depend on the daemon's locale.
fn refuse_characters(key: &str, value: &str) -> Result<(), Problem> {
    let refused = |c: &char| !matches!(c, ' '..='~') || matches!(c, '%' | '"' | '\'');
    if let Some(character) = value.chars().find(refused) {
        return Err(Problem::RefusedCharacter { key: excerpt(key), character });
    }
    if value.len() > ClientConf::MAX_VALUE {
        let (length, max) = (value.len(), ClientConf::MAX_VALUE);
        return Err(Problem::TooLong { key: excerpt(key), length, max });
    }
    Ok(())
}

impl FromStr for ClientConf {
    type Err = ClientConfError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for ClientConf {
    /// Writes the file. The same contents always give the same bytes. `Pedestal` and `PedestalConf` are written
    /// even where they are unset, since micad's reader fails on one without the other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[Mica]")?;
        for key in Key::ALL {
            let always = match key {
                Key::Pedestal => Some(Pedestal::default().as_str()),
                Key::PedestalConf => Some(""),
                _ => None,
            };
            if let Some(value) = self.get(key).or(always) {
                writeln!(f, "{key}={value}")?;
            }
        }
        for (key, value) in &self.unknown {
            writeln!(f, "{key}={value}")?;
        }
        if !self.micrun.is_empty() {
            writeln!(f, "\n[MicRun]")?;
        }
        self.micrun.iter().try_for_each(|(key, value)| writeln!(f, "{key}={value}"))
    }
}
