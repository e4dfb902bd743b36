//! The task that follows a domain to its end: tells why it ended, then frees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::ending::{self, Asked};
use crate::hypervisor::xen::{Domain, DomainWatch, Ending, Xen};
use crate::pedestal::Event;

/// How long a domain that ended keeps its console. xenconsoled takes the output of a guest that floods it
/// five times a second, and what it has not taken is lost with the domain.
const LAST_OUTPUT: Duration = Duration::from_millis(250);

/// What the handle on the guest tells its watcher.
#[derive(Debug, Default)]
pub struct Known {
    asked: AtomicBool,
    forced: AtomicBool,
}

impl Known {
    /// The guest is asked to power itself off; or was not, after all.
    pub fn set_asked(&self, asked: bool) {
        self.asked.store(asked, Ordering::Relaxed);
    }

    /// The shim destroys the domain; or could not.
    pub fn set_forced(&self, forced: bool) {
        self.forced.store(forced, Ordering::Relaxed);
    }

    fn asked(&self) -> Asked {
        Asked { to_stop: self.asked.load(Ordering::Relaxed), by_force: self.forced.load(Ordering::Relaxed) }
    }
}

/// Follows a domain.
pub struct Watcher {
    pub xen: Xen,
    pub domain: Domain,
    pub watch: DomainWatch,
    pub known: Arc<Known>,
}

impl Watcher {
    /// Waits for the end of the domain, unless nobody is interested any more.
    pub async fn run(self, events: mpsc::UnboundedSender<Event>) {
        let Watcher { xen, domain, mut watch, known } = self;
        let ending = tokio::select! {
            ending = watch.ended() => ending,
            () = events.closed() => return,
        };
        // The container may be on its way out: then it needs no reason.
        let _ = events.send(Event::Exited(ending::cause(&ending, known.asked())));
        drop((events, watch));
        if matches!(ending, Ending::ShutDown(_)) {
            free(&xen, &domain).await;
        }
    }
}

/// Gives back what a domain that shut down still holds. A container that is deleted meanwhile does the same.
async fn free(xen: &Xen, domain: &Domain) {
    tokio::time::sleep(LAST_OUTPUT).await;
    if let Err(error) = xen.end(domain).await {
        tracing::warn!(domain = %domain.reference, %error, "the domain keeps its memory until Delete");
    }
}
