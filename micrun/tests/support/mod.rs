//! What the protocol tests share: a shim in this process, a containerd that takes its events, and the echo
//! pedestal.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it; a test may unwrap")]

pub mod collector;
pub mod containerd;
pub mod echo;
pub mod pty;
pub mod shell;

use std::collections::HashMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::api::{CreateTaskRequest, StateRequest, StateResponse};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim_async::{Client, TaskClient};
use containerd_shim_protos::ttrpc::{self, Code, context};
use micrun::config::NodeConfig;
use micrun::config::node::NodeConfigError;
use micrun::console::Loggers;
use micrun::container::create::Context;
use micrun::container::events::Events;
use micrun::id::Id;
use micrun::pedestal::{Driver, Node};
use micrun::shim::publisher::Publisher;
use micrun::shim::shared::Shared;
use micrun::shim::{self};
use micrun::store::Store;
use micrun::trace::Exporter;
use micrun_image_spec::board::Boards;

use containerd::Containerd;

/// A generous deadline for things that happen in milliseconds.
pub const SOON: Duration = Duration::from_secs(20);

/// A shim that serves on a socket, with everything in a directory of its own.
pub struct Shim {
    pub dir: tempfile::TempDir,
    pub task: TaskClient,
    pub client: Client,
    pub containerd: Containerd,
    pub shared: Arc<Shared>,
    pub loggers: Loggers,
    server: Option<shim::Server>,
}

impl Shim {
    /// A shim with one driver, on a node with nothing in particular.
    pub async fn start(driver: impl Driver + 'static) -> Shim {
        Shim::on(Node::new(Boards::builtin(), []), driver).await
    }

    /// A shim with one driver, whose operator has decided.
    pub async fn configured(config: NodeConfig, driver: impl Driver + 'static) -> Shim {
        Shim::with(Ok(config), Node::new(Boards::builtin(), []), driver).await
    }

    /// A shim with one driver on this node.
    pub async fn on(node: Node, driver: impl Driver + 'static) -> Shim {
        Shim::with(Ok(NodeConfig::default()), node, driver).await
    }

    /// A shim with one driver on this node, whose operator has decided, or has written nonsense.
    pub async fn with(
        config: Result<NodeConfig, NodeConfigError>,
        node: Node,
        driver: impl Driver + 'static,
    ) -> Shim {
        // A tmpfs, as /run is: no test waits for a disk.
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let containerd = Containerd::start(dir.path().join("events.sock")).await;
        let namespace = Id::new("test").unwrap();
        let (events, queue) = Events::queue();
        tokio::spawn(Publisher::new(namespace.clone(), &containerd.address()).run(queue));
        let loggers = Loggers::default();
        let context = Context {
            drivers: vec![Arc::new(driver)],
            node: Ok(node),
            config,
            store: Store::at(dir.path().join("state")),
            events,
            loggers: loggers.clone(),
        };
        let socket = dir.path().join("shim.sock");
        let address = format!("unix://{}", socket.display());
        let shared = Shared::new(context, namespace, address.clone());
        let listener = UnixListener::bind(&socket).unwrap();
        let server = shim::Server::start(listener, Arc::clone(&shared)).await.unwrap();
        let client = Client::connect(&address).await.unwrap();
        let task = TaskClient::new(client.clone());
        Shim { task, client, containerd, shared, loggers, server: Some(server), dir }
    }

    /// Ends the server. Gives what takes spans, to be flushed.
    pub fn stop(&mut self) -> impl Future<Output = Option<Exporter>> + use<> {
        self.server.take().unwrap().stop()
    }

    /// The state directory of a container.
    pub fn state_dir(&self, id: &str) -> PathBuf {
        self.dir.path().join("state/test").join(id)
    }

    /// A bundle whose image is well-formed.
    pub fn bundle(&self, id: &str) -> Bundle {
        Bundle::new(self.dir.path().join("bundles").join(id))
    }

    /// Creates a container from a bundle, without streams.
    pub async fn create(&self, id: &str, bundle: &Bundle) -> ttrpc::Result<u32> {
        let request = CreateTaskRequest { bundle: bundle.text(), ..create_request(id) };
        Ok(self.task.create(soon(), &request).await?.pid)
    }

    /// Creates and starts one with a well-formed image.
    pub async fn run(&self, id: &str) {
        self.create(id, &self.bundle(id)).await.unwrap();
        self.task.start(soon(), &start(id)).await.unwrap();
    }

    pub async fn state(&self, id: &str) -> ttrpc::Result<StateResponse> {
        self.task.state(soon(), &StateRequest { id: id.to_owned(), ..Default::default() }).await
    }
}

/// A bundle directory.
pub struct Bundle {
    pub path: PathBuf,
}

pub const CLIENT_CONF: &str =
    "[Mica]\nName=x\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\n\n[MicRun]\nboard=qemu_arm64\n";

impl Bundle {
    pub fn new(path: PathBuf) -> Bundle {
        fs::create_dir_all(path.join("rootfs")).unwrap();
        let bundle = Bundle { path };
        bundle.annotate(&[]);
        bundle.file("client.conf", CLIENT_CONF);
        bundle.file("firmware.elf", "not looked at by the shim");
        bundle
    }

    /// Writes a file of the image.
    pub fn file(&self, name: &str, text: &str) {
        fs::write(self.path.join("rootfs").join(name), text).unwrap();
    }

    /// Writes config.json with these annotations.
    pub fn annotate(&self, annotations: &[(&str, &str)]) {
        let annotations: HashMap<&str, &str> = annotations.iter().copied().collect();
        let spec = serde_json::json!({
            "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "annotations": annotations,
        });
        fs::write(self.path.join("config.json"), spec.to_string()).unwrap();
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    pub fn text(&self) -> String {
        self.path.display().to_string()
    }
}

/// A request context with a generous deadline.
pub fn soon() -> context::Context {
    context::with_duration(SOON)
}

pub fn create_request(id: &str) -> CreateTaskRequest {
    CreateTaskRequest { id: id.to_owned(), ..Default::default() }
}

/// A request that names a container and nothing else.
macro_rules! requests {
    ($($name:ident: $kind:ident),*) => {
        $(pub fn $name(id: &str) -> containerd_shim_protos::api::$kind {
            containerd_shim_protos::api::$kind { id: id.to_owned(), ..Default::default() }
        })*
    };
}
requests!(start: StartRequest, delete: DeleteRequest, wait: WaitRequest, pids: PidsRequest,
    connect: ConnectRequest, stats: StatsRequest, pause: PauseRequest, resume: ResumeRequest,
    shutdown: ShutdownRequest, checkpoint: CheckpointTaskRequest);

/// An update to these `linux.resources`.
pub fn update(id: &str, resources: serde_json::Value) -> containerd_shim_protos::api::UpdateTaskRequest {
    let any = Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".to_owned(),
        value: resources.to_string().into_bytes(),
        ..Default::default()
    };
    let resources = MessageField::some(any);
    containerd_shim_protos::api::UpdateTaskRequest { id: id.to_owned(), resources, ..Default::default() }
}

pub fn kill(id: &str, signal: u32) -> containerd_shim_protos::api::KillRequest {
    containerd_shim_protos::api::KillRequest { id: id.to_owned(), signal, ..Default::default() }
}

/// The code and the sentence of a refusal.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(result: ttrpc::Result<T>) -> (Code, String) {
    match result.unwrap_err() {
        ttrpc::Error::RpcStatus(status) => (status.code(), status.message),
        other => panic!("not an answer: {other}"),
    }
}

/// True if nothing is in a directory, or there is none.
pub fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}
