//! Kubernetes' side of a containerd: what kubelet asks of CRI, over gRPC, without a kubelet.
//!
//! - [`Settings`]: the configuration, from the files that the product ships
//! - [`Cri`]: the calls, and the pods and containers that they are about
//! - [`WebSocket`]: the streams of exec, attach and port-forward
//! - [`log`]: the files that `kubectl logs` reads
//! - [`messages`]: requests and answers

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use micrun_unix_grpc::{Channel, GrpcError};
use prost::Message;

use crate::containerd::ADDRESS;
use crate::wait::{self, DEADLINE};
use crate::{Containerd, image};

pub mod log;
pub mod messages;
mod settings;
mod websocket;

pub use settings::{Sandboxer, Settings};
pub use websocket::{ERROR, STDERR, STDOUT, WebSocket};

use messages::{
    AttachRequest, Container, ContainerConfig, ContainerMetadata, ContainerStats, ContainerStatsResponse,
    ContainerStatus, ContainerStatusResponse, CreateContainerRequest, ExecRequest, ExecSyncRequest,
    ExecSyncResponse, ImageSpec, ImageStatusRequest, ImageStatusResponse, LinuxContainerResources,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, ListContainerStatsResponse, ListContainersResponse,
    ListPodSandboxResponse, NamespaceOption, Nothing, OneContainer, OnePod, PodSandbox, PodSandboxConfig,
    PodSandboxMetadata, PodSandboxStats, PodSandboxStatsResponse, PodSandboxStatus, PodSandboxStatusResponse,
    PortForwardRequest, RunPodSandboxRequest, StopContainerRequest, StreamAt,
    UpdateContainerResourcesRequest,
};

/// containerd's own namespace for what CRI makes.
pub const CONTAINERS: &str = "k8s.io";
/// The image of pause containers, as the configuration names it.
pub const PAUSE: &str = "localhost/pause:test";
/// The runtime class of guests, as the product's configuration names it.
pub const MICA: &str = "mica";
/// The one of Linux programs.
pub const RUNC: &str = "runc";
/// A CNI plugin, where Debian has them all.
pub const PTP: &str = "/usr/lib/cni/ptp";

/// The longest line of a log, bytes; less than containerd's own 16 KiB, so that lines are cut which a guest can write.
pub const LINE: usize = 256;

const RUNTIME: &str = "runtime.v1.RuntimeService";
const IMAGES: &str = "runtime.v1.ImageService";

/// Longer than the longest that CRI waits for something itself.
const PATIENCE: Duration = Duration::from_secs(100);

/// How a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// Its sandbox is there.
    Ready,
    /// It is not, or not any more.
    NotReady,
}

/// How a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "what they are called everywhere")]
pub enum State {
    Created,
    Running,
    Exited,
    Unknown,
}

impl PodSandboxStatus {
    /// What `state` means.
    pub fn is(&self) -> PodState {
        if self.state == 0 { PodState::Ready } else { PodState::NotReady }
    }
}

impl ContainerStatus {
    /// What `state` means.
    pub fn is(&self) -> State {
        match self.state {
            0 => State::Created,
            1 => State::Running,
            2 => State::Exited,
            _ => State::Unknown,
        }
    }
}

/// What CRI answers.
pub type Answer<T> = Result<T, GrpcError>;

/// A connection to CRI, as kubelet has one.
pub struct Cri {
    channel: Channel,
    cgroup: String,
}

impl fmt::Debug for Cri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cri").field("cgroup", &self.cgroup).finish_non_exhaustive()
    }
}

/// A pod that runs, with what it was started with: CreateContainer wants that again.
#[derive(Clone, Debug)]
pub struct Pod {
    /// CRI's id.
    pub id: String,
    /// What it is.
    pub config: PodSandboxConfig,
}

impl Containerd {
    /// A connection of its own.
    ///
    /// # Errors
    /// If containerd does not listen.
    pub fn cri(&self) -> Result<Cri> {
        let socket = self.namespace.path(ADDRESS);
        let channel =
            Channel::connect(&socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
        Ok(Cri { channel, cgroup: self.cgroup().to_owned() })
    }

    /// Imports an image, and waits until CRI knows it.
    ///
    /// # Errors
    /// If containerd refuses it.
    pub fn import_for_cri(&self, archive: &Path, reference: &str) -> Result<()> {
        self.import(archive)?;
        let cri = self.cri()?;
        wait::until(&format!("CRI to know {reference}"), || Ok(cri.image(reference)?.map(drop)))
    }
}

/// Makes an image that holds one program and starts it: that of pause containers, and one that is no firmware.
///
/// # Errors
/// If umoci fails.
pub fn pack_linux(folder: &Path, reference: &str) -> Result<std::path::PathBuf> {
    image::of_program(folder, reference, &image::sleeper(folder)?)
}

/// A container of this name and image, with a log of its name.
pub fn container(name: &str, image: &str) -> ContainerConfig {
    attempt(name, image, 0)
}

/// The same when it is not the first one of that name in its pod, as kubelet's restart policies make them.
pub fn attempt(name: &str, image: &str, attempt: u32) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.to_owned(), attempt }),
        image: Some(ImageSpec { image: image.to_owned() }),
        log_path: format!("{name}-{attempt}.log"),
        ..ContainerConfig::default()
    }
}

