//! Where the process of a guest is counted and limited: the container's cgroup, `linux.cgroupsPath`.
//!
//! ```text
//!   CgroupPath + Hierarchies ──> Place           pure: which directories, recorded before there is one
//!   Place::make(limits)      ──> Cgroup          directories, or a scope of systemd's; limits are in force
//!   Cgroup::doors()                              the new process goes through them before it execs
//!   Cgroup::change / metrics / oom::Watch        while it lives
//!   Place::remove()                              another process, no live object, any number of times
//! ```
//!
//! - [`path`]: the forms of the path; [`mounts`]: which hierarchies there are; [`limits`]: which files hold what.
//!   All pure.
//! - [`dir`]: directories, and which of them are ours; [`systemd`]: a unit where systemd is to know of it.
//! - [`metrics`]: what a cgroup tells; [`oom`]: the moment when its memory is used up.
//!
//! What lives here knows processes and files, but no guest.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::resources::Change;

mod dir;
mod limits;
pub mod metrics;
mod mounts;
pub mod oom;
mod path;
pub mod systemd;

pub use limits::Limits;
pub use metrics::Metrics;
pub use mounts::{Controller, Hierarchies};
pub use path::{CgroupPath, InvalidCgroupPath};

use limits::Setting;
use systemd::{Holder, SystemdError, Unit};

/// Why a guest cannot live in its cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel refused.
    #[error("{doing} the cgroup file {}: {source}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Somebody else is in it.
    #[error("the cgroup {} has {processes} processes already; give each container a cgroup of its own", .path.display())]
    Taken {
        /// The cgroup.
        path: PathBuf,
        /// How many there are.
        processes: usize,
    },
    /// What has to be limited cannot be.
    #[error(
        "the cgroup {} has no controller {}, which {file} = {value} needs; enable it in the cgroup.subtree_control of \
         those above, mount it (version 1), or ask for no such limit", .path.display(), .controller.name()
    )]
    NoController {
        /// The cgroup.
        path: PathBuf,
        /// What it lacks.
        controller: Controller,
        /// What was to be written.
        file: &'static str,
        /// To that file.
        value: String,
    },
    /// There is no cgroup at all.
    #[error("no cgroups are mounted here; mount them, or ask for no limits")]
    NotMounted,
    /// systemd refused.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

impl From<io::Error> for CgroupError {
    fn from(source: io::Error) -> CgroupError {
        CgroupError::Io { doing: "starting a thread for", path: PathBuf::new(), source }
    }
}

impl CgroupError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
        let path = path.to_owned();
        move |source| CgroupError::Io { doing, path, source }
    }

    /// Whether this shim can have no cgroups on this machine, whatever the container asks for: none are mounted,
    /// or they are not for it to write.
    pub fn is_lack_of_rights(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        match self {
            CgroupError::NotMounted => true,
            CgroupError::Io { doing: "making", source, .. } => {
                matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem)
            }
            _ => false,
        }
    }
}

/// A cgroup's directory in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dir {
    /// Where the hierarchy is mounted.
    root: PathBuf,
    /// The directory.
    path: PathBuf,
    /// What it counts and limits; in version 2, what is wanted of it.
    controllers: Vec<Controller>,
}

/// Where a container's cgroup is, whether it exists or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Version 2.
    unified: bool,
    /// One for version 2, one for each hierarchy of version 1.
    dirs: Vec<Dir>,
    /// systemd makes and removes it.
    unit: Option<Unit>,
}

impl Place {
    /// The place of a container on a machine with these hierarchies, whose systemd, if there is one, listens at
    /// `systemd`.
    pub fn new(path: &CgroupPath, hierarchies: &Hierarchies, systemd: &Path) -> Place {
        let unit = match path {
            CgroupPath::Scope(scope) => Some(Unit { scope: scope.clone(), socket: systemd.to_owned() }),
            CgroupPath::Directory { .. } => None,
        };
        let dir = |tree: &mounts::Tree, controllers: &[Controller], unified| Dir {
            root: tree.root.clone(),
            path: tree.place(path, unified),
            controllers: controllers.to_owned(),
        };
        match hierarchies {
            Hierarchies::None => Place { unified: true, dirs: Vec::new(), unit },
            Hierarchies::Unified(tree) => {
                let wanted = [Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids];
                Place { unified: true, dirs: vec![dir(tree, &wanted, true)], unit }
            }
            Hierarchies::Split { trees, systemd } => {
                let mut dirs: Vec<Dir> = trees.iter().map(|(have, tree)| dir(tree, have, false)).collect();
                // Only there does systemd see that its scope has processes.
                dirs.extend(systemd.as_ref().filter(|_| unit.is_some()).map(|tree| dir(tree, &[], false)));
                Place { unified: false, dirs, unit }
            }
        }
    }

    /// Makes the cgroup, with its limits in force and nobody in it. Blocks while systemd works.
    ///
    /// # Errors
    ///
    /// What is in the way; nothing is left then.
    pub fn make(&self, limits: &Limits) -> Result<Cgroup, CgroupError> {
        let made = self.try_make(limits);
        if made.is_err()
            && !matches!(made, Err(CgroupError::Taken { .. }))
            && let Err(error) = self.remove()
        {
            tracing::warn!(%error, "a cgroup is left behind");
        }
        made
    }

    fn try_make(&self, limits: &Limits) -> Result<Cgroup, CgroupError> {
        if self.dirs.is_empty() {
            return Err(CgroupError::NotMounted);
        }
        let unit = self.unit.as_ref().filter(|unit| unit.is_manageable());
        for dir in &self.dirs {
            match dir::processes(&dir.path)? {
                0 => {}
                processes => return Err(CgroupError::Taken { path: dir.path.clone(), processes }),
            }
        }
        let holder = unit.map(|unit| unit.start(limits, self.unified)).transpose()?;
        let cgroup = Cgroup { place: self.clone(), holder };
        for dir in &self.dirs {
            dir::make(&dir.root, &dir.path, |path| self.prepare(dir, path))?;
        }
        cgroup.write(&limits.settings(self.unified))?;
        Ok(cgroup)
    }

