//! How often something is tried, and how long it waits in between.

use std::thread;
use std::time::Duration;

use super::{Options, RegistryError};

/// Bytes after which a transfer counts as going well again. Without it a large blob could not come over a bad line;
/// with single bytes a registry could keep us for ever.
const WORTHWHILE: u64 = 1 << 20;

/// The tries of one thing.
pub(super) struct Tries<'a> {
    options: &'a Options,
    failed: u32,
    /// The offset at the last failure that was forgiven.
    base: u64,
}

impl<'a> Tries<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Tries { options, failed: 0, base: 0 }
    }

    /// Waits, if the failure may pass and there are tries left; else gives the failure back. `offset` is where the
    /// transfer will go on, in bytes.
    pub(super) fn wait_after(&mut self, failure: RegistryError, offset: u64) -> Result<(), RegistryError> {
        if failure.is_passing() { self.wait(failure, offset) } else { Err(failure) }
    }

    /// The same for a failure of which the caller knows that it may pass.
    pub(super) fn wait(&mut self, failure: RegistryError, offset: u64) -> Result<(), RegistryError> {
        if offset >= self.base.saturating_add(WORTHWHILE) {
            self.failed = 0;
            self.base = offset;
        }
        if self.failed >= self.options.retries {
            let tries = self.failed + 1;
            return Err(if tries > 1 {
                RegistryError::GaveUp { tries, last: Box::new(failure) }
            } else {
                failure
            });
        }
        let delay = self.delay(failure.retry_after());
        self.failed += 1;
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.options.progress.retry(&failure.reason(), millis, offset);
        thread::sleep(delay);
        Ok(())
    }

    fn delay(&self, wish: Option<Duration>) -> Duration {
        let own = self.options.first_delay.saturating_mul(1u32.checked_shl(self.failed).unwrap_or(u32::MAX));
        own.max(wish.unwrap_or_default()).min(self.options.longest_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::At;

    fn cut() -> RegistryError {
        RegistryError::Cut { at: At::new("read", "https://r.example/".into()), problem: "cut".into() }
    }

    fn options(retries: u32) -> Options {
        Options { retries, first_delay: Duration::ZERO, longest_delay: Duration::ZERO, ..Options::default() }
    }

    #[test]
    fn waits_twice_as_long_each_time_within_bounds() {
        let options = Options { first_delay: Duration::from_millis(500), ..Options::default() };
        let delays = |failed, wish| Tries { options: &options, failed, base: 0 }.delay(wish);
        let list: Vec<_> = (0..8).map(|failed| delays(failed, None).as_millis()).collect();
        assert_eq!(list, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000]);
        assert_eq!(delays(40, None), Duration::from_secs(60));
        assert_eq!(delays(0, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(delays(0, Some(Duration::from_secs(1 << 40))), Duration::from_secs(60));
    }

    #[test]
    fn gives_up_unless_it_gets_on() {
        let options = options(2);
        let mut tries = Tries::new(&options);
        assert!(tries.wait_after(cut(), 0).is_ok());
        assert!(tries.wait_after(cut(), 10).is_ok());
        assert!(tries.wait_after(cut(), WORTHWHILE).is_ok(), "forgiven");
        assert!(tries.wait_after(cut(), WORTHWHILE + 1).is_ok());
        let error = tries.wait_after(cut(), WORTHWHILE + 2).unwrap_err();
        assert!(matches!(error, RegistryError::GaveUp { tries: 3, .. }), "{error}");
    }
}
