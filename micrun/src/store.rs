//! What outlives a process: one directory for each container, `<root>/<namespace>/<id>`, with its state
//! and the copies of its files. The root is on a tmpfs (`/run/micrun`) and does not outlive a boot; the
//! boot id is kept all the same, for roots that do.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::id::{Id, Key};
use crate::pedestal::{Claim, Record};
use crate::remedy::remedy;

/// Where the shim keeps its state.
pub const ROOT: &str = "/run/micrun";

/// The version of [`State`] that this build writes, and the newest that it reads.
const VERSION: u32 = 1;

const STATE_FILE: &str = "state.json";

/// What is known of a container without its shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    boot_id: String,
    /// The pod that it belongs to; its own id for a container without a pod.
    pub pod: Id,
    /// The process that stands for the guest; the shim's until there is one.
    pub pid: u32,
    /// What the driver needs to find the guest again; none before the guest was planned.
    pub guest: Option<Record>,
    /// What no other container may have meanwhile; [`crate::reservations`] compares them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// The network namespace that the engine has for it. CRI names a pod's to the sandbox alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<PathBuf>,
}

/// What every build can read of the state of every other: these fields stay what they are, whatever else a newer
/// version writes.
#[derive(Deserialize)]
struct Common {
    version: u32,
    boot_id: String,
    pod: Id,
    pid: u32,
    guest: Option<Record>,
}

/// The part of it that concerns the other containers of a node.
#[derive(Deserialize)]
struct Held {
    boot_id: String,
    #[serde(default)]
    claims: Vec<Claim>,
}

/// What a container's directory tells about it.
#[derive(Debug)]
pub enum Look {
    /// Nothing: no guest was planned yet, or what there was is gone with another boot.
    Nothing,
    /// Everything.
    Whole(State),
    /// What a newer build has in common with this one.
    Newer {
        /// The version that it writes.
        version: u32,
        /// The pod.
        pod: Id,
        /// The process that stood for the guest.
        pid: u32,
        /// The guest; perhaps in words that no driver of this build understands.
        guest: Option<Record>,
    },
    /// There is something, and it is no state.
    Damaged(io::Error),
}

impl Look {
    /// The pod, where that is known.
    pub fn pod(&self) -> Option<&Id> {
        match self {
            Look::Whole(State { pod, .. }) | Look::Newer { pod, .. } => Some(pod),
            Look::Nothing | Look::Damaged(_) => None,
        }
    }

    /// The process that stood for the guest, where that is known.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Look::Whole(State { pid, .. }) | Look::Newer { pid, .. } => Some(*pid),
            Look::Nothing | Look::Damaged(_) => None,
        }
    }
}

impl State {
    /// The state of a container without a guest.
    ///
    /// # Errors
    ///
    /// Where /proc cannot be read.
    pub fn new(pod: Id) -> io::Result<State> {
        let pid = std::process::id();
        let (version, boot_id) = (VERSION, boot_id()?);
        Ok(State { version, boot_id, pod, pid, guest: None, claims: Vec::new(), network: None })
    }
}

/// Why state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The container exists already.
    #[error("container {0} already exists")]
    Exists(Key),
    /// An operating system call failed.
    #[error("{doing} {}: {source}{}", .path.display(), remedy(.source))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { doing, path: path.to_owned(), source }
}

