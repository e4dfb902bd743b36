//! What micad leaves to Xen: pausing, pinning, statistics, and word of a domain's end.
//!
//! micad gives the domain the client's name, which nobody else's domain has (`GuestName`), and keeps its uuid to
//! itself. So the domain is looked for by name once, and known by its uuid from then on.

use std::sync::OnceLock;

use libmica::ClientName;

use crate::hypervisor::xen::{self, DomainName, DomainWatch, Ending, Reason, Xen};
use crate::pedestal::xen::ending::{Asked, cause};
use crate::pedestal::{DriverError, ExitCause, Usage};
use crate::resources::CpuSet;

/// The domain of a guest, whether it exists or not.
pub struct Domain {
    xen: Xen,
    name: DomainName,
    /// Once it was seen.
    seen: OnceLock<xen::Domain>,
}

/// All cores of the machine.
///
/// # Errors
///
/// Xen's.
pub async fn cores() -> Result<CpuSet, DriverError> {
    let info = Xen::find()?.info().await?;
    Ok(CpuSet::first(info.cpus))
}

/// The cores of Dom0; `None` where it may run on any.
///
/// # Errors
///
/// Xen's.
pub async fn cores_of_dom0() -> Result<Option<CpuSet>, DriverError> {
    Ok(Xen::find()?.cores_of_dom0().await?)
}

impl Domain {
    /// The domain of a client.
    ///
    /// # Errors
    ///
    /// Xen's tools are not there.
    pub fn new(name: &ClientName) -> Result<Domain, DriverError> {
        let xen = Xen::find()?;
        let name = DomainName::new(name.as_str())
            .map_err(|error| DriverError::backend("naming a domain", error.to_string()))?;
        Ok(Domain { xen, name, seen: OnceLock::new() })
    }

    /// Looks for the domain that the daemon has just started, and watches it.
    ///
    /// # Errors
    ///
    /// Xen's, or no such domain.
    pub async fn watch(&self) -> Result<DomainWatch, DriverError> {
        let Some(domain) = self.xen.named(&self.name).await? else {
            let answer = "it has ended; /var/log/xen and `xl dmesg` may tell why";
            return Err(DriverError::backend(self.looking(), answer));
        };
        let domain = self.seen.get_or_init(|| domain);
        Ok(DomainWatch::start(&self.xen, domain).await?)
    }

    /// Gives each virtual CPU a core of its own.
    ///
    /// # Errors
    ///
    /// Xen's.
    pub async fn pin(&self, cores: &CpuSet, max_vcpus: u32) -> Result<(), DriverError> {
        let domain = self.seen()?;
        for (vcpu, core) in (0..max_vcpus).zip(cores.iter()) {
            self.xen.pin(domain, vcpu, &CpuSet::from_iter([core])).await?;
        }
        Ok(())
    }

    /// Lets all virtual CPUs run on these cores.
    ///
    /// # Errors
    ///
    /// Xen's.
    pub async fn bind(&self, cores: &CpuSet, max_vcpus: u32) -> Result<(), DriverError> {
        let domain = self.seen()?;
        for vcpu in 0..max_vcpus {
            self.xen.pin(domain, vcpu, cores).await?;
        }
        Ok(())
    }

    /// Stops the domain's clock.
    ///
    /// # Errors
    ///
    /// Xen's.
    pub async fn pause(&self) -> Result<(), DriverError> {
        Ok(self.xen.pause(self.seen()?).await?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// Xen's.
    pub async fn resume(&self) -> Result<(), DriverError> {
        Ok(self.xen.unpause(self.seen()?).await?)
    }

    /// Asks the guest to power itself off.
    ///
    /// # Errors
    ///
    /// Xen's.
    pub async fn ask(&self) -> Result<(), DriverError> {
        Ok(self.xen.ask_to_power_off(self.seen()?).await?)
    }

    /// What the guest has used.
    ///
    /// # Errors
    ///
    /// Xen's, or the domain is gone.
    pub async fn usage(&self) -> Result<Usage, DriverError> {
        let found = self.xen.look(&self.seen()?.reference).await?;
        let (_, listed) = found.ok_or_else(|| self.gone())?;
        Ok(Usage { user: listed.cpu_time, memory: listed.memory.bytes(), ..Usage::default() })
    }

    /// Destroys the domain; none is success.
    ///
    /// # Errors
    ///
    /// Xen's, where it is still there.
    pub async fn destroy(&self) -> Result<(), DriverError> {
        match self.xen.named(&self.name).await? {
            Some(domain) => Ok(self.xen.end(&domain).await?),
            None => Ok(()),
        }
    }

    /// From how the domain ended to why the guest did. The `xl` that micad leaves behind acts on the end of a domain: it
    /// destroys it, or starts one anew that reset itself. That one is no guest of ours any more.
    pub async fn cause(&self, ending: Ending, stopping: bool) -> ExitCause {
        let asked = Asked { to_stop: stopping, by_force: false };
        match ending {
            Ending::Restarted(_)
            | Ending::ShutDown(Reason::Reboot)
            | Ending::Destroyed(Some(Reason::Reboot)) => {
                if let Err(error) = self.end_successor().await {
                    tracing::warn!(domain = %self.name, %error, "a guest that reset itself runs again");
                }
                ExitCause::Reset
            }
            Ending::Destroyed(Some(reason)) => cause(&Ending::ShutDown(reason), asked),
            Ending::Destroyed(None) => cause(&ending, Asked { by_force: stopping, ..asked }),
            Ending::ShutDown(_) => cause(&ending, asked),
        }
    }

    /// Ends the domain that comes in the place of one that reset itself. Waited for before the end is told, though it
    /// comes two seconds later: a Delete in between would find nothing, and leave a guest that nobody knows.
    async fn end_successor(&self) -> Result<(), DriverError> {
        match self.xen.successor(self.seen()?).await? {
            Some(successor) => Ok(self.xen.end(&successor).await?),
            None => Ok(()),
        }
    }

    fn seen(&self) -> Result<&xen::Domain, DriverError> {
        self.seen.get().ok_or_else(|| self.gone())
    }

    fn gone(&self) -> DriverError {
        DriverError::backend(self.looking(), "it is not there any more")
    }

    fn looking(&self) -> String {
        format!("looking for the domain {}", self.name)
    }
}
