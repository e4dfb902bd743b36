//! What can be done with domains.
//!
//! Nothing here takes a domain's number from a caller. Numbers come from Xen, together with the uuid of their
//! domain, and the uuid is compared again before each command; Xen itself does not give a number away again
//! for a minute (`domid-history`), which covers the moment between the two.

use std::path::Path;
use std::time::Duration;

use micrun_image_spec::units::Mib;

use super::list::Listed;
use super::{DomainName, DomainRef, Info, Store, Uuid, XenError, Xl, info, list, vcpus};
use crate::resources::CpuSet;

/// How long Xen may take to make a domain: its memory is cleared, and a second `xl` waits for the first.
const CREATE_LIMIT: Duration = Duration::from_secs(60);

/// How long it may take for anything else. `delete` has to end within 4 s.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the process that acts on the end of a domain may take to start it anew. It sleeps for two seconds before
/// that; 2.7 to 4.2 s were measured on an emulated machine (4.20).
const RESTART_LIMIT: Duration = Duration::from_secs(6);

/// The tools of this node's Xen.
#[derive(Clone, Debug)]
pub struct Xen {
    xl: Xl,
}

/// A domain that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// What it is called.
    pub reference: DomainRef,
    id: u32,
}

impl Domain {
    /// Its directory in xenstore, with what is below it.
    pub fn path(&self, below: &str) -> String {
        format!("/local/domain/{}/{below}", self.id)
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }
}

impl Xen {
    /// Looks for the tools.
    ///
    /// # Errors
    ///
    /// [`XenError::NoTools`].
    pub fn find() -> Result<Xen, XenError> {
        Ok(Xen { xl: Xl::find()? })
    }

    /// All domains.
    ///
    /// # Errors
    ///
    /// [`XenError`] where `xl` fails.
    pub async fn list(&self) -> Result<Vec<Listed>, XenError> {
        Ok(list::parse(&self.xl.run(&["list", "-v"], LIMIT).await?))
    }

    /// The machine.
    ///
    /// # Errors
    ///
    /// [`XenError`] where `xl` fails or prints something else.
    pub async fn info(&self) -> Result<Info, XenError> {
        let text = self.xl.run(&["info"], LIMIT).await?;
        info::parse(&text).ok_or_else(|| XenError::refused("reading what xl info prints", "keys are missing"))
    }

    /// The cores that Dom0 runs on; `None` where it may run on any.
    ///
    /// # Errors
    ///
    /// [`XenError`] where `xl` fails.
    pub async fn cores_of_dom0(&self) -> Result<Option<CpuSet>, XenError> {
        Ok(vcpus::hard_affinity(&self.xl.run(&["vcpu-list", "Domain-0"], LIMIT).await?))
    }

    /// What Xen knows of a domain; `None` where it is gone or on its way.
    ///
    /// # Errors
    ///
    /// As [`Xen::list`].
    pub async fn look(&self, domain: &DomainRef) -> Result<Option<(Domain, Listed)>, XenError> {
        let found = self.list().await?.into_iter().find(|l| l.uuid == domain.uuid && !l.state.dying);
        Ok(found.map(|listed| (Domain { reference: domain.clone(), id: listed.id }, listed)))
    }

    /// The domain of this name, for domains whose uuid somebody else chose.
    ///
    /// # Errors
    ///
    /// As [`Xen::list`].
    pub async fn named(&self, name: &DomainName) -> Result<Option<Domain>, XenError> {
        let found = self.list().await?.into_iter().find(|l| l.name == name.as_str() && !l.state.dying);
        Ok(found.map(|listed| Domain {
            reference: DomainRef { name: name.clone(), uuid: listed.uuid },
            id: listed.id,
        }))
    }

