//! Shows how far a transfer is: one bar for the blob that is on its way, on a terminal only.

use std::io::{self, IsTerminal, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::store::progress::{Progress, Silent};

/// What fits where standard error goes: bars on a terminal, otherwise only what went wrong and is tried again.
pub(super) fn for_stderr(quiet: bool) -> Arc<dyn Progress + Send + Sync> {
    match (quiet, io::stderr().is_terminal()) {
        (true, _) => Arc::new(Silent),
        (false, true) => Arc::new(Bars(Mutex::new(None))),
        (false, false) => Arc::new(Lines),
    }
}

struct Bars(Mutex<Option<ProgressBar>>);

impl Bars {
    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        // A panic elsewhere is no reason to stop counting.
        let bar = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bar) = bar.as_ref() {
            act(bar);
        }
    }
}

impl Progress for Bars {
    fn begin(&self, name: &str, size: u64) {
        let style =
            ProgressStyle::with_template("{msg} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        let bar = ProgressBar::new(size);
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(name.chars().take(19).collect::<String>());
        bar.enable_steady_tick(Duration::from_millis(250));
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        self.with(|bar| bar.inc(bytes));
    }

    fn retry(&self, reason: &str, delay_ms: u64, offset: u64) {
        self.with(|bar| {
            bar.suspend(|| report_retry(reason, delay_ms));
            bar.set_position(offset);
        });
    }

    fn end(&self) {
        self.with(ProgressBar::finish_and_clear);
    }
}

struct Lines;

impl Progress for Lines {
    fn begin(&self, _name: &str, _size: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn retry(&self, reason: &str, delay_ms: u64, _offset: u64) {
        report_retry(reason, delay_ms);
    }
    fn end(&self) {}
}

fn report_retry(reason: &str, delay_ms: u64) {
    let reason = super::render::printable(reason);
    let _ = writeln!(io::stderr(), "{reason}; trying again in {:.1} s", delay_ms as f64 / 1000.0);
}
