//! What the node's operator decides, for all containers.

use std::time::Duration;

/// The node's configuration. The default is what holds without a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// Consoles.
    pub console: ConsoleConfig,
    /// Commands in a guest's own shell.
    pub exec: ExecConfig,
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
