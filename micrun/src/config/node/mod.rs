//! What the node's operator decides, for all containers: `micrun.conf`.
//!
//! - [`keys`]: every key of the file, in one table.
//! - [`file`](mod@file): the file and its drop-ins, read key by key.
//! - [`endpoint`]: where a collector of spans is.
//! - [`policy`]: what images and annotations may ask for.
//! - [`error`]: what can be wrong, with file, line and column.
//!
//! Nothing here knows containers: the folder stands for itself, so that its reader can be fuzzed alone.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use micrun_image_spec::units::Mib;

pub mod endpoint;
pub mod error;
pub mod file;
pub mod keys;
pub mod policy;

pub use endpoint::{Endpoint, EndpointError};
pub use error::NodeConfigError;
pub use policy::{IoMem, Policy};

/// Where the file lies. Outside `/etc/mica` itself: micad reads every file there.
pub const PATH: &str = "/etc/mica/micrun/micrun.conf";

/// The node's configuration. The default is what holds without a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// What guests get for which nobody asks for anything else.
    pub guest: GuestConfig,
    /// Consoles.
    pub console: ConsoleConfig,
    /// Commands in a guest's own shell.
    pub exec: ExecConfig,
    /// What shims log.
    pub log: LogConfig,
    /// Where spans go.
    pub trace: TraceConfig,
    /// What images and annotations may ask for.
    pub policy: Policy,
    /// Which of all these a file says, by the key's full name.
    pub places: BTreeMap<&'static str, Place>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1 on.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What a guest gets where neither its image nor the engine says anything; `None` for what the board or the
/// hypervisor has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestConfig {
    /// Memory.
    pub memory: Option<Mib>,
    /// The most memory that the guest may ever have.
    pub max_memory: Option<Mib>,
    /// The most virtual processors that the guest may ever have.
    pub max_vcpus: Option<u32>,
    /// Scheduling weight, 1 to 65535.
    pub weight: Option<u32>,
    /// Percent of one core; 0 for no limit.
    pub capacity: Option<u32>,
}

/// How consoles behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// How much output is kept for a reader that does not take it, bytes.
    pub buffer: usize,
    /// Ctrl-C on a terminal stops the guest. Where it does not, it is a byte like any other.
    pub ctrl_c: bool,
}

impl Default for ConsoleConfig {
    fn default() -> ConsoleConfig {
        ConsoleConfig { buffer: 256 * 1024, ctrl_c: true }
    }
}

/// How commands in a guest's own shell behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecConfig {
    /// How long a command may take to bring the prompt back.
    pub timeout: Duration,
}

impl Default for ExecConfig {
    fn default() -> ExecConfig {
        ExecConfig { timeout: Duration::from_secs(30) }
    }
}

/// What shims log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// How much. containerd's own debug switch makes it `debug`, whatever is written here.
    pub level: LogLevel,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what was left out.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And what was passed over.
    Debug,
}

impl LogLevel {
    const ALL: [LogLevel; 4] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug];

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }

    fn from_word(word: &str) -> Option<LogLevel> {
        LogLevel::ALL.into_iter().find(|level| level.as_str() == word)
    }
}

/// Where spans of the shim's calls go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceConfig {
    /// The collector. Without one, that of OpenTelemetry's environment variables; without those there are no spans.
    pub endpoint: Option<Endpoint>,
}

impl NodeConfig {
    /// Reads `path` and the drop-ins beside it, `PATH.d/*.conf`, in the order of their names. A later file wins, key
    /// by key; a list replaces the earlier one. A file that is not there says nothing.
    ///
    /// # Errors
    ///
    /// The first thing in them that cannot be used, with file, line and column.
    pub fn load(path: &Path) -> Result<NodeConfig, NodeConfigError> {
        let mut config = NodeConfig::default();
        for file in file::existing(path)? {
            config.add_file(&file)?;
        }
        Ok(config)
    }

    /// Adds what one file says.
    ///
    /// # Errors
    ///
    /// The first thing in it that cannot be used; some of what came before it is added then.
    pub fn add_file(&mut self, path: &Path) -> Result<(), NodeConfigError> {
        let text = file::read(path)?;
        self.add_text(path, &text)
    }

    /// Where a key was set, by its full name (`guest.memory`); `None` for a default.
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }
}

#[cfg(test)]
mod tests;
