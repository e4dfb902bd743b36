//! What the programs of the tests have in common: how they run their trials, and how trials share a containerd.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use libtest_mimic::{Arguments, Conclusion, Trial};

use crate::containerd::Containerd;

/// The `main` of a test program: reads libtest's arguments and runs as many trials at a time as they say, or as
/// `threads` does. What keeps trials from being run at all is told in one line.
pub fn main(threads: usize, run: impl FnOnce(&Arguments) -> Result<Conclusion>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    match run(&arguments) {
        Ok(conclusion) => conclusion.exit_code(),
        Err(error) => told(&error),
    }
}

/// Tells why a test program could not do anything.
pub fn told(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

/// A trial. Where it fails, all causes are told in a line.
pub fn trial(name: impl Into<String>, tell: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || tell().map_err(|error| format!("{error:#}").into()))
}

/// A containerd that trials use one after the other, as long as none fails. It is started when the first one needs it.
#[derive(Debug, Default)]
pub struct Shared {
    /// Locked by the trial that runs.
    containerd: Mutex<Option<Containerd>>,
}

impl Shared {
    /// Runs a trial. After a failure the next one gets a fresh containerd.
    ///
    /// # Errors
    /// If the trial fails, or none can be started: with what containerd and its shims logged meanwhile.
    pub fn run(
        &self,
        start: impl FnOnce() -> Result<Containerd>,
        trial: impl FnOnce(&mut Containerd) -> Result<()>,
    ) -> Result<()> {
        let mut slot = self.containerd.lock().unwrap_or_else(PoisonError::into_inner);
        let containerd = match slot.take() {
            Some(running) => running,
            None => start()?,
        };
        let containerd = slot.insert(containerd);
        let logged = containerd.log_length();
        if let Err(error) = trial(containerd) {
            let log = containerd.log_since(logged);
            *slot = None;
            // The reason comes last: a log may be longer than what is kept of it.
            bail!("containerd and its shims logged:\n{log}\n\n{error:#}\n");
        }
        Ok(())
    }
}
