//! The task that owns a container.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use micrun_image_spec::units::Mib;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::events::{Events, TaskEvent};
use super::exec::{self, Execs};
use super::exit::{self, KillReason};
use super::share::Share;
use super::state::{Exit, Operation, Snapshot, Status};
use super::stop::{Alarm, SIGKILL};
use super::{ContainerError, Info, Reply, Request};
use crate::console::Hub;
use crate::pedestal::{Driver, DriverError, Event, ExitCause, Guest, Node, Record, Usage};
use crate::reservations;
use crate::store::{Entry, State, Store};
use crate::trace::{self, Span, on_behalf_of, step};

/// How long Delete waits for output that nobody has read.
const UNREAD_OUTPUT: Duration = Duration::from_secs(2);

/// A container and all that belongs to it.
pub(super) struct Owner {
    pub info: Arc<Info>,
    pub driver: Arc<dyn Driver>,
    pub node: Node,
    pub guest: Box<dyn Guest>,
    pub record: Record,
    pub store: Store,
    pub entry: Entry,
    pub share: Share,
    /// As it is on disk.
    pub state: State,
    pub hub: Hub,
    pub execs: Execs,
    pub events: Events,
    pub snapshot: watch::Sender<Snapshot>,
    pub kill: Option<KillReason>,
    /// What happens by itself, and when.
    pub alarm: Option<(Instant, Alarm)>,
}

/// What reaches the task from outside.
pub(super) struct Inbox {
    /// Each with the span of the call that asks for it.
    pub requests: mpsc::Receiver<(Request, Option<Span>)>,
    pub guest: mpsc::UnboundedReceiver<Event>,
    pub interrupts: mpsc::UnboundedReceiver<()>,
}

impl Owner {
    /// Owns the container until it is deleted.
    pub async fn run(mut self, mut inbox: Inbox) {
        let mut told = true;
        loop {
            tokio::select! {
                biased;
                event = inbox.guest.recv(), if told => match event {
                    Some(event) => self.on_event(event).await,
                    None => {
                        told = false;
                        self.finish(ExitCause::Failed("its driver has lost it".to_owned())).await;
                    }
                },
                Some(()) = inbox.interrupts.recv() => self.on_interrupt().await,
                alarm = ringing(self.alarm) => self.on_alarm(alarm).await,
                request = inbox.requests.recv() => {
                    // Without a request every handle is gone and the shim on its way out.
                    let Some((request, caller)) = request else { return };
                    let answer = on_behalf_of(caller.clone(), self.answer(request)).await;
                    if let Some((snapshot, reply)) = answer {
                        return on_behalf_of(caller, self.leave(snapshot, reply)).await;
                    }
                }
            }
        }
    }

