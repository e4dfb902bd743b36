//! The exit status of a command, decided in one table.

use crate::container::exit::KillReason;
use crate::pedestal::ExitCause;

/// What ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The prompt is back; perhaps the shell said that the command failed.
    Prompt {
        /// By an error pattern of the OS profile.
        failed: bool,
    },
    /// The prompt did not come back in time.
    TooLate,
    /// Kill, with this signal.
    Killed(u8),
    /// The guest ended meanwhile: the status that [`of_guest`] gave.
    GuestGone(u32),
    /// The console ended, and the guest did not.
    ConsoleLost,
}

const SUCCESS: u32 = 0;
const FAILURE: u32 = 1;
/// As timeout(1) has it.
const TOO_LATE: u32 = 124;
/// Added to a signal's number (POSIX shells' convention).
const SIGNAL_BASE: u32 = 128;
const SIGKILL: u32 = 9;
/// As of a container that lost its pedestal.
const LOST: u32 = 255;

/// From what ended a command to the status that the engine is told.
pub fn status(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Prompt { failed: false } => SUCCESS,
        Outcome::Prompt { failed: true } => FAILURE,
        Outcome::TooLate => TOO_LATE,
        Outcome::Killed(signal) => SIGNAL_BASE + u32::from(signal),
        Outcome::GuestGone(status) => status,
        Outcome::ConsoleLost => LOST,
    }
}

/// The status of commands whose guest ended. When a container's first process ends, Linux kills the others: so it is
/// here where the guest was stopped or powered itself off. What crashed has no such order in it.
pub fn of_guest(cause: &ExitCause, kill: Option<KillReason>) -> u32 {
    match (kill, cause) {
        (Some(_), _)
        | (None, ExitCause::PoweredOff | ExitCause::Code(_) | ExitCause::Stopped | ExitCause::OutOfMemory) => {
            SIGNAL_BASE + SIGKILL
        }
        (None, ExitCause::Reset | ExitCause::Crashed(_) | ExitCause::Failed(_)) => LOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let table = [
            (Outcome::Prompt { failed: false }, 0),
            (Outcome::Prompt { failed: true }, 1),
            (Outcome::TooLate, 124),
            (Outcome::Killed(9), 137),
            (Outcome::Killed(15), 143),
            (Outcome::GuestGone(of_guest(&ExitCause::PoweredOff, None)), 137),
            (Outcome::GuestGone(of_guest(&ExitCause::Code(0), None)), 137),
            (Outcome::GuestGone(of_guest(&ExitCause::Stopped, Some(KillReason::Signal(15)))), 137),
            (Outcome::GuestGone(of_guest(&ExitCause::Crashed("x".into()), Some(KillReason::Interrupt))), 137),
            (Outcome::GuestGone(of_guest(&ExitCause::Crashed("x".into()), None)), 255),
            (Outcome::GuestGone(of_guest(&ExitCause::Reset, None)), 255),
            (Outcome::GuestGone(of_guest(&ExitCause::Failed("x".into()), None)), 255),
            (Outcome::ConsoleLost, 255),
        ];
        for (outcome, expected) in table {
            assert_eq!(status(outcome), expected, "{outcome:?}");
        }
    }
}
