//! What guests run on. The container code knows these traits and nothing behind them.
//!
//! A back end is one folder here and one line in [`drivers`]. The traits fit back ends that a daemon
//! owns, that cannot be killed, that send no events, and that another process has to clean up; why
//! they look as they do is in `docs/design/pedestal-trait.md`.
//!
//! ```text
//!   Driver::plan(spec, node) ──> Plan            pure: refused here or asked of the node as planned
//!   Plan::record()           ──> Record          on disk before anything exists
//!   Plan::create()           ──> Created         guest (not running), console, events, final Record
//!   Guest::start / ask / force / pause / resume / apply   as capabilities() allow
//!   Driver::adopt(record)    ──> Created         a restarted shim takes its guest back
//!   Driver::destroy(record)                      another process, no live object, any number of times
//!   Driver::destroy_lost(key)                    the same where the record is lost
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use micrun_image_spec::firmware::Pedestal;
use micrun_image_spec::units::Mib;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::cgroup::{CgroupPath, Metrics};
use crate::config::Settings;
use crate::id::{GuestName, Key};
use crate::network::{NetworkError, PodInterface};
use crate::remedy::remedy;
use crate::resources::{Change, CpuSet, Resources};
use crate::trace::TraceContext;

pub mod micad;
mod node;
pub mod qemu;
pub mod xen;

pub use node::{Node, OS_DIR};

/// The back ends of this build.
pub fn drivers() -> Vec<Arc<dyn Driver>> {
    vec![Arc::new(qemu::Qemu), Arc::new(micad::MicadDriver::default()), Arc::new(xen::XenDirect)]
}

/// Frees what a record names, by the driver that wrote it.
///
/// # Errors
///
/// The driver's, or a record of a driver that is not among these.
pub async fn destroy(drivers: &[Arc<dyn Driver>], record: &Record) -> Result<(), DriverError> {
    match drivers.iter().find(|driver| driver.name() == record.driver) {
        Some(driver) => driver.destroy(record).await,
        None => {
            let answer = format!("this build has no driver {:?}", record.driver);
            Err(DriverError::backend("freeing a guest", answer))
        }
    }
}

/// A way to run guests.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The name in records and messages.
    fn name(&self) -> &'static str;

    /// True for the pedestals of an image that this driver can run.
    fn serves(&self, pedestal: Pedestal) -> bool;

    /// What this node lacks for the driver, and how to get it; `None` where it can be used. Of several drivers that
    /// serve a pedestal, the first that lacks nothing runs the guest.
    fn absent(&self, node: &Node) -> Option<PlanError>;

    /// The cores that guests of a pedestal can have on this node.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the node does not tell.
    async fn cores(&self, node: &Node) -> Result<CpuSet, DriverError>;

    /// Those of them that Linux itself does not run on; `None` where nobody can tell.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the node does not tell.
    async fn cores_without_linux(&self, _: &Node) -> Result<Option<CpuSet>, DriverError> {
        Ok(None)
    }

    /// Decides what will be asked of the node, without asking it.
    ///
    /// # Errors
    ///
    /// [`PlanError`] with a remedy where this node cannot run the guest.
    fn plan(&self, spec: &GuestSpec, node: &Node) -> Result<Box<dyn Plan>, PlanError>;

    /// What memory there is for guests that [claim](Claim::Memory) some. Asked only while others are being made that
    /// do; `None` where the back end is to find out itself whether there is enough.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the back end does not answer.
    async fn free_memory(&self) -> Result<Option<FreeMemory>, DriverError> {
        Ok(None)
    }

    /// Takes a guest back that an earlier process created.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the guest is gone or cannot be taken over.
    async fn adopt(&self, record: &Record) -> Result<Created, DriverError>;

    /// Frees whatever the record names. Nothing left to free is success.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where something is left and could not be freed.
    async fn destroy(&self, record: &Record) -> Result<(), DriverError>;

    /// Frees the guest of a container whose record is lost, by what follows from the container's name alone. No such
    /// guest is success, and so is a node on which this driver can have none.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where there is one, or may be one, that could not be freed.
    async fn destroy_lost(&self, key: &Key) -> Result<(), DriverError>;
}

/// A guest that could be created.
#[async_trait]
pub trait Plan: Send + fmt::Debug {
    /// What [`Driver::destroy`] needs if this process dies inside [`Plan::create`].
    fn record(&self) -> Record;

    /// What the guest takes of the node that no other guest may have at the same time.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// Creates the guest. It does not run yet, and its console is connected, where it can be before the start.
    ///
    /// # Errors
    ///
    /// [`DriverError`]; whatever was made on the way is freed again.
    async fn create(self: Box<Self>) -> Result<Created, DriverError>;
}

