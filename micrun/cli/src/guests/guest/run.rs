//! A version's container and task: made, started, judged, watched, removed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use micrun_unix_grpc::Status;
use micrun_unix_grpc::containerd::containers::Container;

use super::image::make_log_folder;
use super::{Did, Guest, boot_id};
use crate::guests::folder::log_file;
use crate::guests::health::{self, Patient, Verdict};
use crate::guests::model::{Declaration, Generation, Restart, Seen};
use crate::guests::node::NodeError;
use crate::guests::node::containers::{GENERATION, is_monitored_as, is_started_at_boot, monitor_labels};
use crate::guests::node::images::{GUEST, Labels};
use crate::guests::node::tasks::TaskStatus;
use crate::guests::step::pass;
use crate::guests::{GuestError, say};

/// How long the monitor may take to begin with what it found when containerd started.
const MONITOR: Duration = Duration::from_secs(3);
/// How long somebody else may take to start a guest.
const TAKEOVER: Duration = Duration::from_secs(10);

impl Guest<'_> {
    /// Makes sure that this version runs and is healthy. The monitor gets it either way: one that is not healthy is started
    /// again, too, when it ends.
    pub(super) fn run(&mut self, generation: &Generation) -> Result<Did, GuestError> {
        let container = self.container_of(generation)?;
        let judged = self.judge(&container, generation);
        let watched = self.watch(generation);
        judged.and_then(|did| watched.map(|()| did))
    }

    /// Starts a guest that does not run, and waits until it is healthy.
    pub(super) fn judge(
        &mut self,
        container: &Container,
        generation: &Generation,
    ) -> Result<Did, GuestError> {
        let judged = self.try_judge(container, generation);
        judged.map_err(|error| {
            // Where containerd answers others, it is the guest whose answer does not come.
            let is_guests = error.is_of_containerd() && self.node.answers();
            if is_guests { GuestError::Unhealthy { why: error.to_string() } } else { error }
        })
    }

    fn try_judge(&mut self, container: &Container, generation: &Generation) -> Result<Did, GuestError> {
        let (did, from) = self.start(container, generation)?;
        let log = log_file(generation);
        let boot = boot_id();
        let seen = |pid: u32, seen: &Seen| seen.pid == pid && seen.boot == boot;
        let is_seen = match (did, self.node.task(self.name)?) {
            (Did::Kept, Some(task)) => self.state.seen.as_ref().is_some_and(|run| seen(task.pid, run)),
            _ => false,
        };
        if !is_seen {
            let verdict = self.patient(log.clone().map(|path| (path, from))).examine(None)?;
            self.state.seen = match verdict {
                Verdict::Healthy(pid) => Some(Seen { boot, pid, log: health::length(log.as_deref()) }),
                Verdict::Done => None,
                Verdict::Unhealthy(why) => return Err(GuestError::Unhealthy { why }),
            };
            self.save()?;
        }
        pass("healthy");
        Ok(did)
    }

    /// For those who look at its health.
    pub(in crate::guests) fn patient(&self, log: Option<(PathBuf, u64)>) -> Patient<'_> {
        let Declaration { health, restart, .. } = self.declaration;
        Patient { name: self.name, node: self.node, health, restart: *restart, log }
    }

    /// The container of this version. One of another version goes, with its guest, when all that the new one needs is there.
    pub(super) fn container_of(&self, generation: &Generation) -> Result<Container, GuestError> {
        let name = self.name;
        if let Some(found) = self.own_container()? {
            if found.labels.get(GENERATION) == Some(&generation.id()) {
                return Ok(found);
            }
            self.prepare(generation)?;
            self.remove_container(&found)?;
        } else {
            self.prepare(generation)?;
        }
        self.node.create_container(name, generation)?;
        pass("created");
        let gone =
            || NodeError::Odd { what: name.to_owned(), problem: "somebody removes its container".to_owned() };
        Ok(self.own_container()?.ok_or_else(gone)?)
    }

    pub(super) fn own_container(&self) -> Result<Option<Container>, GuestError> {
        match self.node.container(self.name)? {
            Some(found) if found.labels.get(GUEST).is_none_or(|name| name != self.name) => {
                Err(GuestError::NotOurs { container: format!("{}/{}", self.state.namespace, self.name) })
            }
            found => Ok(found),
        }
    }

    /// Ends the guest and leaves its container, of which nobody makes a task until the next `apply`.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub(in crate::guests) fn stop(&self) -> Result<(), GuestError> {
        self.own_container()?.map_or(Ok(()), |container| self.end_task(&container))
    }

    fn end_task(&self, container: &Container) -> Result<(), GuestError> {
        // First of all, or the monitor would start again what is to end.
        self.node.set_monitor(container, &Labels::new())?;
        pass("released");
        if self.node.task(self.name)?.is_some() {
            say(self.name, format_args!("stopping {}", container.image));
        }
        self.node.stop(self.name, self.declaration.stop_timeout)?;
        pass("stopped");
        Ok(())
    }

    pub(super) fn remove_container(&self, container: &Container) -> Result<(), GuestError> {
        self.end_task(container)?;
        self.node.delete_container(self.name)?;
        pass("removed");
        Ok(())
    }

    /// Starts the guest if it does not run, and from where on its log is of this run.
    pub(super) fn start(
        &self,
        container: &Container,
        generation: &Generation,
    ) -> Result<(Did, u64), GuestError> {
        let log = log_file(generation);
        let since_seen = self.state.seen.as_ref().map_or(0, |seen| seen.log);
        match self.settled(container)? {
            Some((TaskStatus::Running | TaskStatus::Paused, _)) => return Ok((Did::Kept, since_seen)),
            // What has come to its end, or failed for good, stays so until the node boots again.
            Some((TaskStatus::Stopped, status)) if !self.begins_again(status) => {
                return Ok((Did::Kept, since_seen));
            }
            _ => {}
        }
        make_log_folder(generation)?;
        self.node.set_monitor(container, &Labels::new())?;
        self.node.stop(self.name, Duration::ZERO)?;
        let from = health::length(log.as_deref());
        say(self.name, format_args!("starting {}", generation.digest));
        match self.node.start(self.name, generation) {
            // The monitor was faster.
            Err(NodeError::Call { source, .. }) if source.is(Status::ALREADY_EXISTS) => self.await_start()?,
            other => other?,
        }
        pass("started");
        Ok((Did::Started, from))
    }

    /// Status and exit status of the task, when nobody else is about to start one: at boot the monitor is as fast as we are.
    fn settled(&self, container: &Container) -> Result<Option<(TaskStatus, u32)>, GuestError> {
        let begun = Instant::now();
        loop {
            let task = self.node.task(self.name)?.map(|task| (task.status(), task.exit_status));
            let is_begun = match task {
                None => is_started_at_boot(&container.labels),
                Some((status, _)) => status == TaskStatus::Created,
            };
            if !is_begun || begun.elapsed() > MONITOR {
                return Ok(task);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn begins_again(&self, status: u32) -> bool {
        match self.declaration.restart {
            Restart::Always => true,
            Restart::OnFailure(None) => status != 0,
            Restart::OnFailure(Some(_)) | Restart::No => false,
        }
    }

    fn await_start(&self) -> Result<(), GuestError> {
        let begun = Instant::now();
        while begun.elapsed() < TAKEOVER {
            if self.node.task(self.name)?.is_some_and(|task| task.status() == TaskStatus::Running) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(GuestError::Unhealthy { why: "somebody else makes a task of it, which does not run".to_owned() })
    }

    /// Gives the guest to containerd's restart monitor.
    pub(super) fn watch(&self, generation: &Generation) -> Result<(), GuestError> {
        let wanted = monitor_labels(self.declaration.restart, &generation.log);
        if let Some(container) = self.own_container()?
            && !is_monitored_as(&container.labels, &wanted)
        {
            self.node.set_monitor(&container, &wanted)?;
        }
        pass("watched");
        Ok(())
    }
}