    /// Carries a request out. A caller that went away is no reason to undo what was done, so replies may go
    /// nowhere. Only the reply to a Delete that succeeded is left to be given, after the last output.
    async fn answer(&mut self, request: Request) -> Option<(Snapshot, Reply<Snapshot>)> {
        trace::note("micrun.driver", self.driver.name());
        match request {
            Request::Start(reply) => drop(reply.send(self.start().await)),
            Request::Kill(signal, reply) => drop(reply.send(self.signal(signal).await)),
            Request::Pause(reply) => drop(reply.send(self.pause().await)),
            Request::Resume(reply) => drop(reply.send(self.resume().await)),
            Request::Update(asked, reply) => drop(reply.send(self.update(asked).await)),
            Request::Usage(reply) => drop(reply.send(self.usage().await)),
            Request::CloseStdin(reply) => {
                self.hub.close_stdin();
                drop(reply.send(Ok(())));
            }
            Request::Exec(request) => self.exec(request).await,
            Request::Delete(reply) => match self.delete().await {
                Ok(snapshot) => return Some((snapshot, reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
        }
        None
    }

    pub(super) fn status(&self) -> Status {
        self.snapshot.borrow().status
    }

    fn set(&self, status: Status) {
        self.snapshot.send_modify(|snapshot| snapshot.status = status);
    }

    pub(super) fn publish(&self, event: TaskEvent) {
        self.events.publish(&self.info.key, event);
    }

    async fn start(&mut self) -> Result<u32, ContainerError> {
        self.status().check(Operation::Start)?;
        if let Err(error) = step("run the guest", self.guest.start()).await {
            self.kill = Some(KillReason::NoStart);
            // Why it did not start says more than why the rest of it cannot be stopped.
            if let Err(also) = self.stop_by_force().await {
                tracing::warn!(container = %self.info.key, error = %also, "stopping a guest that did not start");
            }
            return Err(error.into());
        }
        crash_point!(StartRuns);
        reservations::settle(&self.info.key, &self.entry, &mut self.state);
        self.set(Status::Running);
        self.set_alarm();
        let pid = self.snapshot.borrow().pid;
        self.publish(TaskEvent::Started { pid });
        crash_point!(StartTold);
        Ok(pid)
    }

    async fn pause(&mut self) -> Result<(), ContainerError> {
        self.status().check(Operation::Pause)?;
        if !self.guest.capabilities().pause {
            return Err(ContainerError::Unsupported("this guest's pedestal cannot pause it"));
        }
        self.guest.pause().await?;
        crash_point!(Paused);
        self.set_paused();
        crash_point!(PauseTold);
        Ok(())
    }

    async fn resume(&mut self) -> Result<(), ContainerError> {
        self.status().check(Operation::Resume)?;
        self.guest.resume().await?;
        crash_point!(Resumed);
        self.set_resumed();
        Ok(())
    }

    /// By request or, where an answer came too late, by the pedestal's word.
    fn set_paused(&mut self) {
        if self.status() == Status::Running {
            self.set(Status::Paused);
            self.publish(TaskEvent::Paused);
        }
    }

    fn set_resumed(&mut self) {
        if self.status() == Status::Paused {
            self.set(Status::Running);
            self.publish(TaskEvent::Resumed);
        }
    }

    async fn usage(&mut self) -> Result<Usage, ContainerError> {
        let used = match self.status() {
            Status::Stopped => Usage::default(),
            _ => self.guest.usage().await?,
        };
        Ok(Usage { memory_limit: used.memory_limit.or(self.share.given.memory.map(Mib::bytes)), ..used })
    }

    async fn on_event(&mut self, event: Event) {
        match event {
            Event::Exited(cause) => self.finish(cause).await,
            Event::Paused => self.set_paused(),
            Event::Resumed => self.set_resumed(),
            Event::OutOfMemory => {
                tracing::warn!(container = %self.info.key, "the memory of the guest's cgroup is used up");
                self.publish(TaskEvent::OutOfMemory);
            }
            Event::ConsoleLost(why) => {
                tracing::warn!(container = %self.info.key, why, "the console of the guest is lost");
            }
            Event::ConsoleBack(console) => self.hub.attach(console),
        }
    }

    /// The guest is gone: its last output, the commands in its shell, then its state, then the event.
    pub(super) async fn finish(&mut self, cause: ExitCause) {
        self.alarm = None;
        if self.status() == Status::Stopped {
            return;
        }
        self.hub.drain().await;
        crash_point!(ExitDrained);
        self.execs.guest_gone(exec::status::of_guest(&cause, self.kill)).await;
        let exit = Exit { status: exit::status(&cause, self.kill), at: SystemTime::now() };
        tracing::info!(container = %self.info.key, status = exit.status, %cause, "the guest ended");
        self.snapshot.send_modify(|snapshot| {
            snapshot.status = Status::Stopped;
            snapshot.exit = Some(exit);
        });
        crash_point!(ExitSet);
        let pid = self.snapshot.borrow().pid;
        self.publish(TaskEvent::Exited { pid, exit });
        crash_point!(ExitTold);
    }

    async fn delete(&mut self) -> Result<Snapshot, ContainerError> {
        self.status().check(Operation::Delete)?;
        if self.status() == Status::Created {
            self.guest.force().await.or_else(unless_unsupported)?;
            // As runc's shim does: who waits for a container that never ran learns that it will not.
            self.kill = Some(KillReason::Signal(SIGKILL));
            self.finish(ExitCause::Stopped).await;
        }
        step("free the guest", self.driver.destroy(&self.record)).await?;
        crash_point!(DeleteDestroyed);
        if let Err(error) = self.entry.remove() {
            tracing::warn!(container = %self.info.key, %error, "files are left behind");
        }
        crash_point!(DeleteRemoved);
        Ok(*self.snapshot.borrow())
    }

    async fn leave(self, snapshot: Snapshot, reply: Reply<Snapshot>) {
        self.hub.close(UNREAD_OUTPUT).await;
        crash_point!(DeleteClosed);
        self.events.publish(&self.info.key, TaskEvent::Deleted { pid: snapshot.pid, exit: snapshot.exit });
        crash_point!(DeleteTold);
        let _ = reply.send(Ok(snapshot));
    }
}

/// A guest that cannot be forced is left to [`Driver::destroy`].
fn unless_unsupported(error: DriverError) -> Result<(), DriverError> {
    match error {
        DriverError::Unsupported(_) => Ok(()),
        other => Err(other),
    }
}

async fn ringing(alarm: Option<(Instant, Alarm)>) -> Alarm {
    match alarm {
        Some((at, alarm)) => {
            tokio::time::sleep_until(at).await;
            alarm
        }
        None => std::future::pending().await,
    }
}
