//! The task that types a command and listens to the guest.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use micrun_image_spec::os::Shell;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::session::{Next, Session};
use super::status::{self, Outcome};
use crate::console::{Answer, Tap, Taps};
use crate::container::events::{Events, TaskEvent};
use crate::container::state::{Exit, Snapshot, Status};
use crate::id::{Id, Key};

/// How long the word that the guest is gone may take behind the end of its console.
const LAST_WORD: Duration = Duration::from_secs(3);

/// What the task is told.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// To end, by this signal.
    Kill(u8),
    /// That the guest is gone, and the status which that gives.
    GuestGone(u32),
}

/// A command that was started.
pub struct Task {
    pub key: Key,
    pub id: Id,
    pub line: String,
    pub terminal: bool,
    pub shell: Shell,
    pub taps: Taps,
    pub answer: Answer,
    pub limit: Duration,
    pub turn: Arc<Semaphore>,
    pub orders: mpsc::UnboundedReceiver<Order>,
    pub snapshot: watch::Sender<Snapshot>,
    pub events: Events,
    pub told: oneshot::Sender<()>,
}

impl Task {
    /// Runs the command to its end, tells the engine, and closes the streams when their readers have everything.
    pub async fn run(mut self) {
        let outcome = self.work().await;
        let exit = Exit { status: status::status(outcome), at: SystemTime::now() };
        tracing::debug!(container = %self.key, exec = %self.id, status = exit.status, "the command ended");
        self.snapshot.send_modify(|snapshot| {
            snapshot.status = Status::Stopped;
            snapshot.exit = Some(exit);
        });
        let pid = self.snapshot.borrow().pid;
        self.events.publish(&self.key, TaskEvent::ExecExited { id: self.id, pid, exit });
        // The owner waits for it only where the guest is gone.
        let _ = self.told.send(());
        self.answer.finish().await;
    }

    async fn work(&mut self) -> Outcome {
        let turn = Arc::clone(&self.turn);
        if turn.available_permits() == 0 {
            tracing::debug!(container = %self.key, exec = %self.id, "another command has the console: waiting");
        }
        let _turn = tokio::select! {
            order = self.orders.recv() => return ordered(order),
            turn = turn.acquire() => turn,
        };
        let mut tap = self.taps.tap();
        let (mut session, keys) = Session::begin(self.shell.clone(), self.line.clone(), self.terminal);
        tap.write(keys);
        let mut output = Vec::new();
        let outcome = self.converse(&mut session, &mut tap, &mut output).await;
        self.answer.push(&output);
        if let (Outcome::Killed(_) | Outcome::TooLate, Some(keys)) = (outcome, session.interrupt()) {
            tap.write(keys);
        }
        outcome
    }

    /// Until the prompt is back, or it must not go on.
    async fn converse(&mut self, session: &mut Session, tap: &mut Tap, output: &mut Vec<u8>) -> Outcome {
        let too_late = Instant::now() + self.limit;
        loop {
            self.answer.push(output);
            output.clear();
            let due = session.deadline().map(Instant::from_std);
            // Not biased: a guest that floods must not keep a Kill waiting.
            tokio::select! {
                bytes = tap.read() => match bytes {
                    Some(bytes) => session.feed(&bytes, std::time::Instant::now(), output),
                    None => return self.without_console(session, output).await,
                },
                order = self.orders.recv() => {
                    // All that the guest ever wrote is here by now.
                    while let Some(bytes) = tap.try_read() {
                        session.feed(&bytes, std::time::Instant::now(), output);
                    }
                    return in_the_end(session, output).unwrap_or_else(|| ordered(order));
                }
                () = at(due) => match session.on_time(output) {
                    Next::Type(keys) => tap.write(keys),
                    Next::Done { failed } => return Outcome::Prompt { failed },
                },
                () = sleep_until(too_late) => {
                    let typed = session.is_typed();
                    tracing::warn!(container = %self.key, exec = %self.id, typed, "the prompt did not come in time");
                    session.end(output);
                    return Outcome::TooLate;
                }
                () = self.answer.wait_writable() => self.answer.flush(),
            }
        }
    }

    /// The console ended: because the guest did, most of the time, and its owner will say so.
    async fn without_console(&mut self, session: &mut Session, output: &mut Vec<u8>) -> Outcome {
        if let Some(outcome) = in_the_end(session, output) {
            return outcome;
        }
        match timeout(LAST_WORD, self.orders.recv()).await {
            Ok(order) => ordered(order),
            Err(_) => Outcome::ConsoleLost,
        }
    }
}

/// A command whose prompt was back in time has done its work.
fn in_the_end(session: &mut Session, output: &mut Vec<u8>) -> Option<Outcome> {
    session.end(output).map(|failed| Outcome::Prompt { failed })
}

fn ordered(order: Option<Order>) -> Outcome {
    match order {
        Some(Order::Kill(signal)) => Outcome::Killed(signal),
        Some(Order::GuestGone(status)) => Outcome::GuestGone(status),
        // The container is being deleted, or the shim ends.
        None => Outcome::ConsoleLost,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
