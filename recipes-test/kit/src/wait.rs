//! Waiting for something that will happen. Deadlines are generous: they are there to end a hung test, not to
//! measure; a busy machine must not fail a correct program.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer.
///
/// # Errors
/// After [`DEADLINE`], naming `what` was waited for; at once if the probe itself fails.
pub fn until<T>(what: &str, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    within(DEADLINE, what, probe)
}

/// As [`until`], with a deadline of its own.
pub fn within<T>(deadline: Duration, what: &str, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    resting(|_| INTERVAL, deadline, what, probe)
}

/// As [`within`], for a probe that takes its time from what is waited for, as a program in an emulated machine does: it
/// gets a third of it at most.
///
/// # Errors
/// As [`within`].
pub fn gently<T>(deadline: Duration, what: &str, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    resting(|took| (took * 2).max(INTERVAL), deadline, what, probe)
}

/// `rest` says how long to wait after a probe that took so long.
fn resting<T>(
    rest: impl Fn(Duration) -> Duration,
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        let start = Instant::now();
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("waited {} s for {what}", deadline.as_secs());
        }
        std::thread::sleep(rest(start.elapsed()));
    }
}
