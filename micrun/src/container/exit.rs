//! The exit status of a container, decided in one table.

use crate::pedestal::ExitCause;

/// What ended a container, as far as the engine or a user had a part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// Kill, with this signal.
    Signal(u8),
    /// Ctrl-C on a terminal.
    Interrupt,
    /// It did not start, and was stopped for that.
    NoStart,
}

/// The status of a guest that powered itself off.
const SUCCESS: u32 = 0;
/// The status of a guest that crashed, was reset or lost its pedestal; the reason is in the log.
const FAILURE: u32 = 255;
/// Added to a signal's number (POSIX shells' convention).
const SIGNAL_BASE: u32 = 128;
const SIGINT: u32 = 2;
const SIGKILL: u32 = 9;

/// From why a guest ended and the last Kill, to the status that the engine is told.
pub fn status(cause: &ExitCause, kill: Option<KillReason>) -> u32 {
    match (kill, cause) {
        (Some(KillReason::Interrupt), _) => SIGNAL_BASE + SIGINT,
        (Some(KillReason::Signal(number)), _) => SIGNAL_BASE + u32::from(number),
        (Some(KillReason::NoStart), _) => FAILURE,
        (None, ExitCause::PoweredOff) => SUCCESS,
        (None, ExitCause::Code(code)) => u32::from(*code),
        // A signal, though nobody's here, and what engines know an end for want of memory by.
        (None, ExitCause::OutOfMemory) => SIGNAL_BASE + SIGKILL,
        (None, ExitCause::Reset | ExitCause::Crashed(_) | ExitCause::Failed(_) | ExitCause::Stopped) => {
            FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let table = [
            (ExitCause::PoweredOff, None, 0),
            (ExitCause::Code(7), None, 7),
            (ExitCause::Reset, None, 255),
            (ExitCause::Crashed("x".into()), None, 255),
            (ExitCause::Failed("x".into()), None, 255),
            (ExitCause::OutOfMemory, None, 137),
            (ExitCause::OutOfMemory, Some(KillReason::Signal(15)), 143),
            (ExitCause::Stopped, Some(KillReason::Signal(9)), 137),
            (ExitCause::Stopped, Some(KillReason::Signal(15)), 143),
            (ExitCause::PoweredOff, Some(KillReason::Signal(15)), 143),
            (ExitCause::Stopped, Some(KillReason::Interrupt), 130),
            (ExitCause::PoweredOff, Some(KillReason::NoStart), 255),
        ];
        for (cause, kill, expected) in table {
            assert_eq!(status(&cause, kill), expected, "{cause:?} {kill:?}");
        }
    }
}
