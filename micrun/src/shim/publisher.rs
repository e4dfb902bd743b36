//! Events to containerd: in order, each until containerd has taken it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use containerd_shim::event::Event;
use containerd_shim::protos::events::task::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskIO, TaskOOM, TaskPaused,
    TaskResumed, TaskStart,
};
use containerd_shim::protos::protobuf::well_known_types::any::Any;
use containerd_shim::protos::protobuf::{self, Message, MessageField};
use containerd_shim::protos::shim::event::Envelope;
use containerd_shim::protos::shim::events::ForwardRequest;
use containerd_shim::protos::shim_async::{Client, EventsClient};
use containerd_shim::protos::ttrpc::{self, Code, context};

use super::address::path_of;
use super::reply::timestamp;
use crate::container::events::{Item, Occurrence, Queue, TaskEvent};
use crate::id::{Id, Key};

/// How long containerd may take to accept one event.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The wait before a failed event is sent again: doubled each time, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Tells containerd what happened.
pub struct Publisher {
    namespace: Id,
    socket: PathBuf,
    client: Option<EventsClient>,
}

impl Publisher {
    /// A publisher for the containerd that takes events at `address` (a path or a `unix://` URI).
    pub fn new(namespace: Id, address: &str) -> Publisher {
        Publisher { namespace, socket: path_of(address), client: None }
    }

    /// Sends until the queue is closed. An event that does not arrive is sent again until it does, and
    /// nothing overtakes it; while containerd is away, events wait.
    pub async fn run(mut self, mut queue: Queue) {
        while let Some(item) = queue.next().await {
            match item {
                Item::Occurrence(occurrence) => self.deliver(&occurrence).await,
                // Whoever waited may have given up.
                Item::Flush(done) => drop(done.send(())),
            }
        }
    }

    async fn deliver(&mut self, occurrence: &Occurrence) {
        let mut wait = RETRY.0;
        loop {
            let error = match self.forward(occurrence).await {
                Ok(()) => {
                    crash_point!(EventTaken);
                    return;
                }
                Err(ttrpc::Error::RpcStatus(status)) if is_final(status.code()) => {
                    tracing::warn!(container = %occurrence.key, reason = %status.message(), "containerd refuses an event");
                    return;
                }
                Err(error) => error,
            };
            tracing::debug!(container = %occurrence.key, %error, "containerd does not take an event yet");
            self.client = None;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    async fn forward(&mut self, occurrence: &Occurrence) -> ttrpc::Result<()> {
        let client = match &self.client {
            Some(client) => client,
            None => {
                let client = Client::connect(&format!("unix://{}", self.socket.display())).await?;
                self.client.insert(EventsClient::new(client))
            }
        };
        let (topic, event) = message(&occurrence.key, &occurrence.event)
            .map_err(|error| ttrpc::Error::Others(error.to_string()))?;
        let envelope = Envelope {
            timestamp: MessageField::some(timestamp(occurrence.at)),
            namespace: self.namespace.to_string(),
            topic,
            event: MessageField::some(event),
            ..Default::default()
        };
        let request = ForwardRequest { envelope: MessageField::some(envelope), ..Default::default() };
        client.forward(context::with_duration(ANSWER_LIMIT), &request).await.map(drop)
    }
}

/// Whether containerd would say the same again.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::INVALID_ARGUMENT
            | Code::NOT_FOUND
            | Code::ALREADY_EXISTS
            | Code::PERMISSION_DENIED
            | Code::UNIMPLEMENTED
    )
}

/// An event's topic and message.
fn message(key: &Key, event: &TaskEvent) -> protobuf::Result<(String, Any)> {
    let container_id = key.id.to_string();
    match event {
        TaskEvent::Created { pid, bundle, stdio } => {
            let io = TaskIO {
                stdin: stdio.stdin.clone(),
                stdout: stdio.stdout.clone(),
                stderr: stdio.stderr.clone(),
                terminal: stdio.terminal,
                ..Default::default()
            };
            packed(&TaskCreate {
                container_id,
                bundle: bundle.display().to_string(),
                io: MessageField::some(io),
                pid: *pid,
                ..Default::default()
            })
        }
        TaskEvent::Started { pid } => packed(&TaskStart { container_id, pid: *pid, ..Default::default() }),
        TaskEvent::Paused => packed(&TaskPaused { container_id, ..Default::default() }),
        TaskEvent::Resumed => packed(&TaskResumed { container_id, ..Default::default() }),
        TaskEvent::OutOfMemory => packed(&TaskOOM { container_id, ..Default::default() }),
        TaskEvent::ExecAdded { id } => {
            packed(&TaskExecAdded { container_id, exec_id: id.to_string(), ..Default::default() })
        }
        TaskEvent::ExecStarted { id, pid } => packed(&TaskExecStarted {
            container_id,
            exec_id: id.to_string(),
            pid: *pid,
            ..Default::default()
        }),
        TaskEvent::ExecExited { id, pid, exit } => packed(&TaskExit {
            id: id.to_string(),
            container_id,
            pid: *pid,
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..Default::default()
        }),
        TaskEvent::Exited { pid, exit } => packed(&TaskExit {
            // The same as the container's: that is how engines know the end of the container itself.
            id: container_id.clone(),
            container_id,
            pid: *pid,
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..Default::default()
        }),
        TaskEvent::Deleted { pid, exit } => packed(&TaskDelete {
            container_id,
            pid: *pid,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: MessageField::some(timestamp(exit.map_or_else(SystemTime::now, |exit| exit.at))),
            ..Default::default()
        }),
    }
}

/// A message's own descriptor knows its name, too, but looking it up builds the descriptors of all messages, which
/// then stay in memory.
fn packed<T: Event + Message>(message: &T) -> protobuf::Result<(String, Any)> {
    let type_url = format!("containerd.events.{}", T::NAME);
    Ok((message.topic(), Any { type_url, value: message.write_to_bytes()?, ..Default::default() }))
}
