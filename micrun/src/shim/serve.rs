//! The process that stays: a ttrpc server with one thread, which ends when its last container is deleted.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use containerd_shim::Flags;
use containerd_shim::protos::sandbox_async::create_sandbox;
use containerd_shim::protos::shim_async::create_task;
use containerd_shim::protos::ttrpc;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::calls::Calls;
use super::listener::Connections;
use super::publisher::Publisher;
use super::sandbox;
use super::shared::Shared;
use super::task::Service;
use super::{ActionError, EVENTS_ADDRESS, key, log, runtime};
use crate::config::NodeConfig;
use crate::config::node::{self, Endpoint, LogLevel, NodeConfigError, TraceConfig};
use crate::console::Loggers;
use crate::container::create::Context;
use crate::container::events::Events;
use crate::id::Id;
use crate::pedestal::{self, Node};
use crate::store::{self, Store};
use crate::trace::Exporter;

/// How long the last events may take to reach containerd before the process ends without it.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// How long a shim waits for its first container. containerd asks right after `start`.
const FIRST_CREATE: Duration = Duration::from_secs(120);

/// How long a shim without containers waits for Shutdown, or another Create. containerd sends one right away.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// The Task service's name up to containerd 1.7, and since 2.0. The messages are the same.
const TASK_V2: &str = "containerd.task.v2.Task";
const TASK_V3: &str = "containerd.task.v3.Task";

/// Serves until the last container is gone.
pub fn serve(flags: &Flags) -> Result<(), ActionError> {
    let key = key(flags)?;
    crash_point!(ServeBegun);
    let bundle = PathBuf::from(&flags.bundle);
    // A file that cannot be used is told to whoever wants a container.
    let mut config = NodeConfig::load(Path::new(node::PATH));
    let level = config.as_ref().map(|config| config.log.level).unwrap_or_default();
    log::init(&bundle.join("log"), if flags.debug { LogLevel::Debug } else { level });
    own_oom_score();
    if let Ok(config) = &mut config {
        find_collector(&mut config.trace);
    }
    let served = run(flags, key.namespace, config);
    if let Err(error) = &served {
        tracing::error!(%error, "the shim ends");
        // `start` made it for this process, which never served on it.
        let _ = fs::remove_file(&flags.socket);
    }
    served
}

fn run(flags: &Flags, namespace: Id, config: Result<NodeConfig, NodeConfigError>) -> Result<(), ActionError> {
    let listener = become_daemon().map_err(ActionError::when("detaching from containerd"))?;
    let events_address = std::env::var(EVENTS_ADDRESS).map_err(ActionError::when("finding containerd"))?;
    runtime()?.block_on(async {
        let (events, queue) = Events::queue();
        let loggers = Loggers::default();
        tokio::spawn(Publisher::new(namespace.clone(), &events_address).run(queue));
        let context = Context {
            drivers: pedestal::drivers(),
            node: Node::read(),
            config,
            store: Store::at(store::ROOT),
            events: events.clone(),
            loggers: loggers.clone(),
        };
        let shared = Shared::new(context, namespace, format!("unix://{}", flags.socket));
        let server =
            Server::start(listener, Arc::clone(&shared)).await.map_err(ActionError::when("serving"))?;
        tokio::spawn(end_if_forgotten(Arc::clone(&shared)));
        crash_point!(ServeListening);
        shared.idle().await;
        crash_point!(ShutdownAsked);
        // First of all: from here on a `start` for the same pod makes a shim of its own.
        let _ = fs::remove_file(&flags.socket);
        crash_point!(ShutdownUnbound);
        let exporter = server.stop().await;
        if timeout(LAST_EVENTS, events.flush()).await.is_err() {
            tracing::warn!("containerd did not take the last events");
        }
        if let Some(exporter) = exporter {
            exporter.flush().await;
        }
        // All but always there is none left. One that hangs must not stay behind.
        loggers.gone().await;
        crash_point!(ShutdownFlushed);
        Ok(())
    })
}