/// A guest that exists.
#[async_trait]
pub trait Guest: Send {
    /// The process that stands for the guest on the node; `None` where there is none.
    fn pid(&self) -> Option<u32>;

    /// What can be done with this guest.
    fn capabilities(&self) -> Capabilities;

    /// Lets the guest execute its first instruction.
    ///
    /// # Errors
    ///
    /// [`DriverError`]; the guest then counts as failed.
    async fn start(&mut self) -> Result<(), DriverError>;

    /// Asks the guest to stop. Returns when the request is delivered, not when it is followed.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the request could not be delivered.
    async fn ask(&mut self) -> Result<(), DriverError>;

    /// Ends the guest without its consent. The exit is reported through the events.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the pedestal refuses.
    async fn force(&mut self) -> Result<(), DriverError>;

    /// Stops the guest's clock.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the pedestal refuses.
    async fn pause(&mut self) -> Result<(), DriverError>;

    /// Lets a paused guest go on.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the pedestal refuses.
    async fn resume(&mut self) -> Result<(), DriverError>;

    /// Changes one of the guest's resources. Called for nothing that [`Capabilities::live`] excludes.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the pedestal refuses; nothing has changed then.
    async fn apply(&mut self, change: &Change) -> Result<(), DriverError>;

    /// What the guest has used so far.
    ///
    /// # Errors
    ///
    /// [`DriverError`] where the pedestal cannot tell any more.
    async fn usage(&mut self) -> Result<Usage, DriverError>;
}

/// What a guest's back end can do. The container decides by these, never by a driver's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The guest listens to a stop request.
    pub ask: bool,
    /// The guest can be ended without its consent. Where it cannot, a forced stop is asked for, waited
    /// for and then declared, with a warning that the core may still run.
    pub force: bool,
    /// The guest can be paused.
    pub pause: bool,
    /// Which resources can be changed while the guest exists.
    pub live: Live,
    /// How the end of the guest becomes known.
    pub exit: ExitNotice,
}

/// Which resources of a guest can be changed while it exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// vCPUs, cores, weight and capacity.
    pub cpu: bool,
    /// Memory.
    pub memory: bool,
}

impl Live {
    /// Nothing: what the guest has at its start is what it keeps.
    pub const NOTHING: Live = Live { cpu: false, memory: false };

    /// Whether a change is possible.
    pub fn allows(self, change: &Change) -> bool {
        match change {
            Change::Vcpus(_) | Change::Cpus(_) | Change::Weight(_) | Change::Capacity(_) => self.cpu,
            Change::Memory(_) | Change::MinMemory(_) | Change::MaxMemory(_) => self.memory,
        }
    }
}

/// Something of a node that one guest alone can have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// A physical core, by number.
    Core(u32),
    /// Memory that the hypervisor gives out.
    Memory(Mib),
    /// A co-processor, by name.
    Coprocessor(String),
    /// A pod's interface, by its network namespace.
    Interface(PodInterface),
}

/// The memory that a hypervisor can still give to guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeMemory {
    /// The names of the guests that exist, whoever made them: their memory is no part of `free` any more. To be read
    /// before `free`, so that the memory of a guest that comes in between is counted twice rather than not at all.
    pub guests: BTreeSet<String>,
    /// What is left.
    pub free: Mib,
}

/// How the end of a guest becomes known to its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitNotice {
    /// Reported the moment it happens.
    Event,
    /// Found by asking, at this interval.
    Poll(Duration),
    /// Never: a stop that was delivered is all there is to know.
    Never,
}

/// What a driver hands over for a new or adopted guest.
pub struct Created {
    /// The guest.
    pub guest: Box<dyn Guest>,
    /// What goes to disk for [`Driver::adopt`] and [`Driver::destroy`].
    pub record: Record,
    /// The guest's console; `None` where it comes later, as [`Event::ConsoleBack`].
    pub console: Option<Console>,
    /// What happens to the guest, in order. Ends after `Exited`.
    pub events: mpsc::UnboundedReceiver<Event>,
}

/// A guest's console: bytes both ways. Input rules, buffers and sinks belong to the container.
pub type Console = Box<dyn Duplex>;

/// Both halves of a byte stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Something that happened to a guest.
pub enum Event {
    /// The guest is gone.
    Exited(ExitCause),
    /// The guest's clock stands still.
    Paused,
    /// And goes on.
    Resumed,
    /// The guest's memory is used up, and the kernel ends what is in its cgroup.
    OutOfMemory,
    /// The console broke; the guest may still run.
    ConsoleLost(String),
    /// The console is there again.
    ConsoleBack(Console),
}

