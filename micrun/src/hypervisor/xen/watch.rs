//! The end of a domain, as an event.
//!
//! xenstored tells everybody who watches `@releaseDomain` when any domain has shut down or is gone, and not
//! which one. So the domain is looked up then; nothing runs in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::toolstack::is_there;
use super::{Domain, Reason, Store, Xen, XenError, log};

/// How long to wait before xenstored or `xl` are tried again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// What triggers watches on the end of domains.
const RELEASE: &str = "@releaseDomain";

/// How a domain came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It shut down, and stays with its memory until it is destroyed.
    ShutDown(Reason),
    /// It is gone, destroyed by somebody; with the reason, where it had shut down before and that was
    /// written down.
    Destroyed(Option<Reason>),
    /// It asked to be started anew, and somebody did that: this is the new one.
    Restarted(Domain),
}

/// Watches one domain.
pub struct DomainWatch {
    xen: Xen,
    domain: Domain,
    store: Store,
    /// The first event comes with the watch and tells nothing of a domain that has never run.
    skip_first: bool,
    /// The domain has to be looked up: kept here so that a wait that is given up loses nothing.
    look_due: bool,
    listens: Arc<AtomicBool>,
}

impl DomainWatch {
    /// Watches a domain that may run, and may have ended since it was seen.
    ///
    /// # Errors
    ///
    /// [`XenError`] where xenstored does not answer.
    pub async fn start(xen: &Xen, domain: &Domain) -> Result<DomainWatch, XenError> {
        Ok(DomainWatch {
            xen: xen.clone(),
            domain: domain.clone(),
            store: watched(domain).await?,
            skip_first: false,
            look_due: false,
            listens: Arc::default(),
        })
    }

    /// Watches a domain that was created a moment ago and has never run. Costs no `xl`.
    ///
    /// # Errors
    ///
    /// As [`DomainWatch::start`], or where it is gone again.
    pub async fn start_paused(xen: &Xen, domain: &Domain) -> Result<DomainWatch, XenError> {
        let mut watch = DomainWatch::start(xen, domain).await?;
        if !is_there(&mut watch.store, domain.id(), domain.reference.uuid).await? {
            let doing = format!("watching the domain {}", domain.reference);
            return Err(XenError::refused(doing, "somebody has destroyed it"));
        }
        watch.skip_first = true;
        Ok(watch)
    }

    /// Whether the guest listens to a request to power off. Kept up to date while [`DomainWatch::ended`] is
    /// waited for.
    pub fn listens(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.listens)
    }

    /// Waits for the end of the domain. Nothing is lost if the wait is given up.
    pub async fn ended(&mut self) -> Ending {
        loop {
            match self.next().await {
                Ok(Some(ending)) => return ending,
                Ok(None) => {}
                Err(error) => {
                    let domain = &self.domain.reference;
                    tracing::warn!(%domain, %error, "the domain cannot be watched, trying again");
                    self.reconnect().await;
                }
            }
        }
    }

    /// Takes one event.
    async fn next(&mut self) -> Result<Option<Ending>, XenError> {
        while !self.look_due {
            if self.store.next_event().await?.path == RELEASE {
                self.look_due = !std::mem::take(&mut self.skip_first);
            } else {
                let value = self.store.read(&listens_path(&self.domain)).await?;
                self.listens.store(value.as_deref() == Some("1"), Ordering::Relaxed);
            }
        }
        let ending = self.look().await?;
        self.look_due = false;
        Ok(ending)
    }

    async fn look(&mut self) -> Result<Option<Ending>, XenError> {
        let Domain { reference, .. } = &self.domain;
        let Some((found, listed)) = self.xen.look(reference).await? else {
            return Ok(Some(Ending::Destroyed(log::reason_of(&reference.name, self.domain.id()))));
        };
        if found.id() != self.domain.id() {
            return Ok(Some(Ending::Restarted(found)));
        }
        let reason = listed.reason.filter(|_| listed.state.shut_down);
        Ok(reason.map(Ending::ShutDown))
    }

    async fn reconnect(&mut self) {
        loop {
            tokio::time::sleep(RETRY).await;
            if let Ok(store) = watched(&self.domain).await {
                (self.store, self.look_due) = (store, true);
                return;
            }
        }
    }
}

async fn watched(domain: &Domain) -> Result<Store, XenError> {
    let mut store = Store::connect().await?;
    store.watch(RELEASE, "end").await?;
    store.watch(&listens_path(domain), "listens").await?;
    Ok(store)
}

/// Set to 1 by guests that watch `control/shutdown` (Xen, docs/misc/xenstore-paths).
fn listens_path(domain: &Domain) -> String {
    domain.path("control/feature-poweroff")
}
