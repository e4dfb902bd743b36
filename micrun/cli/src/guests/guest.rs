//! One guest, brought to what is declared.
//!
//! ```text
//!                    the declared version is the current one
//!   declared --------------------------------------------------> run it, see that it is healthy
//!       |
//!       | another one                   healthy
//!       +--> bring, prepare --> trial -----------> current; what was current is previous
//!                                 |
//!                                 | not healthy
//!                                 +------------> refused; the current one runs again
//! ```
//!
//! The old guest stops when everything that the new one needs is there, and not before. Each step may be the last one before
//! the power is gone: what the next `apply` needs to know was written before, and every step can be done again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use micrun_image_spec::digest::Sha256Digest;
use micrun_unix_grpc::containerd::containers::Container;
use micrun_unix_grpc::{GrpcError, Status};

use super::GuestError;
use super::archive;
use super::folder::{Places, log_file};
use super::health::{self, Patient, Verdict};
use super::model::{
    Chosen, Declaration, Generation, Image, Refused, Restart, Seen, State, StateError, Trial,
};
use super::node::containers::{
    GENERATION, is_monitored_as, is_started_at_boot, monitor_labels, snapshot_key,
};
use super::node::images::{GUEST, Labels};
use super::node::programs::ProgramError;
use super::node::tasks::TaskStatus;
use super::node::{Node, NodeError, programs};
use super::say;
use super::step::pass;

/// How often a version is tried that the power failed in: once more than once.
const MAX_TRIES: u32 = 2;
/// How long the monitor may take to begin with what it found when containerd started.
const MONITOR: Duration = Duration::from_secs(3);
/// How long somebody else may take to start a guest.
const TAKEOVER: Duration = Duration::from_secs(10);

/// A guest and everything around it.
pub(super) struct Guest<'a> {
    pub(super) name: &'a str,
    pub(super) declaration: &'a Declaration,
    pub(super) places: &'a Places,
    pub(super) node: &'a Node,
    pub(super) state: State,
}

/// What became of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// It was as declared.
    Kept,
    /// It was not running.
    Started,
    /// Another version runs now.
    Updated,
}

impl Did {
    /// For `--format json`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Did::Kept => "kept",
            Did::Started => "started",
            Did::Updated => "updated",
        }
    }
}