/// Ends a shim whose containerd died between `start` and the first Create, or between the end of the last container,
/// which may never have been made, and Shutdown.
async fn end_if_forgotten(shared: Arc<Shared>) {
    if timeout(FIRST_CREATE, shared.emptied()).await.is_ok() {
        sleep(SHUTDOWN).await;
    }
    loop {
        shared.end_if_unused();
        shared.emptied().await;
        sleep(SHUTDOWN).await;
    }
}

/// Where the node's operator names no collector, the environment may: containerd's own, which shims inherit.
fn find_collector(config: &mut TraceConfig) {
    if config.endpoint.is_some() {
        return;
    }
    match Endpoint::from_environment(|variable| std::env::var(variable).ok()) {
        Ok(endpoint) => config.endpoint = endpoint,
        Err(error) => tracing::warn!(%error, "spans are sent nowhere"),
    }
}

/// A shim is easier to replace than the containerd that it may be spared with: one more than that has.
fn own_oom_score() {
    let file = "/proc/self/oom_score_adj";
    let score = fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if let Some(score) = score {
        // Only lowering it can be refused.
        let _ = fs::write(file, (score + 1).min(1000).to_string());
    }
}

/// Leaves containerd's session. The listening socket is what `start` left as stdin.
fn become_daemon() -> io::Result<UnixListener> {
    // Fails only for the leader of a session, which needs no other.
    let _ = rustix::process::setsid();
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    let null = fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(listener)
}

/// How long clients may take to hang up.
const HANG_UP: Duration = Duration::from_secs(2);

/// A running ttrpc server.
pub struct Server {
    server: ttrpc::r#async::Server,
    /// How many connections there are.
    connections: watch::Receiver<usize>,
    exporter: Option<Exporter>,
}

/// The server cannot be started.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ServerError(#[from] ttrpc::Error);

impl Server {
    /// Serves the Task service under both of its names, and the Sandbox service.
    ///
    /// # Errors
    ///
    /// Where the socket cannot be served.
    pub async fn start(listener: UnixListener, shared: Arc<Shared>) -> Result<Server, ServerError> {
        let others = |error: io::Error| ttrpc::Error::Others(error.to_string());
        let connections = Connections::of(listener).map_err(others)?;
        let count = connections.count();
        let listener = ttrpc::r#async::transport::Listener::new(connections);
        let calls = Calls::to(&shared);
        let mut services = create_task(Arc::new(Service::new(Arc::clone(&shared))));
        services.extend(create_sandbox(Arc::new(sandbox::Service::new(Arc::clone(&shared)))));
        // A second table of the same handlers: the crate knows one name only.
        let renamed = create_task(Arc::new(Service::new(shared))).remove(TASK_V3);
        services.extend(renamed.map(|service| (TASK_V2.to_owned(), service)));
        let services = services.into_iter().map(|(name, service)| (name, calls.around(service))).collect();
        let mut server = ttrpc::r#async::Server::new().add_listener(listener).register_service(services);
        server.start().await?;
        Ok(Server { server, connections: count, exporter: calls.exporter })
    }

    /// Closes the socket, as soon as all clients have hung up. Gives what is left to flush.
    pub async fn stop(mut self) -> Option<Exporter> {
        self.server.stop_listen().await;
        // They do at once, but not before they have read the reply to the call that ended the shim. Whoever hangs up first
        // must be the client: that of containerd takes a closed connection for a failed call, now and then, even where the
        // reply came before (ttrpc for Go, client.go, `dispatch`: a select of both), and a pod that was shut down would be
        // one that cannot be removed.
        let all_gone = self.connections.wait_for(|count| *count == 0);
        if timeout(HANG_UP, all_gone).await.is_err() {
            tracing::debug!("a client does not hang up");
        }
        // Fails only where the server has stopped already.
        let _ = self.server.shutdown().await;
        self.exporter
    }
}
