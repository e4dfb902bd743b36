//! The shim's log: to the FIFO in the bundle, which containerd copies into its own.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tracing::Level;

use crate::config::node::LogLevel;

/// Sends everything that is logged to the FIFO at `path`. Without one, nothing is logged: a shim does not
/// fail for want of a log.
pub fn init(path: &Path, level: LogLevel) {
    // Open for reading too, so neither opening nor writing ever waits for containerd or fails without it.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fifo) = rustix::fs::open(path, flags, Mode::empty()) else { return };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::from(level))
        .with_ansi(false)
        .with_target(false)
        .with_writer(move || Fifo(fifo.try_clone().ok()))
        .finish();
    // Fails only where one was set before.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Level {
        match level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
        }
    }
}

struct Fifo(Option<OwnedFd>);

impl Write for Fifo {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(fifo) = &self.0 {
            // A full FIFO loses the line: nobody has read it for 64 KiB.
            let _ = rustix::io::write(fifo, bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