    /// Creates a domain, which does not run yet, from a configuration that names it.
    ///
    /// No process is left behind to wait for its end (`-e`): that would destroy it before anybody could read
    /// why it ended, and costs 2.4 MB.
    ///
    /// # Errors
    ///
    /// [`XenError`]; something of the domain may be left ([`Xen::destroy`]).
    pub async fn create_paused(&self, config: &Path, domain: &DomainRef) -> Result<Domain, XenError> {
        let path = config.display().to_string();
        self.xl.run(&["create", "-p", "-e", "-q", &path], CREATE_LIMIT).await?;
        let mut store = Store::connect().await?;
        for id in store.list("/local/domain").await? {
            let Ok(id) = id.parse() else { continue };
            if is_there(&mut store, id, domain.uuid).await? {
                return Ok(Domain { reference: domain.clone(), id });
            }
        }
        Err(XenError::refused(
            format!("creating the domain {domain}"),
            "xl reports success, but it is not there",
        ))
    }

    /// Ends a domain and frees what it has. One that is gone already is success.
    ///
    /// Xenstore is asked first, since that costs no process. It does not know a domain whose `xl` was killed while
    /// creating or destroying it; Xen itself does.
    ///
    /// # Errors
    ///
    /// [`XenError`] where it is still there.
    pub async fn destroy(&self, domain: &DomainRef) -> Result<(), XenError> {
        let found = match published(domain).await {
            Ok(Some(found)) => Some(found),
            Ok(None) | Err(_) => self.look(domain).await?.map(|(found, _)| found),
        };
        let Some(found) = found else { return Ok(()) };
        let Err(error) = self.xl.run(&["destroy", &found.id.to_string()], LIMIT).await else { return Ok(()) };
        // Somebody else may have been faster.
        match self.look(domain).await? {
            None => Ok(()),
            Some(_) => Err(error),
        }
    }

