//! The way of a span to the collector: a bounded queue and one task.
//!
//! A call only ever puts its span into the queue. The task sleeps until there is one, waits a moment for those that
//! follow, and sends them together. Spans that a collector did not take for now go with the next ones; nothing
//! wakes up to try again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::http::{self, SendError};
use super::otlp::{self, Resource};
use super::span::Record;
use crate::config::node::Endpoint;

/// How many spans may wait in the queue, and how many more for a collector that is away. A container's life has
/// about twenty, and one takes about half a kilobyte.
const ROOM: usize = 256;

/// How long spans are collected before they are sent: a `run` is a handful of calls within this time.
const GATHER: Duration = Duration::from_millis(200);

/// How long the end of the shim may wait for its last spans.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Takes spans for a collector. Clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Exporter {
    queue: mpsc::Sender<Item>,
    /// How many spans found no room.
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Span(Box<Record>),
    /// Answered once everything before it was sent, or could not be.
    Flush(oneshot::Sender<()>),
}

impl Exporter {
    /// Starts the task. No connection is made before there is a span.
    pub fn start(endpoint: Endpoint) -> Exporter {
        let (queue, spans) = mpsc::channel(ROOM);
        let lost = Arc::new(AtomicU64::new(0));
        let sender = Sender {
            endpoint,
            resource: Resource {
                host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
                pid: std::process::id(),
            },
            waiting: VecDeque::new(),
            lost: Arc::clone(&lost),
            told: false,
        };
        tokio::spawn(sender.run(spans));
        Exporter { queue, lost }
    }

    /// Takes a span, or loses it where too many wait. Never waits itself.
    pub(super) fn take(&self, record: Record) {
        if self.queue.try_send(Item::Span(Box::new(record))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what is there, a second at most: nobody comes after it.
    pub async fn flush(&self) {
        let (done, sent) = oneshot::channel();
        let flushed = async {
            if self.queue.send(Item::Flush(done)).await.is_ok() {
                // An error means that nobody sends anything any more.
                let _ = sent.await;
            }
        };
        if timeout(LAST_SPANS, flushed).await.is_err() {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

/// What runs in the task.
struct Sender {
    endpoint: Endpoint,
    resource: Resource,
    /// What the collector does not have yet, the oldest first.
    waiting: VecDeque<Box<Record>>,
    lost: Arc<AtomicU64>,
    /// The log knows that the collector takes nothing.
    told: bool,
}

impl Sender {
    async fn run(mut self, mut queue: mpsc::Receiver<Item>) {
        while let Some(item) = queue.recv().await {
            let flush = self.gather(item, &mut queue).await;
            self.send().await;
            if let Some(done) = flush {
                self.lose_what_waits();
                self.tell_losses();
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }

    /// Takes an item, and what follows it soon. Ends at once where somebody waits for that.
    async fn gather(&mut self, first: Item, queue: &mut mpsc::Receiver<Item>) -> Option<oneshot::Sender<()>> {
        let until = Instant::now() + GATHER;
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Item::Span(record) => self.keep(record),
                Item::Flush(done) => return Some(done),
            }
            next = timeout_at(until, queue.recv()).await.unwrap_or(None);
        }
        None
    }

    fn keep(&mut self, record: Box<Record>) {
        if self.waiting.len() == ROOM {
            self.waiting.pop_front();
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.waiting.push_back(record);
    }

    async fn send(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let message = otlp::request(&self.resource, self.waiting.iter().map(Box::as_ref));
        match http::post(&self.endpoint, &message).await {
            Ok(()) => {
                self.waiting.clear();
                self.told = false;
                self.tell_losses();
            }
            Err(error) => self.failed(&error),
        }
    }

    /// One line for a collector that stays away, however often it is tried.
    fn failed(&mut self, error: &SendError) {
        if !error.is_for_now() {
            self.lose_what_waits();
        }
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(collector = %self.endpoint, %error, "spans cannot be sent");
        }
    }

    fn lose_what_waits(&mut self) {
        self.lost.fetch_add(self.waiting.len() as u64, Ordering::Relaxed);
        self.waiting.clear();
    }

    /// Told when the collector is back, or never will be for this shim.
    fn tell_losses(&self) {
        let spans = self.lost.swap(0, Ordering::Relaxed);
        if spans > 0 {
            tracing::warn!(collector = %self.endpoint, spans, "spans were lost");
        }
    }
}
