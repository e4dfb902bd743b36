//! containerd, as far as guests need it: its images, snapshots, containers and tasks in one namespace.
//!
//! - [`images`]: names that keep a guest's images, and root file systems of them
//! - [`containers`]: the container of a guest, and who looks after it
//! - [`tasks`]: its run
//! - [`spec`]: the OCI configuration of a guest
//! - [`programs`]: `ctr`, which brings images, and `micrun-image-builder`, which verifies them

pub mod containers;
pub mod images;
pub mod programs;
pub mod spec;
pub mod tasks;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use micrun_unix_grpc::containerd::NAMESPACE;
use micrun_unix_grpc::containerd::node::{PLUGINS, PluginsRequest, PluginsResponse};
use micrun_unix_grpc::{Channel, GrpcError, Status};
use prost::Message;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer may take that costs nothing.
const GLANCE: Duration = Duration::from_secs(5);

/// A connection to containerd, in one of its namespaces.
pub struct Node {
    channel: Channel,
    /// Its socket, for `ctr`.
    address: PathBuf,
    namespace: String,
    snapshotter: String,
}

/// Why containerd did not do something.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Nobody listens.
    #[error(
        "no containerd answers at {}: {source}; start it (systemctl start containerd), or give its socket with --address", .address.display()
    )]
    Connect {
        /// The socket.
        address: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A call failed.
    #[error("containerd could not {doing}: {source}")]
    Call {
        /// What it was asked for.
        doing: String,
        /// Its answer.
        source: GrpcError,
    },
    /// An answer that makes no sense.
    #[error("{what}: {problem}")]
    Odd {
        /// What was looked at.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A program failed.
    #[error(transparent)]
    Program(#[from] programs::ProgramError),
}

impl Node {
    /// Connects. At boot containerd may still be on its way: it is waited for until then.
    ///
    /// # Errors
    ///
    /// If nobody listens, or there cannot be such a namespace.
    pub fn connect(
        address: &Path,
        namespace: &str,
        snapshotter: &str,
        until: Instant,
    ) -> Result<Node, NodeError> {
        let mut channel = loop {
            match Channel::connect(address) {
                Ok(channel) => break channel,
                Err(error) => {
                    let may_come =
                        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
                    if !may_come || Instant::now() >= until {
                        return Err(NodeError::Connect { address: address.to_owned(), source: error });
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        };
        channel.set_metadata(NAMESPACE, namespace).map_err(failed("take the namespace"))?;
        Ok(Node {
            channel,
            address: address.to_owned(),
            namespace: namespace.to_owned(),
            snapshotter: snapshotter.to_owned(),
        })
    }

    /// The words that containerd's restart monitor knows; none if there is no monitor. That of 1.6 knows no words: it
    /// starts everything again.
    ///
    /// # Errors
    ///
    /// If containerd does not answer.
    pub fn restart_policies(&self) -> Result<Option<Vec<String>>, NodeError> {
        let request = PluginsRequest { filters: vec!["id==restart".to_owned()] };
        let answer: PluginsResponse =
            self.call(PLUGINS, "Plugins", &request, || "list its plugins".to_owned())?;
        let monitor = answer.plugins.into_iter().find(|plugin| plugin.id == "restart");
        Ok(monitor.map(|plugin| plugin.capabilities))
    }

    /// Whether containerd is still there. One that is about to end is given time to.
    pub fn answers(&self) -> bool {
        std::thread::sleep(Duration::from_secs(1));
        let request = PluginsRequest { filters: vec!["id==restart".to_owned()] };
        self.channel.call::<PluginsResponse>(PLUGINS, "Plugins", &request, GLANCE).is_ok()
    }

    fn call<A: Message + Default>(
        &self,
        service: &str,
        method: &str,
        request: &impl Message,
        doing: impl FnOnce() -> String,
    ) -> Result<A, NodeError> {
        self.channel
            .call(service, method, request, PATIENCE)
            .map_err(|source| NodeError::Call { doing: doing(), source })
    }
}

fn failed(doing: impl Into<String>) -> impl FnOnce(GrpcError) -> NodeError {
    let doing = doing.into();
    move |source| NodeError::Call { doing, source }
}

/// What is not there, as `None`.
fn optional<T>(answer: Result<T, NodeError>) -> Result<Option<T>, NodeError> {
    match answer {
        Err(NodeError::Call { source, .. }) if source.is(Status::NOT_FOUND) => Ok(None),
        other => other.map(Some),
    }
}
