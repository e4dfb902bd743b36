//! Why a guest ended, from all that was seen of its emulator.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use micrun_image_spec::board::ExitConvention;

use super::qmp::{Event, ShutdownReason};
use crate::pedestal::ExitCause;

/// What QMP told before the emulator ended.
#[derive(Debug, Default)]
pub struct Seen {
    shutdown: Option<ShutdownReason>,
    panicked: bool,
    reset: bool,
    forced: bool,
    out_of_memory: bool,
}

impl Seen {
    /// Takes note of an event. True if the emulator has to be ended because of it: some machines go on
    /// after a reset, `-no-reboot` or not (QEMU 7.2, lm3s6965evb).
    pub fn note(&mut self, event: Event) -> bool {
        match event {
            Event::Shutdown(reason) => self.shutdown = Some(reason),
            Event::GuestPanicked => self.panicked = true,
            Event::Reset { by_guest: true } => self.reset = true,
            Event::Reset { by_guest: false } | Event::Stopped | Event::Resumed | Event::Other => {}
        }
        self.reset
    }

    /// Takes note of a kill by the shim.
    pub fn note_forced(&mut self) {
        self.forced = true;
    }

    /// Takes note of a kill by the kernel, for want of memory.
    pub fn note_out_of_memory(&mut self) {
        self.out_of_memory = true;
    }

    /// The verdict, once the emulator has ended. What the guest did to itself weighs more than the kill
    /// that followed; `stderr` is the last thing that the emulator wrote there.
    pub fn cause(&self, status: ExitStatus, convention: ExitConvention, stderr: &str) -> ExitCause {
        if self.panicked || self.shutdown == Some(ShutdownReason::GuestPanic) {
            return ExitCause::Crashed("the guest reported a panic".to_owned());
        }
        if self.reset || self.shutdown == Some(ShutdownReason::GuestReset) {
            return ExitCause::Reset;
        }
        if let Some(ShutdownReason::Host(reason)) = &self.shutdown {
            return ExitCause::Failed(format!("QEMU ended by {reason}"));
        }
        if let Some(code) = own_code(status, convention) {
            return if code == 0 { ExitCause::PoweredOff } else { ExitCause::Code(code) };
        }
        match &self.shutdown {
            Some(ShutdownReason::Guest) => ExitCause::PoweredOff,
            _ if self.forced => ExitCause::Stopped,
            _ if self.out_of_memory && status.signal().is_some() => ExitCause::OutOfMemory,
            _ => ExitCause::Failed(describe(status, stderr)),
        }
    }
}

fn own_code(status: ExitStatus, convention: ExitConvention) -> Option<u8> {
    convention.guest_code(u8::try_from(status.code()?).ok()?)
}

fn describe(status: ExitStatus, stderr: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("QEMU ended with status {code}"),
        (None, Some(signal)) => format!("QEMU was killed by signal {signal}"),
        (None, None) => "QEMU ended".to_owned(),
    };
    if stderr.is_empty() { how } else { format!("{how}: {stderr}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(events: &[Event]) -> Seen {
        let mut seen = Seen::default();
        for event in events {
            seen.note(event.clone());
        }
        seen
    }

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn the_verdict_table() {
        use ExitConvention::{IsaDebugExit, None, Status};
        let off = || Event::Shutdown(ShutdownReason::Guest);
        let killed = ExitStatus::from_raw(9);
        let table = [
            (vec![off()], exited(0), None, ExitCause::PoweredOff),
            (vec![off()], exited(0), Status, ExitCause::PoweredOff),
            (vec![], exited(7), Status, ExitCause::Code(7)),
            (vec![], exited(7), IsaDebugExit, ExitCause::Code(3)),
            (vec![], exited(1), IsaDebugExit, ExitCause::PoweredOff),
            (vec![], exited(1), None, ExitCause::Failed("QEMU ended with status 1: no".into())),
            (vec![], killed, None, ExitCause::Failed("QEMU was killed by signal 9: no".into())),
            (vec![Event::Shutdown(ShutdownReason::GuestReset)], exited(0), Status, ExitCause::Reset),
            (
                vec![Event::Shutdown(ShutdownReason::Host("host-signal".into()))],
                exited(0),
                Status,
                ExitCause::Failed("QEMU ended by host-signal".into()),
            ),
            (vec![Event::Reset { by_guest: true }], killed, None, ExitCause::Reset),
            (vec![Event::Reset { by_guest: false }, off()], exited(0), None, ExitCause::PoweredOff),
            (
                vec![Event::GuestPanicked],
                exited(0),
                None,
                ExitCause::Crashed("the guest reported a panic".into()),
            ),
        ];
        for (events, status, convention, expected) in table {
            assert_eq!(seen(&events).cause(status, convention, "no"), expected, "{events:?} {status:?}");
        }
    }

    #[test]
    fn a_kill_that_was_ours_is_a_stop() {
        let mut seen = seen(&[]);
        seen.note_forced();
        assert_eq!(seen.cause(ExitStatus::from_raw(9), ExitConvention::None, ""), ExitCause::Stopped);
    }

    #[test]
    fn a_kill_for_want_of_memory_is_told_from_others() {
        let mut seen = seen(&[]);
        seen.note_out_of_memory();
        let cause = |status| seen.cause(ExitStatus::from_raw(status), ExitConvention::None, "no");
        assert_eq!(cause(9), ExitCause::OutOfMemory);
        assert_eq!(cause(1 << 8), ExitCause::Failed("QEMU ended with status 1: no".into()), "by itself");
    }

    #[test]
    fn only_a_reset_by_the_guest_ends_the_emulator() {
        assert!(!Seen::default().note(Event::Reset { by_guest: false }));
        assert!(Seen::default().note(Event::Reset { by_guest: true }));
    }
}
