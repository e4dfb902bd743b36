//! What the engine is told about a container, in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use super::state::Exit;
use crate::console::Stdio;
use crate::id::{Id, Key};

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
    /// Its memory is used up.
    OutOfMemory,
    /// A command for its guest's shell exists.
    ExecAdded { id: Id },
    /// The command is typed as soon as the console is free.
    ExecStarted { id: Id, pid: u32 },
    /// The command is over.
    ExecExited { id: Id, pid: u32, exit: Exit },
    /// Its guest is gone.
    Exited { pid: u32, exit: Exit },
    /// Nothing is left of it. Without an exit it never ran.
    Deleted { pid: u32, exit: Option<Exit> },
}

impl TaskEvent {
    /// Whether it happens once at most in a container's life, and an engine that misses it has a wrong idea for good.
    fn is_of_a_life(&self) -> bool {
        match self {
            TaskEvent::Paused
            | TaskEvent::Resumed
            | TaskEvent::ExecAdded { .. }
            | TaskEvent::ExecStarted { .. }
            | TaskEvent::ExecExited { .. } => false,
            TaskEvent::Created { .. }
            | TaskEvent::Started { .. }
            | TaskEvent::OutOfMemory
            | TaskEvent::Exited { .. }
            | TaskEvent::Deleted { .. } => true,
        }
    }
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

/// How many events may wait for an engine that is away. Beyond that, events of states that do not last are left out,
/// with a line in the log: a container's few other ones always have room.
const WAITING: usize = 1024;

/// Where events go. All containers of a shim share one queue, so nothing overtakes anything.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
}

/// The other end.
#[derive(Debug)]
pub struct Queue {
    items: mpsc::UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
}

impl Events {
    /// A queue and its end.
    pub fn queue() -> (Events, Queue) {
        let (queue, items) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        (Events { queue, waiting: Arc::clone(&waiting) }, Queue { items, waiting })
    }

    /// Waits until everything that was published so far was told.
    pub async fn flush(&self) {
        let (done, told) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).is_ok() {
            // An error means that nobody tells anything any more.
            let _ = told.await;
        }
    }

    pub(super) fn publish(&self, key: &Key, event: TaskEvent) {
        if self.waiting.load(Ordering::Relaxed) >= WAITING && !event.is_of_a_life() {
            tracing::warn!(container = %key, ?event, waiting = WAITING, "the engine is away: an event is left out");
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Without a receiver the shim is on its way out and nobody listens.
        let _ =
            self.queue.send(Item::Occurrence(Occurrence { key: key.clone(), at: SystemTime::now(), event }));
    }
}

impl Queue {
    /// The next item; none when nobody is left who could publish one.
    pub async fn next(&mut self) -> Option<Item> {
        let item = self.items.recv().await;
        if let Some(Item::Occurrence(_)) = item {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        item
    }
}
