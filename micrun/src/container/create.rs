//! From the engine's request to a guest that is ready to run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use micrun_image_spec::board::BoardError;
use micrun_image_spec::firmware::Pedestal;
use micrun_image_spec::os::OsProfile;
use micrun_image_spec::profile::ProfileError;
use tokio::sync::{mpsc, watch};

use super::events::{Events, TaskEvent};
use super::exec::{Execs, Inside};
use super::owner::{Inbox, Owner};
use super::share::Share;
use super::state::{Snapshot, Status};
use super::terms;
use super::{Container, Info};
use crate::bundle::{Bundle, BundleError, Mount};
use crate::config::node::NodeConfigError;
use crate::config::settings::Denied;
use crate::config::{Explanation, NodeConfig, given};
use crate::console::pace::Pacing;
use crate::console::{Hub, Loggers, Setup, Stdio, StreamError};
use crate::id::{GuestName, Id, Key};
use crate::network::NetworkError;
use crate::pedestal::{
    Console, Created, Driver, DriverError, Event, Guest, GuestSpec, Node, PlanError, Record,
};
use crate::recovery::{self, RecoveryError};
use crate::reservations::{self, ReservationError};
use crate::resources::{ResourceError, Resources};
use crate::sandbox::pause::Pause;
use crate::store::{Entry, State, Store, StoreError};
use crate::trace::{self, step};

/// What containers are made with; the same for all of a shim.
pub struct Context {
    /// The back ends, in order of preference.
    pub drivers: Vec<Arc<dyn Driver>>,
    /// The host, or what is wrong with its configuration: that is told to whoever wants a container.
    pub node: Result<Node, BoardError>,
    /// What the node's operator decides, or what is wrong with the file: that is told likewise.
    pub config: Result<NodeConfig, NodeConfigError>,
    /// The state directory.
    pub store: Store,
    /// Where events go.
    pub events: Events,
    /// The logging programs that run.
    pub loggers: Loggers,
}

/// What the engine asks for.
pub struct CreateRequest {
    /// The container.
    pub key: Key,
    /// The engine's bundle directory.
    pub bundle: PathBuf,
    /// The pod's sandbox, as the Sandbox service asks for it: there is no config.json in the bundle, and no task to tell
    /// events of.
    pub is_sandbox: bool,
    /// The network namespace of such a sandbox; that of every other container is in its config.json.
    pub network: Option<PathBuf>,
    /// How to mount the root file system; none where that is done already.
    pub mounts: Vec<Mount>,
    /// The streams.
    pub stdio: Stdio,
}

/// Why a container cannot be created. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[error("container {key}: {reason}")]
pub struct CreateError {
    /// The container.
    pub key: Key,
    /// What is wrong.
    pub reason: CreateFailure,
}

