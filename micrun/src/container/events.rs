//! What the engine is told about a container, in order.

use std::path::PathBuf;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use super::state::Exit;
use crate::console::Stdio;
use crate::id::Key;

/// Something that happened to a container.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "fields as in the states they come from")]
pub enum TaskEvent {
    /// It exists.
    Created { pid: u32, bundle: PathBuf, stdio: Stdio },
    /// Its guest runs.
    Started { pid: u32 },
    /// Its guest's clock stands still.
    Paused,
    /// And goes on.
    Resumed,
    /// Its guest is gone.
    Exited { pid: u32, exit: Exit },
    /// Nothing is left of it. Without an exit it never ran.
    Deleted { pid: u32, exit: Option<Exit> },
}

/// An event with its container and its time.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// The container.
    pub key: Key,
    /// When it happened.
    pub at: SystemTime,
    /// What happened.
    pub event: TaskEvent,
}

/// What is in the queue.
#[derive(Debug)]
pub enum Item {
    /// Something to tell the engine.
    Occurrence(Occurrence),
    /// Answered once everything before it was told.
    Flush(oneshot::Sender<()>),
}

/// Where events go. All containers of a shim share one queue, so nothing overtakes anything.
#[derive(Clone, Debug)]
pub struct Events(mpsc::UnboundedSender<Item>);

impl Events {
    /// A queue and its end.
    pub fn queue() -> (Events, mpsc::UnboundedReceiver<Item>) {
        let (events, queue) = mpsc::unbounded_channel();
        (Events(events), queue)
    }

    /// Waits until everything that was published so far was told.
    pub async fn flush(&self) {
        let (done, told) = oneshot::channel();
        if self.0.send(Item::Flush(done)).is_ok() {
            // An error means that nobody tells anything any more.
            let _ = told.await;
        }
    }

    pub(super) fn publish(&self, key: &Key, event: TaskEvent) {
        // Without a receiver the shim is on its way out and nobody listens.
        let _ = self.0.send(Item::Occurrence(Occurrence { key: key.clone(), at: SystemTime::now(), event }));
    }
}
