//! The `qemu` pedestal: a guest in an emulator that the shim itself runs, with no daemon.
//!
//! - `plan`: which emulator, which arguments (pure).
//! - `jail`: the confined process: unprivileged, without capabilities, in an empty root.
//! - `qmp`: the emulator's control protocol.
//! - `machine`: the handle on a running emulator; `watcher`: the task that follows it to its end.
//! - `exit`: from all that was seen to the reason why the guest ended (pure).
//! - `lost`: finds an emulator by its container's name alone.
//!
//! Control and console are socket pairs: no socket file, nobody else can connect, and both close when
//! the shim dies. The emulator dies with its shim (parent-death signal), so it is never adopted.

use async_trait::async_trait;
use micrun_image_spec::firmware::Pedestal;
use serde::{Deserialize, Serialize};

use super::{Claim, Created, Driver, DriverError, GuestSpec, Node, Plan, PlanError, Record};
use crate::cgroup::{Cgroup, CgroupError, Place};
use crate::id::Key;
use crate::namespace::on_own_thread;
use crate::network::PodInterface;
use crate::process::ProcessId;
use crate::resources::CpuSet;

mod exit;
mod jail;
mod lost;
mod machine;
mod plan;
pub mod qmp;
mod watcher;

use plan::QemuPlan;
pub use plan::debian_package;

/// Runs guests in QEMU's system emulators.
pub struct Qemu;

/// The name of this driver in records.
pub(crate) const NAME: &str = "qemu";

/// What is on disk for a guest: where its emulator is counted, the interface that it is behind, and the emulator, once
/// there is one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct OnDisk {
    process: Option<ProcessId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cgroup: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<PodInterface>,
}

impl OnDisk {
    fn record(&self) -> Record {
        // A struct of numbers and texts always has a JSON form.
        let data = serde_json::to_value(self).unwrap_or_default();
        Record { driver: NAME.to_owned(), data }
    }
}

#[async_trait]
impl Driver for Qemu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, pedestal: Pedestal) -> bool {
        pedestal == Pedestal::Qemu
    }

    /// Emulators are looked for by board: each needs another.
    fn absent(&self, _: &Node) -> Option<PlanError> {
        None
    }

    async fn cores(&self, node: &Node) -> Result<CpuSet, DriverError> {
        Ok(node.cores.clone())
    }

    fn plan(&self, spec: &GuestSpec, node: &Node) -> Result<Box<dyn Plan>, PlanError> {
        Ok(Box::new(QemuPlan::new(spec, node)?))
    }

    async fn adopt(&self, _record: &Record) -> Result<Created, DriverError> {
        Err(DriverError::Unsupported("a QEMU guest dies with its shim and cannot be taken over"))
    }

    async fn destroy(&self, record: &Record) -> Result<(), DriverError> {
        let on_disk: OnDisk = serde_json::from_value(record.data.clone())
            .map_err(|error| DriverError::backend("reading the record of a QEMU guest", error.to_string()))?;
        if let Some(process) = on_disk.process {
            on_own_thread(move || process.kill_and_wait())
                .await
                .map_err(DriverError::io(format!("ending QEMU (process {})", process.pid)))?;
        }
        leave(on_disk.cgroup, on_disk.interface).await
    }

    /// An emulator dies with its shim; one that does not is told by what is mounted as its root.
    async fn destroy_lost(&self, key: &Key) -> Result<(), DriverError> {
        let (doing, key) = (format!("ending the QEMU of container {key}"), key.clone());
        on_own_thread(move || lost::kill_all(&key)).await.map_err(DriverError::io(doing))
    }
}

#[async_trait]
impl Plan for QemuPlan {
    fn record(&self) -> Record {
        OnDisk { process: None, cgroup: self.cgroup.clone(), interface: self.interface() }.record()
    }

    fn claims(&self) -> Vec<Claim> {
        self.interface().map(Claim::Interface).into_iter().collect()
    }

    async fn create(self: Box<Self>) -> Result<Created, DriverError> {
        let created = create(&self).await;
        if created.is_err() {
            let interface = self.interface();
            if let Err(error) = leave(self.cgroup, interface).await {
                tracing::warn!(%error, "something of a guest is left behind");
            }
        }
        created
    }
}

async fn create(plan: &QemuPlan) -> Result<Created, DriverError> {
    let tap = match &plan.network {
        Some((interface, nic)) => Some((interface.attach().await?, *nic)),
        None => None,
    };
    let cgroup = enter(plan).await?;
    let process = jail::spawn(plan, cgroup.as_ref(), tap)?;
    machine::start_paused(process, cgroup, plan.interface(), plan.exit).await
}

/// Makes the cgroup. Where a machine has none for this shim the guest runs all the same, unless somebody relies on limits.
async fn enter(plan: &QemuPlan) -> Result<Option<Cgroup>, DriverError> {
    let Some(place) = plan.cgroup.clone() else { return Ok(None) };
    let (limits, are_firm) = (plan.limits.clone(), plan.limits.are_firm());
    match on_own_thread(move || place.make(&limits)).await {
        Ok(cgroup) => Ok(Some(cgroup)),
        Err(error) if error.is_lack_of_rights() && !are_firm => {
            tracing::warn!(%error, "the guest is counted with its shim");
            Ok(None)
        }
        Err(error) if error.is_lack_of_rights() => Err(DriverError::backend(
            "keeping the guest to its limits",
            format!("{error}; let the shim write cgroups, or start the container without limits"),
        )),
        Err(error) => Err(cgroup_failed(error)),
    }
}

/// Removes the cgroup, once nothing runs in it any more, and leaves the pod's interface as it was.
async fn leave(cgroup: Option<Place>, interface: Option<PodInterface>) -> Result<(), DriverError> {
    let released = match interface {
        Some(interface) => interface.release().await,
        None => Ok(()),
    };
    if let Some(place) = cgroup {
        on_own_thread(move || place.remove()).await.map_err(cgroup_failed)?;
    }
    Ok(released?)
}

fn cgroup_failed(error: CgroupError) -> DriverError {
    DriverError::backend("the guest's cgroup", error.to_string())
}