/// What is wrong with a container to be created.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what its own type says")]
pub enum CreateFailure {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Resources(#[from] ResourceError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Reservation(#[from] ReservationError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("an earlier container of this id: {0}")]
    Recovery(#[from] RecoveryError),
    #[error("the guest was made in vain and is still there: {0}")]
    NotFreed(DriverError),
    #[error("this node's board profiles: {0}; correct or remove the file")]
    Boards(String),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("this node's OS profiles: {0}; correct or remove the file")]
    Os(#[from] ProfileError),
    #[error("this node's configuration: {0}; correct or remove the file")]
    Config(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("reading /proc: {0}")]
    Proc(std::io::Error),
}

impl Context {
    /// Creates a container.
    ///
    /// # Errors
    ///
    /// [`CreateError`]; whatever was made on the way is gone again.
    pub async fn create(&self, request: CreateRequest) -> Result<Container, CreateError> {
        let key = request.key.clone();
        let failed = |reason: CreateFailure| CreateError { key: key.clone(), reason };
        let entry = step("reserve the name", self.reserve(&key)).await.map_err(failed)?;
        match self.create_in(&entry, &request).await {
            Ok(parts) => Ok(self.hand_over(entry, request, parts)),
            Err(reason) => {
                if matches!(reason, CreateFailure::NotFreed(_)) {
                    // containerd's `delete` tries again, and nobody gets its cores meanwhile.
                    tracing::warn!(container = %key, "its state is kept, for what is left of the guest");
                } else if let Err(error) = entry.remove() {
                    tracing::warn!(container = %key, %error, "files are left behind");
                }
                Err(failed(reason))
            }
        }
    }

    /// Takes the container's directory, and frees what a shim that was killed has left there.
    async fn reserve(&self, key: &Key) -> Result<Entry, CreateFailure> {
        let entry = self.store.reserve(key)?;
        recovery::free(&self.drivers, key, &entry).await?;
        crash_point!(RecoveryFreed);
        entry.clear()?;
        crash_point!(RecoveryCleared);
        Ok(entry)
    }

    async fn create_in(&self, entry: &Entry, request: &CreateRequest) -> Result<Parts, CreateFailure> {
        crash_point!(CreateReserved);
        let config = self.config.as_ref().map_err(|error| CreateFailure::Config(error.to_string()))?;
        if request.is_sandbox {
            let (id, network) = (request.key.id.clone(), request.network.clone());
            return self.create_nothing(entry, request, config, id, network).await;
        }
        let bundle = Bundle::open(&request.bundle)?;
        if bundle.is_sandbox(&request.key.id)? {
            let (id, network) = (request.key.id.clone(), bundle.network().map(Path::to_owned));
            return self.create_nothing(entry, request, config, id, network).await;
        }
        let reading = bundle.read_image(request.mounts.clone(), entry.dir(), config);
        let mut image = step("copy the image", reading).await?;
        let node = self.node.as_ref().map_err(|error| CreateFailure::Boards(error.to_string()))?;
        trace::note("micrun.pedestal", image.settings.pedestal);
        let driver = self.choose(image.settings.pedestal, node)?;
        trace::note("micrun.driver", driver.name());
        terms::board(&image, node)?;
        let cores = step("ask for cores", terms::cores(&image, driver.as_ref(), node)).await?;
        let resources = Resources::plan(&image.settings.wishes, &image.asked, &cores, None)?;
        terms::vcpus(image.settings.pedestal, &resources, driver.as_ref(), node).await?;
        given::settle(&mut image.explanation, &image.asked, &resources);
        explain(entry, &image.explanation);
        let mut setup = Setup::new(&image.config.console, &image.settings);
        let inside = match image.settings.os.clone() {
            Some(os) => Inside::Os(OsProfile::find(&node.os_dir, &os)?.map(Box::new), os),
            None => Inside::Unknown,
        };
        if let Inside::Os(Some(profile), _) = &inside {
            setup.pacing = profile.input.and_then(Pacing::of);
        }
        let verify_only = image.settings.verify_only;
        let pod = bundle.pod(&request.key.id)?;
        let network = self.network(&bundle, &request.key, &pod);
        // Who verifies an image does so in another pod.
        let interface =
            if verify_only { None } else { terms::interface(&image.settings, network.as_deref())? };
        let share = Share::new(&image.settings, image.asked, cores, resources.clone());
        let spec = GuestSpec {
            key: request.key.clone(),
            name: GuestName::of(&request.key),
            dir: entry.dir().to_owned(),
            firmware: image.firmware,
            pedestal_conf: image.pedestal_conf,
            settings: image.settings,
            resources,
            trace: trace::current_trace(),
            cgroup: bundle.cgroup().cloned(),
            interface,
        };
        let plan = step("plan", async { driver.plan(&spec, node) }).await?;
        if verify_only {
            tracing::info!(container = %request.key, "the image is good; no guest is made (container.verify_only)");
            return self.create_nothing(entry, request, config, pod, network).await;
        }
        let mut state = State::new(pod).map_err(CreateFailure::Proc)?;
        state.guest = Some(plan.record());
        state.claims = plan.claims();
        state.network = network;
        let taking = reservations::take(&self.store, &request.key, entry, &state, driver.as_ref());
        step("reserve", taking).await?;
        crash_point!(CreateClaimed);
        let creating = step("create the guest", plan.create());
        let Created { guest, record, console, events } = creating.await?;
        crash_point!(CreateMade);
        state.guest = Some(record.clone());
        state.pid = guest.pid().unwrap_or(state.pid);
        let connected = match entry.save(&state) {
            Ok(()) => {
                crash_point!(CreateRecorded);
                let connecting = step("connect the streams", self.connect(console, request, &setup));
                connecting.await.map_err(CreateFailure::from)
            }
            Err(error) => Err(error.into()),
        };
        match connected {
            Ok((hub, interrupts)) => {
                let taps = hub.taps(&request.key, &setup, &self.loggers);
                let execs = Execs::new(inside, taps, config.exec.timeout);
                let node = node.clone();
                Ok(Parts { driver, node, guest, record, share, state, events, hub, execs, interrupts })
            }
            Err(failure) => {
                drop(guest);
                driver.destroy(&record).await.map_err(CreateFailure::NotFreed)?;
                Err(failure)
            }
        }
    }

    /// Creates what stands for a pod, or for a guest that nobody wants: nothing but its name. What a pod's containers could
    /// not be made with is told now, so that the engine tries again with another shim, which reads the node's files anew.
    async fn create_nothing(
        &self,
        entry: &Entry,
        request: &CreateRequest,
        config: &NodeConfig,
        pod: Id,
        network: Option<PathBuf>,
    ) -> Result<Parts, CreateFailure> {
        let node = self.node.as_ref().map_err(|error| CreateFailure::Boards(error.to_string()))?;
        let mut state = State::new(pod).map_err(CreateFailure::Proc)?;
        state.network = network;
        entry.save(&state)?;
        let setup = Setup::plain(&config.console);
        let Created { guest, record, console, events } = Pause::guest();
        let (hub, interrupts) = self.connect(console, request, &setup).await?;
        let taps = hub.taps(&request.key, &setup, &self.loggers);
        let execs = Execs::new(Inside::Nothing, taps, config.exec.timeout);
        let (driver, node, share) = (Arc::new(Pause), node.clone(), Share::of_nothing()?);
        Ok(Parts { driver, node, guest, record, share, state, events, hub, execs, interrupts })
    }

    /// The network namespace of a container. To the containers of a pod CRI names that of the sandbox's process, which
    /// is the shim's and so the node's; to the sandbox itself it names the pod's.
    fn network(&self, bundle: &Bundle, key: &Key, pod: &Id) -> Option<PathBuf> {
        let sandbox = Key { namespace: key.namespace.clone(), id: pod.clone() };
        let sandbox = if sandbox == *key { None } else { self.store.find(&sandbox) };
        match sandbox.and_then(|entry| entry.load()) {
            Some(state) => state.network,
            None => bundle.network().map(Path::to_owned),
        }
    }

    /// Connects a guest's console to the engine's streams, before its first instruction.
    async fn connect(
        &self,
        console: Option<Console>,
        request: &CreateRequest,
        setup: &Setup,
    ) -> Result<(Hub, mpsc::UnboundedReceiver<()>), StreamError> {
        let (interrupts_in, interrupts) = mpsc::unbounded_channel();
        let CreateRequest { key, stdio, .. } = request;
        let hub = Hub::open(stdio, key, setup, &self.loggers, console, interrupts_in).await?;
        crash_point!(CreateConnected);
        Ok((hub, interrupts))
    }

    /// The first driver that serves the pedestal and lacks nothing on this node.
    fn choose(&self, pedestal: Pedestal, node: &Node) -> Result<Arc<dyn Driver>, PlanError> {
        let mut lacking = Vec::new();
        for driver in self.drivers.iter().filter(|driver| driver.serves(pedestal)) {
            match driver.absent(node) {
                None => return Ok(Arc::clone(driver)),
                Some(what) => lacking.push(what),
            }
        }
        if lacking.is_empty() {
            let names: Vec<&str> = self.drivers.iter().map(|driver| driver.name()).collect();
            return Err(PlanError::new(
                format!("the image is for the pedestal {pedestal}, which this node cannot run"),
                format!("use an image for one of: {}", names.join(", ")),
            ));
        }
        let (faults, remedies): (Vec<String>, Vec<String>) =
            lacking.into_iter().map(|PlanError { fault, remedy }| (fault, remedy)).unzip();
        Err(PlanError::new(
            format!("the image is for the pedestal {pedestal}, and {}", faults.join(", and ")),
            format!(
                "{}, or give the node an image for a pedestal that `micrun check` names",
                remedies.join(", or ")
            ),
        ))
    }

    fn hand_over(&self, entry: Entry, request: CreateRequest, parts: Parts) -> Container {
        // A guest without a process of its own is represented by its shim.
        let pid = parts.guest.pid().unwrap_or_else(std::process::id);
        let info = Arc::new(Info { key: request.key, bundle: request.bundle, stdio: request.stdio });
        let events = if request.is_sandbox { Events::queue().0 } else { self.events.clone() };
        let (snapshot_in, snapshot) = watch::channel(Snapshot { status: Status::Created, pid, exit: None });
        let (requests_in, requests) = mpsc::channel(16);
        let owner = Owner {
            info: Arc::clone(&info),
            driver: parts.driver,
            node: parts.node,
            guest: parts.guest,
            record: parts.record,
            store: self.store.clone(),
            entry,
            share: parts.share,
            state: parts.state,
            hub: parts.hub,
            execs: parts.execs,
            events: events.clone(),
            snapshot: snapshot_in,
            kill: None,
            alarm: None,
        };
        let stdio = info.stdio.clone();
        events.publish(&info.key, TaskEvent::Created { pid, bundle: info.bundle.clone(), stdio });
        crash_point!(CreateTold);
        trace::spawn(owner.run(Inbox { requests, guest: parts.events, interrupts: parts.interrupts }));
        Container { info, requests: requests_in, snapshot }
    }
}

/// Keeps what `micrun explain` shows. A guest does not fail for want of it.
fn explain(entry: &Entry, explanation: &Explanation) {
    if let Err(error) = explanation.save(entry.dir()) {
        tracing::warn!(%error, dir = %entry.dir().display(), "micrun explain will not know this container");
    }
}

/// What a created container is made of.
struct Parts {
    driver: Arc<dyn Driver>,
    node: Node,
    guest: Box<dyn Guest>,
    record: Record,
    share: Share,
    state: State,
    events: mpsc::UnboundedReceiver<Event>,
    hub: Hub,
    execs: Execs,
    interrupts: mpsc::UnboundedReceiver<()>,
}