/// What puts a pod into the node's own network (NamespaceMode, NODE).
pub fn in_the_nodes_network() -> LinuxSandboxSecurityContext {
    LinuxSandboxSecurityContext { namespace_options: Some(NamespaceOption { network: 2 }) }
}

impl Cri {
    fn call<A: Message + Default>(&self, method: &str, request: &impl Message) -> Answer<A> {
        self.channel.call(RUNTIME, method, request, PATIENCE)
    }

    fn of_pod<A: Message + Default>(&self, method: &str, id: &str) -> Answer<A> {
        self.call(method, &OnePod { id: id.to_owned() })
    }

    fn of_container<A: Message + Default>(&self, method: &str, id: &str) -> Answer<A> {
        self.call(method, &OneContainer { id: id.to_owned() })
    }

    /// The configuration of a pod that nobody else has; its containers' logs go into the folder.
    pub fn pod_config(&self, name: &str, logs: &Path) -> PodSandboxConfig {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let uid = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        PodSandboxConfig {
            log_directory: logs.display().to_string(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: format!("/{}/pod-{uid}", self.cgroup),
                ..LinuxPodSandboxConfig::default()
            }),
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid,
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            ..PodSandboxConfig::default()
        }
    }

    /// Runs a pod's sandbox.
    ///
    /// # Errors
    /// If CRI refuses.
    pub fn run_pod(&self, config: PodSandboxConfig, handler: &str) -> Answer<Pod> {
        let request =
            RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: handler.to_owned() };
        let OnePod { id } = self.call("RunPodSandbox", &request)?;
        Ok(Pod { id, config })
    }

    /// Stops a pod and all that runs in it.
    ///
    /// # Errors
    /// If CRI refuses.
    pub fn stop_pod(&self, id: &str) -> Answer<()> {
        self.of_pod::<Nothing>("StopPodSandbox", id).map(drop)
    }

    /// Removes a pod and all that is in it.
    ///
    /// # Errors
    /// If CRI refuses.
    pub fn remove_pod(&self, id: &str) -> Answer<()> {
        self.of_pod::<Nothing>("RemovePodSandbox", id).map(drop)
    }

    /// How a pod is.
    ///
    /// # Errors
    /// If there is no such pod.
    pub fn pod(&self, id: &str) -> Answer<PodSandboxStatus> {
        Ok(self.of_pod::<PodSandboxStatusResponse>("PodSandboxStatus", id)?.status.unwrap_or_default())
    }

    /// All pods.
    ///
    /// # Errors
    /// If CRI does not answer.
    pub fn pods(&self) -> Answer<Vec<PodSandbox>> {
        Ok(self.call::<ListPodSandboxResponse>("ListPodSandbox", &Nothing {})?.items)
    }

    /// What a pod uses.
    ///
    /// # Errors
    /// If CRI cannot tell.
    pub fn pod_stats(&self, id: &str) -> Answer<PodSandboxStats> {
        Ok(self.of_pod::<PodSandboxStatsResponse>("PodSandboxStats", id)?.stats.unwrap_or_default())
    }

    /// Creates a container in a pod; its id.
    ///
    /// # Errors
    /// If CRI refuses.
    pub fn create(&self, pod: &Pod, config: ContainerConfig) -> Answer<String> {
        let request = CreateContainerRequest {
            pod: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        Ok(self.call::<OneContainer>("CreateContainer", &request)?.id)
    }

    /// Starts a container.
    ///
    /// # Errors
    /// If CRI refuses, or the shim: then with its sentence.
    pub fn start(&self, id: &str) -> Answer<()> {
        self.of_container::<Nothing>("StartContainer", id).map(drop)
    }

    /// Stops a container: by its stop signal, and so many seconds later by SIGKILL.
    ///
    /// # Errors
    /// If CRI refuses.
    pub fn stop(&self, id: &str, seconds: i64) -> Answer<()> {
        let request = StopContainerRequest { id: id.to_owned(), timeout: seconds };
        self.call::<Nothing>("StopContainer", &request).map(drop)
    }

    /// Removes a container.
    ///
    /// # Errors
    /// If CRI refuses.
    pub fn remove(&self, id: &str) -> Answer<()> {
        self.of_container::<Nothing>("RemoveContainer", id).map(drop)
    }

    /// How a container is.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn status(&self, id: &str) -> Answer<ContainerStatus> {
        Ok(self.of_container::<ContainerStatusResponse>("ContainerStatus", id)?.status.unwrap_or_default())
    }

    /// Waits until a container is so.
    ///
    /// # Errors
    /// If that takes longer than [`DEADLINE`], or there is no such container.
    pub fn wait_for(&self, id: &str, state: State) -> Result<ContainerStatus> {
        wait::until(&format!("a container to be {state:?}"), || {
            let status = self.status(id)?;
            Ok((status.is() == state).then_some(status))
        })
    }

    /// All containers.
    ///
    /// # Errors
    /// If CRI does not answer.
    pub fn containers(&self) -> Answer<Vec<Container>> {
        Ok(self.call::<ListContainersResponse>("ListContainers", &Nothing {})?.containers)
    }

    /// What a container uses.
    ///
    /// # Errors
    /// If CRI cannot tell.
    pub fn stats(&self, id: &str) -> Answer<ContainerStats> {
        Ok(self.of_container::<ContainerStatsResponse>("ContainerStats", id)?.stats.unwrap_or_default())
    }

    /// What all containers use.
    ///
    /// # Errors
    /// If CRI cannot tell.
    pub fn all_stats(&self) -> Answer<Vec<ContainerStats>> {
        Ok(self.call::<ListContainerStatsResponse>("ListContainerStats", &Nothing {})?.stats)
    }

    /// Changes what a container may use.
    ///
    /// # Errors
    /// If CRI refuses, or the shim: then with its sentence.
    pub fn update(&self, id: &str, linux: LinuxContainerResources) -> Answer<()> {
        let request = UpdateContainerResourcesRequest { id: id.to_owned(), linux: Some(linux) };
        self.call::<Nothing>("UpdateContainerResources", &request).map(drop)
    }

    /// Creates a container of an image and starts it, in the place of others that had its name; its id.
    ///
    /// # Errors
    /// If CRI refuses, or the shim: then with its sentence.
    pub fn run(&self, pod: &Pod, name: &str, image: &str, number: u32) -> Answer<String> {
        let id = self.create(pod, attempt(name, image, number))?;
        self.start(&id)?;
        Ok(id)
    }

    /// Goes on with a new file where the old one was moved away.
    ///
    /// # Errors
    /// If the container does not run.
    pub fn reopen_log(&self, id: &str) -> Answer<()> {
        self.of_container::<Nothing>("ReopenContainerLog", id).map(drop)
    }

    /// Runs a command to its end, or for so many seconds (0: as long as it takes).
    ///
    /// # Errors
    /// If CRI refuses, or the time is over.
    pub fn exec_sync(&self, id: &str, command: &[&str], seconds: i64) -> Answer<ExecSyncResponse> {
        let request = ExecSyncRequest { id: id.to_owned(), cmd: words(command), timeout: seconds };
        self.call("ExecSync", &request)
    }

    /// Where the streams of a command are. On a terminal it has a stdin, too: over a WebSocket without one, containerd closes the
    /// output of a terminal at once.
    ///
    /// # Errors
    /// If CRI refuses.
    pub fn exec(&self, id: &str, command: &[&str], tty: bool) -> Answer<String> {
        let request = ExecRequest {
            id: id.to_owned(),
            cmd: words(command),
            tty,
            stdin: tty,
            stdout: true,
            stderr: !tty,
        };
        Ok(self.call::<StreamAt>("Exec", &request)?.url)
    }

    /// Where the streams of a container are.
    ///
    /// # Errors
    /// If CRI refuses.
    pub fn attach(&self, id: &str, stdin: bool, tty: bool) -> Answer<String> {
        let request = AttachRequest { id: id.to_owned(), stdin, tty, stdout: true, stderr: !tty };
        Ok(self.call::<StreamAt>("Attach", &request)?.url)
    }

    /// Where a port of a pod is.
    ///
    /// # Errors
    /// If CRI refuses.
    pub fn port_forward(&self, pod: &str, port: i32) -> Answer<String> {
        let request = PortForwardRequest { pod: pod.to_owned(), port: vec![port] };
        Ok(self.call::<StreamAt>("PortForward", &request)?.url)
    }

    /// The id of an image, if CRI has it.
    ///
    /// # Errors
    /// If CRI does not answer.
    pub fn image(&self, reference: &str) -> Answer<Option<String>> {
        let image = Some(ImageSpec { image: reference.to_owned() });
        let request = ImageStatusRequest { image };
        let answer: ImageStatusResponse = self.channel.call(IMAGES, "ImageStatus", &request, DEADLINE)?;
        Ok(answer.image.map(|image| image.id))
    }
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}
