//! Why a guest ended, from what Xen tells of its domain.

use crate::hypervisor::xen::{Ending, Reason};
use crate::pedestal::ExitCause;

/// What was asked of the guest before it ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// To power itself off.
    pub to_stop: bool,
    /// The shim destroyed the domain.
    pub by_force: bool,
}

/// The cause.
pub fn cause(ending: &Ending, asked: Asked) -> ExitCause {
    match ending {
        _ if asked.by_force => ExitCause::Stopped,
        Ending::ShutDown(reason) => shut_down(*reason, asked),
        // Domains of our own have nobody else who acts on their end: see `Xen::create_paused`.
        Ending::Destroyed(_) => ExitCause::Failed("somebody else destroyed its domain".to_owned()),
        Ending::Restarted(_) => ExitCause::Failed("somebody else started its domain anew".to_owned()),
    }
}

fn shut_down(reason: Reason, asked: Asked) -> ExitCause {
    match reason {
        Reason::PowerOff if asked.to_stop => ExitCause::Stopped,
        Reason::PowerOff => ExitCause::PoweredOff,
        Reason::Reboot => ExitCause::Reset,
        Reason::Crash => ExitCause::Crashed("it told Xen so, or did what Xen ends a domain for".to_owned()),
        Reason::Watchdog => ExitCause::Crashed("its watchdog ran out".to_owned()),
        Reason::Suspend => ExitCause::Failed("it suspended itself, and nobody can wake it".to_owned()),
        Reason::Other(code) => ExitCause::Failed(format!("its domain shut down for reason {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_table() {
        let nothing = Asked::default();
        let stop = Asked { to_stop: true, ..nothing };
        let force = Asked { by_force: true, ..nothing };
        let off = Ending::ShutDown(Reason::PowerOff);
        for (ending, asked, expected) in [
            (&off, nothing, "powered off"),
            (&off, stop, "was stopped"),
            (&off, force, "was stopped"),
            (&Ending::Destroyed(None), force, "was stopped"),
            (&Ending::Destroyed(None), stop, "lost its pedestal: somebody else destroyed its domain"),
            (&Ending::ShutDown(Reason::Reboot), stop, "was reset"),
            (&Ending::ShutDown(Reason::Watchdog), nothing, "crashed: its watchdog ran out"),
            (
                &Ending::ShutDown(Reason::Other(9)),
                nothing,
                "lost its pedestal: its domain shut down for reason 9",
            ),
        ] {
            assert_eq!(cause(ending, asked).to_string(), expected, "{ending:?} {asked:?}");
        }
    }
}