/// The state directory.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at `root`, which is made when the first container comes.
    pub fn at(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes a container's directory, for as long as the entry lives. What a shim that was killed has left
    /// in it is still there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] where it is taken.
    pub fn reserve(&self, key: &Key) -> Result<Entry, StoreError> {
        let dir = self.dir(key);
        loop {
            let is_new = match make_dir(&dir) {
                // The last container of its namespace went in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|error| {
                    remove_empty_parent(&dir);
                    failed("making", &dir)(error)
                })?,
            };
            let lock = match open_dir(&dir) {
                // Its last owner removed it in between.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(errno) => {
                    if is_new {
                        let _ = fs::remove_dir(&dir);
                        remove_empty_parent(&dir);
                    }
                    return Err(failed("opening", &dir)(errno.into()));
                }
                Ok(lock) => lock,
            };
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::Exists(key.clone())),
                other => other.map_err(|errno| failed("locking", &dir)(errno.into()))?,
            }
            if is_still_at(&lock, &dir) {
                return Ok(Entry { dir, _lock: Some(lock) });
            }
        }
    }

    /// The directory of a container, where there is one.
    pub fn find(&self, key: &Key) -> Option<Entry> {
        let dir = self.dir(key);
        dir.is_dir().then_some(Entry { dir, _lock: None })
    }

    /// The containers of a pod but for the sandbox itself.
    pub fn of_pod(&self, namespace: &Id, pod: &Id) -> Vec<(Key, Entry)> {
        let ids = ids_in(&self.root.join(namespace.as_str())).unwrap_or_default();
        let others = ids.into_iter().filter(|id| id != pod);
        let keys = others.map(|id| Key { namespace: namespace.clone(), id });
        let entries = keys.map(|key| (self.dir(&key), key));
        let entries = entries.map(|(dir, key)| (key, Entry { dir, _lock: None }));
        entries.filter(|(_, entry)| entry.look().pod() == Some(pod)).collect()
    }

    /// The containers of all namespaces, also those that are being created or whose shim died.
    ///
    /// # Errors
    ///
    /// Directories that cannot be read. One that vanishes meanwhile is none.
    pub fn all(&self) -> Result<Vec<(Key, Entry)>, StoreError> {
        let mut all = Vec::new();
        for namespace in ids_in(&self.root)? {
            for id in ids_in(&self.root.join(namespace.as_str()))? {
                let key = Key { namespace: namespace.clone(), id };
                let dir = self.dir(&key);
                all.push((key, Entry { dir, _lock: None }));
            }
        }
        Ok(all)
    }

    /// Takes the lock under which claims are compared and written, unless another process or thread has it. It is
    /// on the root itself, so nothing is left behind.
    ///
    /// # Errors
    ///
    /// The system's answer.
    pub fn try_lock(&self) -> Result<Option<ClaimsLock>, StoreError> {
        let lock = open_dir(&self.root).map_err(|errno| failed("opening", &self.root)(errno.into()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            // Somebody made a new root in between: theirs is the lock that counts.
            Ok(()) => Ok(is_still_at(&lock, &self.root).then_some(ClaimsLock { _lock: lock })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(failed("locking", &self.root)(errno.into())),
        }
    }

    fn dir(&self, key: &Key) -> PathBuf {
        self.root.join(key.namespace.as_str()).join(key.id.as_str())
    }
}

/// Held while claims are compared and written. Ends with the process, however that ends.
#[derive(Debug)]
pub struct ClaimsLock {
    _lock: OwnedFd,
}

/// The directories in one whose names are ids; none where it is not there.
fn ids_in(dir: &Path) -> Result<Vec<Id>, StoreError> {
    let mut ids = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(ids);
        }
        other => other.map_err(failed("reading", dir))?,
    };
    for entry in entries {
        let name = entry.map_err(failed("reading", dir))?.file_name();
        ids.extend(name.into_string().ok().and_then(|name| Id::new(name).ok()));
    }
    Ok(ids)
}

/// One container's directory.
#[derive(Debug)]
pub struct Entry {
    dir: PathBuf,
    /// Ends with the process, however that ends.
    _lock: Option<OwnedFd>,
}