/// Why a guest ended. `container` turns this into an exit status; a driver never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitCause {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest ended with a code of its own, by the exit convention of its board.
    Code(u8),
    /// The guest reset itself or was reset.
    Reset,
    /// The guest crashed in a way that its pedestal can see.
    Crashed(String),
    /// The guest was ended by [`Guest::force`] or followed [`Guest::ask`].
    Stopped,
    /// The kernel killed the guest's process, since its memory was used up.
    OutOfMemory,
    /// The pedestal failed beneath the guest.
    Failed(String),
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitCause::PoweredOff => f.write_str("powered off"),
            ExitCause::Code(code) => write!(f, "ended with its own code {code}"),
            ExitCause::Reset => f.write_str("was reset"),
            ExitCause::Crashed(how) => write!(f, "crashed: {how}"),
            ExitCause::Stopped => f.write_str("was stopped"),
            ExitCause::OutOfMemory => f.write_str("was killed by the kernel: its memory was used up"),
            ExitCause::Failed(why) => write!(f, "lost its pedestal: {why}"),
        }
    }
}

/// Resources that a guest has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in kernel mode.
    pub system: Duration,
    /// Resident memory, bytes.
    pub memory: u64,
    /// The most memory that the guest may have, bytes; `None` where nobody set it. The container fills this in.
    pub memory_limit: Option<u64>,
    /// What the guest's cgroup tells, where it has one. It tells more than the fields above.
    pub cgroup: Option<Metrics>,
}

/// What a driver is asked to run.
#[derive(Clone, Debug)]
pub struct GuestSpec {
    /// The container.
    pub key: Key,
    /// What the guest is called where container ids will not do.
    pub name: GuestName,
    /// A directory for the driver's own files. Its owner removes it after `destroy`.
    pub dir: PathBuf,
    /// The firmware ELF: a copy that nobody else writes.
    pub firmware: PathBuf,
    /// The pedestal's own file ([`Settings::pedestal_conf`]): such a copy, too.
    pub pedestal_conf: Option<PathBuf>,
    /// What image and annotations ask for, merged.
    pub settings: Settings,
    /// What the guest gets.
    pub resources: Resources,
    /// The trace that its creation is part of, for guests that can be told.
    pub trace: Option<TraceContext>,
    /// Where the engine wants the guest's processes to be counted and limited.
    pub cgroup: Option<CgroupPath>,
    /// The pod's interface, where the guest is to have it ([`Settings::pod_network`]).
    pub interface: Option<PodInterface>,
}

/// What a driver needs on disk to find its guest again. Only the driver that wrote it reads `data`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`Driver::name`].
    pub driver: String,
    /// The driver's own data.
    pub data: serde_json::Value,
}

/// Why a guest cannot run on this node: the fault, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{fault}; {remedy}")]
pub struct PlanError {
    /// What does not fit.
    pub fault: String,
    /// What the user can do.
    pub remedy: String,
}

impl PlanError {
    /// A fault with its remedy.
    pub fn new(fault: impl Into<String>, remedy: impl Into<String>) -> PlanError {
        PlanError { fault: fault.into(), remedy: remedy.into() }
    }
}

/// What went wrong while a driver did something.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// An operating system call failed.
    #[error("{doing}: {source}{}", remedy(.source))]
    Io {
        /// What was being done, to what.
        doing: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The back end refused or answered nonsense.
    #[error("{doing}: {answer}")]
    Backend {
        /// What was being done, to what.
        doing: String,
        /// The back end's own words.
        answer: String,
    },
    /// The back end did not answer in time.
    #[error("{doing}: no answer within {} s", .limit.as_secs())]
    Deadline {
        /// What was being done, to what.
        doing: String,
        /// How long was waited.
        limit: Duration,
    },
    /// This back end cannot do that.
    #[error("{0}")]
    Unsupported(&'static str),
}

impl From<NetworkError> for DriverError {
    fn from(error: NetworkError) -> DriverError {
        DriverError::backend("the guest's network", error.to_string())
    }
}

impl DriverError {
    /// For `map_err`: an operating system error with what was being done.
    pub fn io<E: Into<std::io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> DriverError {
        move |source| DriverError::Io { doing: doing.into(), source: source.into() }
    }

    /// A back end's refusal, in its own words.
    pub fn backend(doing: impl Into<String>, answer: impl Into<String>) -> DriverError {
        DriverError::Backend { doing: doing.into(), answer: answer.into() }
    }
}