impl<'a> Guest<'a> {
    /// A guest with what is remembered of it. Where that is damaged, it is set aside.
    ///
    /// # Errors
    ///
    /// If the state cannot be read.
    pub(super) fn open(
        name: &'a str,
        declaration: &'a Declaration,
        places: &'a Places,
        node: &'a Node,
    ) -> Result<Guest<'a>, GuestError> {
        let state = remembered(name, places)?;
        let state = state.unwrap_or_else(|| State::new(&declaration.namespace));
        let mut guest = Guest { name, declaration, places, node, state };
        guest.note_folder()?;
        Ok(guest)
    }

    /// A guest is removed only where the folder that declared it was read without its file in it.
    fn note_folder(&mut self) -> Result<(), GuestError> {
        let folder = self.declaration.file.parent().and_then(|folder| std::path::absolute(folder).ok());
        if self.state.folder != folder {
            self.state.folder = folder;
            if self.state.current.is_some() {
                self.save()?;
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<(), GuestError> {
        Ok(self.state.save(&self.places.state_of(self.name))?)
    }

    /// Brings the guest to what is declared.
    ///
    /// # Errors
    ///
    /// [`GuestError`]: what keeps it from that, or that it is not healthy.
    pub(super) fn apply(&mut self, retry: bool) -> Result<Did, GuestError> {
        self.check_policy()?;
        self.own_container()?;
        let source = self.source()?;
        let wanted = self.generation(&source)?;
        pass("resolved");
        if retry {
            self.state.refused.clear();
        }
        self.state.forget_refusals(&wanted);
        let is_current = self.state.current.as_ref().is_some_and(|current| current.id() == wanted.id());
        if is_current || self.state.current.is_some() && self.state.refuses(&wanted) {
            return self.keep(&source);
        }
        self.bring(&source, &wanted)?;
        self.prepare(&wanted)?;
        self.try_out(wanted, None)
    }

    /// Starts the version that ran last, if nobody has: it does not wait for what has to be fetched for others, or for itself.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) fn stand(&mut self) -> Result<Did, GuestError> {
        let Some(current) = self.state.current.clone().filter(|_| self.state.trial.is_none()) else {
            return Ok(Did::Kept);
        };
        match self.own_container()? {
            Some(found) if found.labels.get(GENERATION) == Some(&current.id()) => {
                let (did, _) = self.start(&found, &current)?;
                self.watch(&current)?;
                Ok(did)
            }
            _ => Ok(Did::Kept),
        }
    }

    /// Makes sure that what is declared can be had in this namespace, without touching what runs.
    ///
    /// # Errors
    ///
    /// As [`Guest::apply`].
    pub(super) fn make_ready(&mut self) -> Result<(), GuestError> {
        self.check_policy()?;
        self.own_container()?;
        let source = self.source()?;
        let wanted = self.generation(&source)?;
        self.bring(&source, &wanted).and_then(|()| self.prepare(&wanted)).inspect_err(|_| {
            // It may never be declared for this namespace again. What is wrong is said already.
            let _ = self.node.prune(self.name, &[], &[]);
        })
    }

    /// What the restart monitor has to do must be something that it can.
    fn check_policy(&self) -> Result<(), GuestError> {
        let restart = self.declaration.restart;
        let known = if restart == Restart::No { Some(Vec::new()) } else { self.node.restart_policies()? };
        match (known, restart) {
            (None, _) => Err(GuestError::NoMonitor),
            (Some(known), Restart::OnFailure(_)) if !known.iter().any(|word| word == "on-failure") => {
                Err(GuestError::NoPolicies)
            }
            _ => Ok(()),
        }
    }

    /// Where the image comes from: what an operator chose, as long as the declaration is the one it was chosen over.
    fn source(&mut self) -> Result<Image, GuestError> {
        let declared = &self.declaration.image;
        if let Some(chosen) = &self.state.chosen {
            let now = self.digest_at_hand(declared);
            let holds = chosen.over == declared.to_string() && (now.is_none() || now == chosen.over_digest);
            match chosen.image.parse() {
                Ok(image) if holds => return Ok(image),
                _ => {
                    say(
                        self.name,
                        format_args!("the declaration has changed, and holds instead of {}", chosen.image),
                    );
                    self.state.chosen = None;
                    self.save()?;
                }
            }
        }
        Ok(declared.clone())
    }

    /// An image's digest, as far as this node knows it.
    fn digest_at_hand(&self, image: &Image) -> Option<Sha256Digest> {
        match image {
            Image::Archive(path) => archive::image_in(path).ok(),
            Image::Exact { digest, .. } => Some(*digest),
            Image::Named(name) => self.node.image(name).ok().flatten(),
        }
    }

    /// The version that is wanted.
    fn generation(&self, source: &Image) -> Result<Generation, GuestError> {
        let digest = match source {
            Image::Archive(path) => archive::image_in(path)?,
            Image::Exact { digest, .. } => *digest,
            Image::Named(name) => self.digest_of_name(name)?,
        };
        Ok(Generation {
            image: source.to_string(),
            digest,
            log: self.places.log_uri(self.name, &self.declaration.log),
            resources: self.declaration.resources.clone(),
            annotations: self.declaration.annotations.clone(),
        })
    }

    fn digest_of_name(&self, name: &str) -> Result<Sha256Digest, GuestError> {
        if let Some(digest) = self.node.image(name)? {
            return Ok(digest);
        }
        // Whoever removed the name did not remove what runs.
        if let Some(current) = self.state.current.as_ref().filter(|current| current.image == name) {
            return Ok(current.digest);
        }
        say(self.name, format_args!("pulling {name}"));
        self.node.pull(name).map_err(NodeError::from)?;
        let odd =
            || NodeError::Odd { what: name.to_owned(), problem: "it was pulled and is not there".to_owned() };
        Ok(self.node.image(name)?.ok_or_else(odd)?)
    }

    /// Has containerd keep the image. What runs is not touched.
    fn bring(&self, source: &Image, wanted: &Generation) -> Result<(), GuestError> {
        let (name, digest) = (self.name, wanted.digest);
        if let Some(key) = &self.declaration.verify_key {
            say(name, format_args!("verifying {source}"));
            let location = match source {
                Image::Archive(path) => programs::archive_location(path),
                Image::Exact { name, .. } | Image::Named(name) => {
                    // A digest alone: with a tag beside it, registries disagree about what is meant.
                    let tag = name.rfind(':').filter(|at| !name[*at..].contains('/'));
                    format!("docker://{}@{digest}", &name[..tag.unwrap_or(name.len())]).into()
                }
            };
            programs::verify(key, &location, digest).map_err(NodeError::from)?;
        }
        if !self.node.is_pinned(name, digest)? && !self.node.pin(name, digest)? {
            self.fetch(source, digest)?;
            if !self.node.pin(name, digest)? {
                return Err(GuestError::Lost { digest });
            }
        }
        pass("brought");
        Ok(())
    }

    fn fetch(&self, source: &Image, digest: Sha256Digest) -> Result<(), GuestError> {
        match source {
            Image::Archive(path) => {
                say(self.name, format_args!("importing {}", path.display()));
                // The link may lead elsewhere by now; the digest decides what is kept.
                self.import(path, digest)?;
            }
            Image::Exact { .. } | Image::Named(_) => {
                let full = match source {
                    Image::Named(name) => name.clone(),
                    exact => exact.to_string(),
                };
                let was_there = self.node.image(&full)?.is_some();
                say(self.name, format_args!("pulling {full}"));
                self.node.pull(&full).map_err(NodeError::from)?;
                self.node.pin(self.name, digest)?;
                if !was_there && matches!(source, Image::Exact { .. }) {
                    self.node.remove_image(&full)?;
                }
            }
        }
        Ok(())
    }

    /// Imports an archive. The name that it brings along is somebody else's, and leads where it led before.
    fn import(&self, path: &Path, digest: Sha256Digest) -> Result<(), GuestError> {
        let foreign = archive::name_in(path)?;
        let before = foreign.as_deref().map(|name| self.node.image(name)).transpose()?.flatten();
        if let Some(before) = before {
            // Or its content would be gone before the name leads there again.
            self.node.pin(self.name, before)?;
        }
        let imported = self.node.import(self.name, path).map_err(NodeError::from);
        self.node.pin(self.name, digest)?;
        if let Some(name) = foreign {
            self.node.put_back(self.name, &name, before)?;
        }
        Ok(imported?)
    }

    /// Unpacks a kept image and prepares a root file system of it.
    fn prepare(&self, generation: &Generation) -> Result<(), GuestError> {
        let digest = generation.digest;
        make_log_folder(generation)?;
        if !self.node.is_pinned(self.name, digest)? && !self.node.pin(self.name, digest)? {
            return Err(GuestError::Lost { digest });
        }
        let chain = self.node.chain(digest)?;
        if !self.node.has_snapshot(&chain)? {
            say(self.name, format_args!("unpacking {digest}"));
            self.node.unpack(digest).map_err(NodeError::from)?;
        }
        self.node.prepare_snapshot(self.name, &snapshot_key(self.name, generation), &chain)?;
        pass("prepared");
        Ok(())
    }

    /// Runs the current version; the declared one may be refused.
    fn keep(&mut self, source: &Image) -> Result<Did, GuestError> {
        let Some(current) = self.state.current.clone() else { return Ok(Did::Kept) };
        if self.state.trial.take().is_some() {
            self.save()?;
        }
        // After a loss of containerd's own data it may still be had where it came from.
        if !self.node.is_pinned(self.name, current.digest)? && self.is_origin(source, &current) {
            self.bring(source, &current)?;
        }
        let did = self.run(&current)?;
        self.prune()?;
        Ok(did)
    }

    /// Whether a version's image can be had there, as far as is known.
    fn is_origin(&self, source: &Image, generation: &Generation) -> bool {
        match (source, self.digest_at_hand(source)) {
            (_, Some(digest)) => digest == generation.digest,
            (Image::Named(name), None) => *name == generation.image,
            _ => false,
        }
    }

    /// Replaces the current version; goes back to it where the new one is not healthy. `left` is for a current version that is
    /// not wanted again.
    fn try_out(&mut self, wanted: Generation, left: Option<Refused>) -> Result<Did, GuestError> {
        let id = wanted.id();
        let before = self
            .state
            .trial
            .as_ref()
            .filter(|trial| trial.generation.id() == id)
            .map_or(0, |trial| trial.tries);
        let has_one = self.state.current.is_some();
        if before >= MAX_TRIES && has_one {
            let why = format!("the node went down {before} times while it was tried");
            return self.take_back(&wanted, why);
        }
        self.state.trial = Some(Trial { generation: wanted.clone(), tries: before + 1 });
        self.save()?;
        pass("trial recorded");
        let container = match self.container_of(&wanted) {
            Ok(container) => container,
            Err(error) => return self.call_off(error),
        };
        match self.judge(&container, &wanted) {
            Ok(_) => {
                self.accept(wanted, left)?;
                Ok(if has_one { Did::Updated } else { Did::Started })
            }
            // It had no chance to be healthy: the next time it has.
            Err(error) if error.is_of_node() => Err(error),
            Err(error) if has_one => self.take_back(&wanted, error.to_string()),
            // With nothing to go back to, it stays, under its restart policy.
            Err(error) => {
                self.accept(wanted, left)?;
                Err(error)
            }
        }
    }

    fn accept(&mut self, wanted: Generation, left: Option<Refused>) -> Result<(), GuestError> {
        if let Some(current) = self.state.current.replace(wanted.clone()) {
            self.state.previous = Some(current);
        }
        self.state.trial = None;
        self.state.pardon(&wanted);
        left.into_iter().for_each(|left| self.state.refuse(left));
        self.save()?;
        pass("recorded");
        self.watch(&wanted)?;
        self.prune()
    }

    /// A trial that did not come as far as the version: nothing is known about it, and the current one runs on, or again.
    fn call_off(&mut self, error: GuestError) -> Result<Did, GuestError> {
        self.state.trial = None;
        self.save()?;
        if let Some(current) = self.state.current.clone()
            && let Err(problem) = self.run(&current)
        {
            say(self.name, format_args!("{} does not run either: {problem}", current.digest));
        }
        Err(error)
    }

    /// The version is not wanted again, and the current one runs again.
    fn take_back(&mut self, wanted: &Generation, why: String) -> Result<Did, GuestError> {
        let digest = wanted.digest;
        self.state.refuse(Refused { generation: wanted.id(), digest, why: why.clone() });
        self.state.trial = None;
        self.save()?;
        pass("refusal recorded");
        let Some(current) = self.state.current.clone() else { return Ok(Did::Kept) };
        let to = current.digest;
        say(self.name, format_args!("{digest} is not healthy ({why}): going back to {to}"));
        match self.run(&current).and_then(|_| self.prune()) {
            Ok(()) => Err(GuestError::TakenBack { digest, why, to }),
            Err(error) => Err(GuestError::NeitherRuns { digest, why, to, problem: Box::new(error) }),
        }
    }

    /// Goes back to the version before, and stays there until something else is declared. Where that one is not healthy, the
    /// current one runs again.
    ///
    /// # Errors
    ///
    /// If there is none, or it is not healthy.
    pub(super) fn roll_back(&mut self) -> Result<Did, GuestError> {
        self.check_policy()?;
        let (Some(current), Some(previous)) = (self.state.current.clone(), self.state.previous.clone())
        else {
            return Err(GuestError::NothingBefore);
        };
        let why = "it was rolled back by hand".to_owned();
        self.prepare(&previous)?;
        self.try_out(previous, Some(Refused { generation: current.id(), digest: current.digest, why }))
    }

    /// Chooses another image than the declared one.
    ///
    /// # Errors
    ///
    /// As [`Guest::apply`].
    pub(super) fn update(&mut self, image: &Image) -> Result<Did, GuestError> {
        let declared = &self.declaration.image;
        let (over, over_digest) = (declared.to_string(), self.digest_at_hand(declared));
        // Nothing is chosen that cannot be had.
        let wanted = self.generation(image)?;
        self.bring(image, &wanted)?;
        self.state.chosen = Some(Chosen { image: image.to_string(), over, over_digest });
        self.state.pardon(&wanted);
        self.save()?;
        self.apply(false)
    }

    /// Makes sure that this version runs and is healthy. The monitor gets it either way: one that is not healthy is started
    /// again, too, when it ends.
    fn run(&mut self, generation: &Generation) -> Result<Did, GuestError> {
        let container = self.container_of(generation)?;
        let judged = self.judge(&container, generation);
        let watched = self.watch(generation);
        judged.and_then(|did| watched.map(|()| did))
    }

    /// Starts a guest that does not run, and waits until it is healthy.
    fn judge(&mut self, container: &Container, generation: &Generation) -> Result<Did, GuestError> {
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
    pub(super) fn patient(&self, log: Option<(PathBuf, u64)>) -> Patient<'_> {
        let Declaration { health, restart, .. } = self.declaration;
        Patient { name: self.name, node: self.node, health, restart: *restart, log }
    }

    /// The container of this version. One of another version goes, with its guest, when all that the new one needs is there.
    fn container_of(&self, generation: &Generation) -> Result<Container, GuestError> {
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

    fn own_container(&self) -> Result<Option<Container>, GuestError> {
        match self.node.container(self.name)? {
            Some(found) if found.labels.get(GUEST).is_none_or(|name| name != self.name) => {
                Err(GuestError::NotOurs { container: format!("{}/{}", self.state.namespace, self.name) })
            }
            found => Ok(found),
        }
    }

    fn remove_container(&self, container: &Container) -> Result<(), GuestError> {
        // First of all, or the monitor would start again what is to end.
        self.node.set_monitor(container, &Labels::new())?;
        pass("released");
        if self.node.task(self.name)?.is_some() {
            say(self.name, format_args!("stopping {}", container.image));
        }
        self.node.stop(self.name, self.declaration.stop_timeout)?;
        pass("stopped");
        self.node.delete_container(self.name)?;
        pass("removed");
        Ok(())
    }

    /// Starts the guest if it does not run, and from where on its log is of this run.
    fn start(&self, container: &Container, generation: &Generation) -> Result<(Did, u64), GuestError> {
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
    fn watch(&self, generation: &Generation) -> Result<(), GuestError> {
        let wanted = monitor_labels(self.declaration.restart, &generation.log);
        if let Some(container) = self.own_container()?
            && !is_monitored_as(&container.labels, &wanted)
        {
            self.node.set_monitor(&container, &wanted)?;
        }
        pass("watched");
        Ok(())
    }

    /// Lets go of what no version needs any more.
    fn prune(&self) -> Result<(), GuestError> {
        let digests: Vec<Sha256Digest> = self.state.kept().map(|generation| generation.digest).collect();
        let snapshots: Vec<String> =
            self.state.kept().map(|generation| snapshot_key(self.name, generation)).collect();
        self.node.prune(self.name, &digests, &snapshots)?;
        pass("pruned");
        Ok(())
    }

    /// Ends the guest and forgets it, with its images.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub(super) fn remove(&mut self) -> Result<(), GuestError> {
        match self.own_container() {
            Ok(Some(container)) => self.remove_container(&container)?,
            Ok(None) | Err(GuestError::NotOurs { .. }) => {}
            Err(error) => return Err(error),
        }
        self.node.prune(self.name, &[], &[])?;
        pass("pruned");
        let path = self.places.state_of(self.name);
        let failed = |source| StateError::Io { doing: "cannot remove", path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.map_err(failed)?),
        }
    }
}

/// The kernel's id of this boot.
pub(super) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

/// What is remembered of a guest. Where that is damaged, it is set aside.
///
/// # Errors
///
/// If it cannot be read.
pub(super) fn remembered(name: &str, places: &Places) -> Result<Option<State>, GuestError> {
    let (state, damaged) = State::rescue(&places.state_of(name))?;
    if let Some(damaged) = damaged {
        say(name, format_args!("what was remembered is set aside as {name}.damaged: {damaged}"));
    }
    Ok(state)
}

/// Before anything else is done: it may be that only some folders can be written.
fn make_log_folder(generation: &Generation) -> Result<(), GuestError> {
    let log = log_file(generation);
    let Some(folder) = log.as_deref().and_then(Path::parent) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|source| GuestError::Log { path: folder.to_owned(), source })
}