    fn prepare(&self, dir: &Dir, path: &Path) -> Result<(), CgroupError> {
        if self.unified {
            let above = path.parent().unwrap_or(path);
            // Another's cgroups are another's to arrange. Without systemd nobody else does it, and the top is ours, too.
            if dir::is_ours(above) || !systemd::runs() {
                dir::enable(above, &dir.controllers);
            }
            return Ok(());
        }
        if dir.controllers.contains(&Controller::Cpuset) {
            return dir::fill_cpuset(path);
        }
        Ok(())
    }

    /// Removes the cgroup, which nobody is in any more, and what only it needed. Blocks for two seconds at most.
    ///
    /// # Errors
    ///
    /// The first directory that stays.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut result = Ok(());
        for dir in &self.dirs {
            let removed = dir::remove(&dir.root, &dir.path);
            if result.is_ok() {
                result = removed;
            }
        }
        result
    }
}

/// A cgroup that exists.
#[derive(Debug)]
pub struct Cgroup {
    place: Place,
    /// Keeps a scope of systemd's from ending before the guest is in it.
    holder: Option<Holder>,
}

impl Cgroup {
    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What a process writes `0` to, so that it is in the cgroup from then on. Not inherited by another program.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn doors(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        let open = |dir: &Dir| {
            let file = dir.path.join("cgroup.procs");
            rustix::fs::open(&file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| CgroupError::io("opening", &file)(errno.into()))
        };
        self.place.dirs.iter().map(open).collect()
    }

    /// A process is in it: nothing else has to keep it.
    pub fn settle(&mut self) {
        self.holder = None;
    }

    /// Changes a limit of those in it. Blocks while systemd works.
    ///
    /// # Errors
    ///
    /// The kernel's or systemd's refusal; everything is then as before.
    pub fn change(&self, change: &Change) -> Result<(), CgroupError> {
        let settings = limits::of_change(change, self.place.unified);
        self.write(&settings)?;
        // systemd writes its own idea of a unit again whenever it likes.
        if let Some(unit) = self.place.unit.as_ref().filter(|unit| unit.is_manageable()) {
            unit.change(change, self.place.unified)?;
        }
        Ok(())
    }

    /// What those in it have used.
    pub fn metrics(&self) -> Metrics {
        let of = |controller| self.dir(controller).map(|dir| dir.path.as_path());
        match self.place.unified {
            true => self.place.dirs.first().map(|dir| metrics::unified(&dir.path)).unwrap_or_default(),
            false => metrics::split(of),
        }
    }

    /// How many of its processes the kernel has ended because there was no memory left, here or above.
    pub fn oom_kills(&self) -> u64 {
        let Some(dir) = self.dir(Controller::Memory) else { return 0 };
        let file = if self.place.unified { "memory.events" } else { "memory.oom_control" };
        metrics::flat(&dir.path.join(file)).get("oom_kill").copied().unwrap_or_default()
    }

    /// Watches for the moment when its memory is used up.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, or a cgroup that has no memory.
    pub fn watch_memory(&self) -> Result<oom::Watch, CgroupError> {
        let dir = self.dir(Controller::Memory).ok_or(CgroupError::NotMounted)?;
        oom::Watch::new(&dir.path, self.place.unified)
    }

    fn dir(&self, controller: Controller) -> Option<&Dir> {
        let dir = self.place.dirs.iter().find(|dir| dir.controllers.contains(&controller))?;
        (!self.place.unified || dir::has(&dir.path, controller)).then_some(dir)
    }

    /// Writes all of them. Where one fails, those that were written get their old values again.
    fn write(&self, settings: &[Setting]) -> Result<(), CgroupError> {
        let mut undo = Vec::new();
        let mut left: Vec<&Setting> = settings.iter().collect();
        let mut refused = None;
        while !left.is_empty() {
            let setting = left.remove(0);
            match self.set(setting) {
                Ok(old) => undo.extend(old),
                Err(error) if !setting.firm => {
                    tracing::warn!(%error, "a weight or a reservation is not set");
                }
                // Quota and period may fit the cgroup above only in the other order.
                Err(error) if refused.is_none() && !left.is_empty() && is_invalid(&error) => {
                    refused = Some(error);
                    left.push(setting);
                }
                Err(error) => {
                    for (file, old) in undo.iter().rev() {
                        // A value that was in force is not refused.
                        let _ = dir::put(file, old.trim());
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Writes one, and gives what was there before.
    fn set(&self, setting: &Setting) -> Result<Option<(PathBuf, String)>, CgroupError> {
        let Some(dir) = self.dir(setting.controller) else {
            let path = self.place.dirs.first().map(|dir| dir.path.clone()).unwrap_or_default();
            let (controller, file) = (setting.controller, setting.file);
            return Err(CgroupError::NoController { path, controller, file, value: setting.value.clone() });
        };
        let file = dir.path.join(setting.file);
        let before = dir::read(&file).unwrap_or_default();
        if before.trim() == setting.value {
            return Ok(None);
        }
        dir::put(&file, &setting.value).map_err(|source| CgroupError::Io {
            doing: "writing",
            path: PathBuf::from(format!("{} = {}", file.display(), setting.value)),
            source,
        })?;
        Ok(Some((file, before)))
    }
}

fn is_invalid(error: &CgroupError) -> bool {
    matches!(error, CgroupError::Io { source, .. } if source.kind() == io::ErrorKind::InvalidInput)
}