impl Entry {
    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was saved last. A half-written file cannot be: it is renamed into place when complete.
    pub fn look(&self) -> Look {
        let text = match fs::read(self.dir.join(STATE_FILE)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Look::Nothing;
            }
            Err(error) => return Look::Damaged(error),
            Ok(text) => text,
        };
        let common: Common = match serde_json::from_slice(&text) {
            Err(error) => return Look::Damaged(error.into()),
            Ok(common) => common,
        };
        match boot_id() {
            Err(error) => Look::Damaged(error),
            // Its pids are strangers' by now.
            Ok(now) if now != common.boot_id => Look::Nothing,
            Ok(_) if common.version > VERSION => {
                let Common { version, pod, pid, guest, .. } = common;
                Look::Newer { version, pod, pid, guest }
            }
            Ok(_) => {
                serde_json::from_slice(&text).map_or_else(|error| Look::Damaged(error.into()), Look::Whole)
            }
        }
    }

    /// The state, where it can be read whole.
    pub fn load(&self) -> Option<State> {
        match self.look() {
            Look::Whole(state) => Some(state),
            Look::Nothing | Look::Newer { .. } | Look::Damaged(_) => None,
        }
    }

    /// What the container claims of the node: nothing where it has no state yet, or that of another boot. Claims of
    /// a newer build are understood as long as it has no new kinds of them.
    ///
    /// # Errors
    ///
    /// State that cannot be read: nobody knows then what the container has.
    pub fn claims(&self) -> io::Result<Vec<Claim>> {
        let text = match fs::read(self.dir.join(STATE_FILE)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            other => other?,
        };
        let held: Held = serde_json::from_slice(&text)?;
        Ok(if held.boot_id == boot_id()? { held.claims } else { Vec::new() })
    }

    /// Saves the state atomically.
    ///
    /// # Errors
    ///
    /// A full disk, for one. What was saved before is then untouched.
    pub fn save(&self, state: &State) -> Result<(), StoreError> {
        let path = self.dir.join(STATE_FILE);
        let new = self.dir.join("state.json.new");
        let write = || {
            let mut file = File::create(&new)?;
            // At once: the serializer itself writes sixty times, a few bytes each.
            file.write_all(&serde_json::to_vec(state)?)?;
            file.sync_all()?;
            crash_point!(StateWritten);
            fs::rename(&new, &path)
        };
        write().map_err(|error| {
            // Half of a state is of no use, and its room may be what the next try lacks.
            let _ = fs::remove_file(&new);
            failed("saving", &path)(error)
        })
    }

    /// Removes what the directory holds.
    ///
    /// # Errors
    ///
    /// The system's answer.
    pub fn clear(&self) -> Result<(), StoreError> {
        let clear = || {
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        clear().map_err(failed("clearing", &self.dir))
    }

    /// Removes the directory and all that is in it, and the namespace's when it was the last one there.
    ///
    /// # Errors
    ///
    /// The system's answer; a directory that is gone already is none.
    pub fn remove(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removing", &self.dir)(error));
            }
            _ => {}
        }
        remove_empty_parent(&self.dir);
        Ok(())
    }
}

/// Makes a container's directory, with those above it. Whether it was not there before.
fn make_dir(dir: &Path) -> io::Result<bool> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    if let Some(namespace) = dir.parent() {
        builder.recursive(true).create(namespace)?;
    }
    match builder.recursive(false).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        other => other.map(|()| true),
    }
}

/// Removes the directory of a namespace, unless other containers are left in it.
fn remove_empty_parent(dir: &Path) {
    if let Some(namespace) = dir.parent() {
        let _ = fs::remove_dir(namespace);
    }
}