impl GuestError {
    /// Whether it says nothing about the guest, but that something is wrong with the node.
    fn is_of_node(&self) -> bool {
        self.is_of_containerd() || matches!(self, GuestError::State(_))
    }

    /// Whether it may be that containerd is gone.
    fn is_of_containerd(&self) -> bool {
        match self {
            GuestError::Node(NodeError::Connect { .. }) => true,
            GuestError::Node(NodeError::Call { source, .. }) => {
                source.is(Status::UNAVAILABLE)
                    || matches!(source, GrpcError::Transport(_) | GrpcError::Silence(_))
            }
            _ => false,
        }
    }

    /// Whether the same may well succeed when it is done again in a while.
    pub(super) fn will_pass(&self) -> bool {
        match self {
            GuestError::NeitherRuns { problem, .. } => problem.will_pass(),
            GuestError::State(StateError::Io { .. })
            | GuestError::Node(NodeError::Program(ProgramError::NotPulled { .. })) => true,
            error => error.is_of_containerd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(source: GrpcError) -> GuestError {
        GuestError::Node(NodeError::Call { doing: "start the guest motor".to_owned(), source })
    }

    fn status(code: u32) -> GuestError {
        call(GrpcError::Status(Status { code, message: "no".to_owned() }))
    }

    #[test]
    fn what_may_be_gone_in_a_while_is_told_from_what_stays() {
        let digest = Sha256Digest::of(b"");
        let neither = |problem| GuestError::NeitherRuns {
            digest,
            why: "it has ended".to_owned(),
            to: digest,
            problem: Box::new(problem),
        };
        let not_pulled = ProgramError::NotPulled { name: "a.b/c:1".to_owned(), said: "no route".to_owned() };
        for passing in [
            call(GrpcError::Transport("it is gone".to_owned())),
            call(GrpcError::Silence(Duration::ZERO)),
            status(Status::UNAVAILABLE),
            GuestError::Node(not_pulled.into()),
            neither(status(Status::UNAVAILABLE)),
        ] {
            assert!(passing.will_pass(), "{passing}");
        }
        for staying in [
            status(Status::FAILED_PRECONDITION),
            GuestError::Unhealthy { why: "it has ended".to_owned() },
            neither(GuestError::Lost { digest }),
        ] {
            assert!(!staying.will_pass() && !staying.is_of_node(), "{staying}");
        }
    }
}
