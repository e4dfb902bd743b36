//! The `xen` pedestal without micad: guests are domains of Xen that the shim itself manages.
//!
//! - `plan`: from a guest's settings to a domain's configuration (pure).
//! - `create`: from the plan to a paused domain with its console connected, and why that failed.
//! - `guest`: the handle on a domain; `watcher`: the task that follows it to its end.
//! - `ending`: from what Xen tells to the reason why the guest ended (pure).
//!
//! A domain outlives its shim, and stays after its own end until it is destroyed. It is found again by the
//! uuid that is chosen, and on disk, before it exists. What is done with Xen and how: `hypervisor::xen`.

use async_trait::async_trait;
use micrun_image_spec::firmware::Pedestal;
use serde::{Deserialize, Serialize};

use super::node::on_xen;
use super::{Created, Driver, DriverError, FreeMemory, GuestSpec, Node, Plan, PlanError, Record};
use crate::hypervisor::xen::{DomainName, DomainRef, Uuid, Xen, XenError};
use crate::id::{GuestName, Key};
use crate::network::PodInterface;
use crate::resources::CpuSet;

mod create;
pub(super) mod ending;
mod guest;
mod plan;
mod watcher;

use plan::XenPlan;

/// Runs guests as domains of Xen.
pub struct XenDirect;

/// The name of this driver in records.
const NAME: &str = "xen";

/// What is on disk for a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OnDisk {
    /// The domain, whether it exists yet or not.
    domain: DomainRef,
    /// Its console is the emulated serial port.
    vuart: bool,
    /// The cores of its virtual CPUs, where each has its own.
    pinned: Vec<u32>,
    /// The most virtual CPUs that it can have.
    max_vcpus: u32,
    /// The pod's interface, where it is behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<PodInterface>,
}

impl OnDisk {
    fn record(&self) -> Record {
        // A struct of texts and numbers always has a JSON form.
        let data = serde_json::to_value(self).unwrap_or_default();
        Record { driver: NAME.to_owned(), data }
    }

    fn read(record: &Record) -> Result<OnDisk, DriverError> {
        serde_json::from_value(record.data.clone())
            .map_err(|error| DriverError::backend("reading the record of a Xen guest", error.to_string()))
    }
}

#[async_trait]
impl Driver for XenDirect {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, pedestal: Pedestal) -> bool {
        pedestal == Pedestal::Xen
    }

    fn absent(&self, node: &Node) -> Option<PlanError> {
        if !node.on_xen {
            return Some(PlanError::new("this node does not run on Xen", "boot it as Dom0 of Xen"));
        }
        let remedy = "install Xen's tools (Debian and Ubuntu: xen-utils; Yocto: xen-tools)";
        Xen::find().err().map(|_| PlanError::new("xl is not on this node", remedy))
    }

    /// Xen's cores, of which Dom0 itself may have few.
    async fn cores(&self, _: &Node) -> Result<CpuSet, DriverError> {
        Ok(CpuSet::first(Xen::find()?.info().await?.cpus))
    }

    async fn cores_without_linux(&self, node: &Node) -> Result<Option<CpuSet>, DriverError> {
        let linux = Xen::find()?.cores_of_dom0().await?;
        Ok(match linux {
            Some(linux) => Some(self.cores(node).await?.without(&linux)),
            None => None,
        })
    }

    fn plan(&self, spec: &GuestSpec, node: &Node) -> Result<Box<dyn Plan>, PlanError> {
        let uuid = Uuid::random()
            .map_err(|error| PlanError::new(format!("the kernel gives no uuid: {error}"), "mount /proc"))?;
        Ok(Box::new(XenPlan::new(spec, node, uuid)?))
    }

    async fn free_memory(&self) -> Result<Option<FreeMemory>, DriverError> {
        free_memory().await
    }

    async fn adopt(&self, record: &Record) -> Result<Created, DriverError> {
        create::adopt(&Xen::find()?, OnDisk::read(record)?).await
    }

    async fn destroy(&self, record: &Record) -> Result<(), DriverError> {
        remove(&Xen::find()?, &OnDisk::read(record)?).await
    }

    /// Its domain has a name that no other has, whoever made it. Without Xen or its tools nobody made one.
    async fn destroy_lost(&self, key: &Key) -> Result<(), DriverError> {
        let name = DomainName::new(GuestName::of(key).as_str());
        let (true, Ok(xen), Ok(name)) = (on_xen(), Xen::find(), name) else { return Ok(()) };
        match xen.named(&name).await? {
            Some(domain) => Ok(xen.end(&domain).await?),
            None => Ok(()),
        }
    }
}

/// Destroys the domain, with its end of the pod's interface, and leaves that as it was.
async fn remove(xen: &Xen, on_disk: &OnDisk) -> Result<(), DriverError> {
    xen.destroy(&on_disk.domain).await?;
    match &on_disk.interface {
        Some(interface) => Ok(interface.release().await?),
        None => Ok(()),
    }
}

/// Xen's memory, for its guests of every driver; `None` without Xen's tools.
///
/// # Errors
///
/// Xen's.
pub(super) async fn free_memory() -> Result<Option<FreeMemory>, DriverError> {
    let Ok(xen) = Xen::find() else { return Ok(None) };
    let guests = xen.list().await?.into_iter().map(|domain| domain.name).collect();
    Ok(Some(FreeMemory { guests, free: xen.info().await?.free_memory }))
}

impl From<XenError> for DriverError {
    fn from(error: XenError) -> DriverError {
        match error {
            XenError::NoTools => DriverError::backend("looking for Xen's tools", error.to_string()),
            XenError::Io { doing, source } => DriverError::Io { doing, source },
            XenError::Refused { doing, answer } => DriverError::Backend { doing, answer },
            XenError::Deadline { doing, limit } => DriverError::Deadline { doing, limit },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_that_of_another_driver_is_not() {
        let domain = DomainRef {
            name: "z1-0123456789abcdef".to_owned().try_into().unwrap(),
            uuid: "12345678-1234-4234-8234-123456789abc".parse().unwrap(),
        };
        let mut on_disk = OnDisk { domain, vuart: true, pinned: vec![1], max_vcpus: 2, interface: None };
        assert_eq!(OnDisk::read(&on_disk.record()).unwrap(), on_disk);
        on_disk.interface = Some(serde_json::from_value("/run/netns/p".into()).unwrap());
        assert_eq!(OnDisk::read(&on_disk.record()).unwrap(), on_disk);
        let damaged =
            Record { driver: NAME.to_owned(), data: serde_json::json!({ "domain": { "name": "0" } }) };
        assert!(OnDisk::read(&damaged).is_err());
    }
}