fn open_dir(dir: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether the directory that was opened is the one that has the name now.
fn is_still_at(fd: &OwnedFd, dir: &Path) -> bool {
    match (rustix::fs::fstat(fd), rustix::fs::stat(dir)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use micrun_image_spec::units::Mib;

    use super::*;

    fn key(id: &str) -> Key {
        Key { namespace: Id::new("default").unwrap(), id: Id::new(id).unwrap() }
    }

    #[test]
    fn an_id_is_taken_once_and_free_again_after_its_end() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::at(root.path());
        let entry = store.reserve(&key("a")).unwrap();
        assert!(matches!(store.reserve(&key("a")), Err(StoreError::Exists(_))));
        entry.remove().unwrap();
        entry.remove().unwrap();
        assert!(fs::read_dir(root.path()).unwrap().next().is_none(), "the namespace is gone too");
        store.reserve(&key("a")).unwrap();
    }

    #[test]
    fn what_a_dead_owner_left_is_found_and_cleared() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::at(root.path());
        let entry = store.reserve(&key("a")).unwrap();
        let state = State::new(Id::new("a").unwrap()).unwrap();
        entry.save(&state).unwrap();
        drop(entry);

        let entry = store.reserve(&key("a")).unwrap();
        assert_eq!(entry.load(), Some(state));
        entry.clear().unwrap();
        assert_eq!(entry.load(), None);
    }

    #[test]
    fn what_is_saved_is_read_back_and_a_cut_file_is_no_state() {
        let root = tempfile::tempdir().unwrap();
        let entry = Store::at(root.path()).reserve(&key("a")).unwrap();
        assert_eq!(entry.load(), None);
        let mut state = State::new(Id::new("a").unwrap()).unwrap();
        state.guest = Some(Record { driver: "x".into(), data: serde_json::json!({"pid": 1}) });
        entry.save(&state).unwrap();
        assert_eq!(entry.load().as_ref(), Some(&state));

        let file = entry.dir().join(STATE_FILE);
        let text = fs::read(&file).unwrap();
        for cut in [0, 1, text.len() / 2, text.len() - 1] {
            fs::write(&file, &text[..cut]).unwrap();
            assert!(matches!(entry.look(), Look::Damaged(_)), "cut at {cut}");
        }
    }

    #[test]
    fn a_newer_build_or_another_boot_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let entry = Store::at(root.path()).reserve(&key("a")).unwrap();
        let state = State::new(Id::new("a").unwrap()).unwrap();
        entry.save(&State { boot_id: "another".into(), ..state.clone() }).unwrap();
        assert!(matches!(entry.look(), Look::Nothing), "pids and guests of another boot are gone");
        entry.save(&State { version: VERSION + 1, ..state.clone() }).unwrap();
        assert_eq!((entry.look().pod(), entry.look().pid()), (Some(&state.pod), Some(state.pid)));
        assert_eq!(entry.load(), None);
    }

    #[test]
    fn claims_are_read_whatever_build_wrote_them_and_end_with_the_boot() {
        let root = tempfile::tempdir().unwrap();
        let entry = Store::at(root.path()).reserve(&key("a")).unwrap();
        assert_eq!(entry.claims().unwrap(), [], "no state yet");
        let pod = Claim::Interface(serde_json::from_value("/run/netns/a".into()).unwrap());
        let claims = vec![Claim::Core(3), Claim::Memory(Mib(64)), Claim::Coprocessor("m4".into()), pod];
        let state = State { claims: claims.clone(), ..State::new(Id::new("a").unwrap()).unwrap() };
        entry.save(&State { version: VERSION + 1, ..state.clone() }).unwrap();
        assert_eq!(entry.claims().unwrap(), claims);
        entry.save(&State { boot_id: "another".into(), ..state }).unwrap();
        assert_eq!(entry.claims().unwrap(), []);
        for text in ["", "{", "[]", r#"{"boot_id":"x","claims":[{"moon":1}]}"#] {
            fs::write(entry.dir().join(STATE_FILE), text).unwrap();
            assert!(entry.claims().is_err(), "{text}");
        }
    }

    #[test]
    fn all_namespaces_are_seen_and_what_is_no_container_is_not() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::at(root.path().join("later"));
        assert!(store.all().unwrap().is_empty(), "no root yet");
        let other = Key { namespace: Id::new("k8s.io").unwrap(), id: Id::new("b").unwrap() };
        let _entries = [store.reserve(&key("a")).unwrap(), store.reserve(&other).unwrap()];
        fs::write(root.path().join("later/file"), "").unwrap();
        let mut keys: Vec<String> = store.all().unwrap().iter().map(|(key, _)| key.to_string()).collect();
        keys.sort();
        assert_eq!(keys, ["default/a", "k8s.io/b"]);
    }

    #[test]
    fn a_pod_finds_its_containers() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::at(root.path());
        for (id, pod) in [("a", "p"), ("b", "p"), ("c", "c"), ("p", "p")] {
            let entry = store.reserve(&key(id)).unwrap();
            entry.save(&State::new(Id::new(pod).unwrap()).unwrap()).unwrap();
        }
        let found = store.of_pod(&Id::new("default").unwrap(), &Id::new("p").unwrap());
        let mut ids: Vec<&str> = found.iter().map(|(key, _)| key.id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["a", "b"], "all but the sandbox itself");
    }
}
