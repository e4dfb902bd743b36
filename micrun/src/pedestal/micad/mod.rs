//! Guests that micad runs: on Xen, on cores of their own, in Jailhouse cells, on cores of another kind.
//!
//! - `plan`: from settings to the create message (pure).
//! - `client`: one guest's client at the daemon, and what the daemon leaves to others.
//! - `guest`: the handle on a guest; `watcher`: the task that follows it to its end.
//! - `inquiry`: the questions to the daemon, one at a time.
//! - `console`: the rpmsg tty.
//! - `domain`: what only Xen can do, since the daemon does not.
//!
//! The daemon tells of nothing by itself, forgets its clients when it restarts, and answers "done" to things
//! that were not. What is known about it and what is done about that is in `docs/micad.md`.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use libmica::{ClientName, Micad};
use micrun_image_spec::firmware::Pedestal;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Claim, Created, Driver, DriverError, FreeMemory, GuestSpec, Node, Plan, PlanError, Record};
use crate::id::{GuestName, Key};
use crate::resources::CpuSet;

mod client;
mod console;
mod domain;
mod guest;
mod inquiry;
mod plan;
mod watcher;

use client::Client;
use guest::MicadGuest;
use plan::MicadPlan;

/// Runs guests through micad.
pub struct MicadDriver {
    /// The directory of its sockets.
    micad: PathBuf,
    dev: PathBuf,
}

/// The name of this driver in records.
pub(crate) const NAME: &str = "micad";

/// Where the daemon makes the ttys of guests.
const DEV: &str = "/dev";

impl Default for MicadDriver {
    fn default() -> MicadDriver {
        MicadDriver::at(libmica::client::DIRECTORY, DEV)
    }
}

impl MicadDriver {
    /// A driver for a daemon that makes its sockets and its ttys elsewhere, as tests do.
    pub fn at(micad: impl Into<PathBuf>, dev: impl Into<PathBuf>) -> MicadDriver {
        MicadDriver { micad: micad.into(), dev: dev.into() }
    }

    fn client(&self, on_disk: &OnDisk) -> Result<Client, DriverError> {
        let name = ClientName::new(on_disk.name.as_str()).map_err(unreadable)?;
        Client::new(Micad::new(&on_disk.micad), name, on_disk.pedestal, self.dev.clone())
    }
}

/// What is on disk for a guest: under which name to ask whom for it.
#[derive(Debug, Serialize, Deserialize)]
struct OnDisk {
    name: String,
    pedestal: Pedestal,
    /// The directory of the daemon's sockets.
    micad: PathBuf,
    /// Each virtual CPU has a core of its own.
    pin: bool,
    max_vcpus: u32,
}

impl OnDisk {
    fn read(record: &Record) -> Result<OnDisk, DriverError> {
        serde_json::from_value(record.data.clone()).map_err(unreadable)
    }
}

fn unreadable(why: impl ToString) -> DriverError {
    DriverError::backend("reading the record of a guest of micad", why.to_string())
}

#[async_trait]
impl Driver for MicadDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, pedestal: Pedestal) -> bool {
        plan::word(pedestal).is_some()
    }

    fn absent(&self, node: &Node) -> Option<PlanError> {
        let socket = Micad::new(&node.micad).create_socket();
        (!socket.exists()).then(|| {
            PlanError::new(
                format!("micad is not running: there is no {}", socket.display()),
                "start it, for example with `systemctl start micad`",
            )
        })
    }

    /// On Xen all of the machine's; Linux sees those of Dom0 alone.
    async fn cores(&self, node: &Node) -> Result<CpuSet, DriverError> {
        if node.on_xen { domain::cores().await } else { Ok(node.cores.clone()) }
    }

    async fn cores_without_linux(&self, node: &Node) -> Result<Option<CpuSet>, DriverError> {
        let linux = if node.on_xen { domain::cores_of_dom0().await? } else { Some(node.online.clone()) };
        Ok(match linux {
            Some(linux) => Some(self.cores(node).await?.without(&linux)),
            None => None,
        })
    }

    fn plan(&self, spec: &GuestSpec, node: &Node) -> Result<Box<dyn Plan>, PlanError> {
        Ok(Box::new(MicadPlan::new(spec, node, &self.dev)?))
    }

    /// Its domains have Xen's.
    async fn free_memory(&self) -> Result<Option<FreeMemory>, DriverError> {
        super::xen::free_memory().await
    }

    async fn adopt(&self, record: &Record) -> Result<Created, DriverError> {
        let on_disk = OnDisk::read(record)?;
        let (events_in, events) = mpsc::unbounded_channel();
        let guest = MicadGuest::adopt(self.client(&on_disk)?, &on_disk, events_in).await?;
        Ok(Created { guest: Box::new(guest), record: record.clone(), console: None, events })
    }

    async fn destroy(&self, record: &Record) -> Result<(), DriverError> {
        self.client(&OnDisk::read(record)?)?.destroy().await
    }

    /// The daemon is asked to forget a client of this name. If it had a domain, that is what the driver for Xen finds.
    async fn destroy_lost(&self, key: &Key) -> Result<(), DriverError> {
        let name = ClientName::new(GuestName::of(key).as_str()).map_err(unreadable)?;
        let client = Client::new(Micad::new(&self.micad), name, Pedestal::Baremetal, self.dev.clone())?;
        client.destroy().await?;
        client.remove_config();
        Ok(())
    }
}

#[async_trait]
impl Plan for MicadPlan {
    fn record(&self) -> Record {
        let on_disk = OnDisk {
            name: self.create.name.to_string(),
            pedestal: self.pedestal,
            micad: self.micad.clone(),
            pin: self.beyond.pin.is_some(),
            max_vcpus: self.beyond.max_vcpus,
        };
        // A struct of texts always has a JSON form: the path came from one.
        Record { driver: NAME.to_owned(), data: serde_json::to_value(on_disk).unwrap_or_default() }
    }

    fn claims(&self) -> Vec<Claim> {
        MicadPlan::claims(self)
    }

    async fn create(self: Box<Self>) -> Result<Created, DriverError> {
        let record = self.record();
        let name = self.create.name.clone();
        let client = Client::new(Micad::new(&self.micad), name, self.pedestal, self.dev)?;
        client.check_firmware(&self.create.firmware).await?;
        client.create(&self.create).await?;
        let (events_in, events) = mpsc::unbounded_channel();
        let guest = MicadGuest::created(client, self.create, self.beyond, events_in);
        Ok(Created { guest: Box::new(guest), record, console: None, events })
    }
}

/// A path for a message.
fn show(path: &Path) -> String {
    path.display().to_string()
}