    /// The domain that whoever acts on the end of this one starts in its place, with the same uuid; `None` where none
    /// comes in time. Costs no process, and is tried ten times a second.
    ///
    /// # Errors
    ///
    /// [`XenError`] where xenstored does not answer.
    pub async fn successor(&self, domain: &Domain) -> Result<Option<Domain>, XenError> {
        let until = tokio::time::Instant::now() + RESTART_LIMIT;
        while tokio::time::Instant::now() < until {
            if let Some(found) = published(&domain.reference).await?.filter(|found| found.id != domain.id) {
                return Ok(Some(found));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(None)
    }

    /// Ends a domain that was seen, as [`Xen::destroy`].
    ///
    /// # Errors
    ///
    /// As [`Xen::destroy`].
    pub async fn end(&self, domain: &Domain) -> Result<(), XenError> {
        match self.on(domain, "destroy", &[]).await {
            Ok(()) => Ok(()),
            Err(_) => self.destroy(&domain.reference).await,
        }
    }

    /// Lets a domain run.
    ///
    /// # Errors
    ///
    /// [`XenError`] where it is gone or Xen refuses.
    pub async fn unpause(&self, domain: &Domain) -> Result<(), XenError> {
        self.on(domain, "unpause", &[]).await
    }

    /// Stops a domain's clock.
    ///
    /// # Errors
    ///
    /// As [`Xen::unpause`].
    pub async fn pause(&self, domain: &Domain) -> Result<(), XenError> {
        self.on(domain, "pause", &[]).await
    }

    /// Binds one virtual CPU to cores. There is none that binds all of them: `xl vcpu-pin` ends with success
    /// for `all`, whatever becomes of it (4.20).
    ///
    /// # Errors
    ///
    /// As [`Xen::unpause`].
    pub async fn pin(&self, domain: &Domain, vcpu: u32, cores: &CpuSet) -> Result<(), XenError> {
        self.on(domain, "vcpu-pin", &[&vcpu.to_string(), &cores.to_string()]).await
    }

    /// Asks the guest to use this many of its virtual CPUs. It has to listen.
    ///
    /// # Errors
    ///
    /// As [`Xen::unpause`]; more than the machine has cores is refused, too.
    pub async fn set_vcpus(&self, domain: &Domain, count: u32) -> Result<(), XenError> {
        self.on(domain, "vcpu-set", &[&count.to_string()]).await
    }

    /// Asks the guest to use this much memory. It has to listen.
    ///
    /// # Errors
    ///
    /// As [`Xen::unpause`]; more than its maximum is refused, too.
    pub async fn set_memory(&self, domain: &Domain, memory: Mib) -> Result<(), XenError> {
        self.on(domain, "mem-set", &[&format!("{}m", memory.0)]).await
    }

    /// Sets the most memory that a domain may ask for.
    ///
    /// # Errors
    ///
    /// As [`Xen::unpause`]; less than it has is refused, too.
    pub async fn set_max_memory(&self, domain: &Domain, memory: Mib) -> Result<(), XenError> {
        self.on(domain, "mem-max", &[&format!("{}m", memory.0)]).await
    }

    /// Sets the scheduler's weight, 1 to 65535.
    ///
    /// # Errors
    ///
    /// As [`Xen::unpause`], or a scheduler without weights.
    pub async fn set_weight(&self, domain: &Domain, weight: u32) -> Result<(), XenError> {
        self.schedule(domain, "-w", weight).await
    }

    /// Sets the most processor time, percent of one core; 0 for no limit.
    ///
    /// # Errors
    ///
    /// As [`Xen::unpause`], or a scheduler without limits.
    pub async fn set_cap(&self, domain: &Domain, percent: u32) -> Result<(), XenError> {
        self.schedule(domain, "-c", percent).await
    }

    async fn schedule(&self, domain: &Domain, option: &str, value: u32) -> Result<(), XenError> {
        let scheduler = self.info().await?.scheduler;
        let command = match scheduler.as_str() {
            "credit2" => "sched-credit2",
            "credit" => "sched-credit",
            other => {
                let answer = format!("Xen's scheduler {other} has none; boot Xen with sched=credit2");
                return Err(XenError::refused("setting weight or limit of a domain", answer));
            }
        };
        let id = self.confirm(domain).await?;
        self.xl.run(&[command, "-d", &id, option, &value.to_string()], LIMIT).await.map(drop)
    }

    /// Asks the guest to power itself off, as `xl shutdown` does, which would wait for it to answer.
    ///
    /// # Errors
    ///
    /// [`XenError`] where it could not be asked.
    pub async fn ask_to_power_off(&self, domain: &Domain) -> Result<(), XenError> {
        let mut store = Store::connect().await?;
        self.confirm_in(&mut store, domain).await?;
        store.write(&domain.path("control/shutdown"), "poweroff").await
    }

    /// Runs a command on a domain.
    async fn on(&self, domain: &Domain, command: &str, rest: &[&str]) -> Result<(), XenError> {
        let id = self.confirm(domain).await?;
        let arguments: Vec<&str> = [command, &id].into_iter().chain(rest.iter().copied()).collect();
        self.xl.run(&arguments, LIMIT).await.map(drop)
    }

    /// The number of a domain, for `xl`, if it is still that domain's.
    async fn confirm(&self, domain: &Domain) -> Result<String, XenError> {
        self.confirm_in(&mut Store::connect().await?, domain).await
    }

    async fn confirm_in(&self, store: &mut Store, domain: &Domain) -> Result<String, XenError> {
        if is_there(store, domain.id, domain.reference.uuid).await? {
            return Ok(domain.id.to_string());
        }
        let doing = format!("looking for the domain {}", domain.reference);
        Err(XenError::refused(doing, "it is not there any more"))
    }
}

/// The domain, if xenstore knows it.
async fn published(domain: &DomainRef) -> Result<Option<Domain>, XenError> {
    let mut store = Store::connect().await?;
    for id in store.list("/local/domain").await? {
        let Ok(id) = id.parse() else { continue };
        if is_there(&mut store, id, domain.uuid).await? {
            return Ok(Some(Domain { reference: domain.clone(), id }));
        }
    }
    Ok(None)
}

/// Whether this number belongs to that uuid. Xenstore keeps a domain until it is destroyed.
pub(super) async fn is_there(store: &mut Store, id: u32, uuid: Uuid) -> Result<bool, XenError> {
    let owner = store.read(&format!("/local/domain/{id}/vm")).await?;
    let found = owner.as_deref().and_then(|path| path.strip_prefix("/vm/"));
    Ok(found.and_then(|text| text.parse().ok()) == Some(uuid))
}
