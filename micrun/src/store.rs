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
use crate::pedestal::Record;

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
}

impl State {
    /// The state of a container without a guest.
    ///
    /// # Errors
    ///
    /// Where /proc cannot be read.
    pub fn new(pod: Id) -> io::Result<State> {
        Ok(State { version: VERSION, boot_id: boot_id()?, pod, pid: std::process::id(), guest: None })
    }

    /// Pids of another boot are strangers' by now.
    fn is_usable(&self) -> bool {
        self.version <= VERSION && boot_id().is_ok_and(|now| now == self.boot_id)
    }
}

/// Why state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The container exists already.
    #[error("container {0} already exists")]
    Exists(Key),
    /// An operating system call failed.
    #[error("{doing} {}: {source}", .path.display())]
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

    /// Takes a container's directory, for as long as the entry lives. What a shim that was killed has left
    /// in it is still there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] where it is taken.
    pub fn reserve(&self, key: &Key) -> Result<Entry, StoreError> {
        let dir = self.dir(key);
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true);
        loop {
            builder.create(&dir).map_err(failed("making", &dir))?;
            let lock = match open_dir(&dir) {
                // Its last owner removed it in between.
                Err(rustix::io::Errno::NOENT) => continue,
                other => other.map_err(|errno| failed("opening", &dir)(errno.into()))?,
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

    /// The containers of a pod, itself included.
    pub fn of_pod(&self, namespace: &Id, pod: &Id) -> Vec<Entry> {
        let Ok(entries) = fs::read_dir(self.root.join(namespace.as_str())) else { return Vec::new() };
        let in_pod = |entry: &Entry| entry.load().is_some_and(|state| state.pod == *pod);
        entries.flatten().map(|entry| Entry { dir: entry.path(), _lock: None }).filter(in_pod).collect()
    }

    fn dir(&self, key: &Key) -> PathBuf {
        self.root.join(key.namespace.as_str()).join(key.id.as_str())
    }
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

    /// What was saved last; `None` where nothing was, or where it means nothing any more (another boot, a
    /// newer build). A half-written file cannot be: it is renamed into place when complete.
    pub fn load(&self) -> Option<State> {
        let text = fs::read(self.dir.join(STATE_FILE)).ok()?;
        let state: State = serde_json::from_slice(&text).ok()?;
        state.is_usable().then_some(state)
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
            serde_json::to_writer(&mut file, state)?;
            file.flush()?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(failed("saving", &path))
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
        if let Some(namespace) = self.dir.parent() {
            // Fails where other containers are left, which is right.
            let _ = fs::remove_dir(namespace);
        }
        Ok(())
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
            assert_eq!(entry.load(), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_newer_build_or_another_boot_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let entry = Store::at(root.path()).reserve(&key("a")).unwrap();
        let state = State::new(Id::new("a").unwrap()).unwrap();
        for strange in [
            State { boot_id: "another".into(), ..state.clone() },
            State { version: VERSION + 1, ..state.clone() },
        ] {
            entry.save(&strange).unwrap();
            assert_eq!(entry.load(), None);
        }
    }

    #[test]
    fn a_pod_finds_its_containers() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::at(root.path());
        for (id, pod) in [("a", "p"), ("b", "p"), ("c", "c")] {
            let entry = store.reserve(&key(id)).unwrap();
            entry.save(&State::new(Id::new(pod).unwrap()).unwrap()).unwrap();
        }
        assert_eq!(store.of_pod(&Id::new("default").unwrap(), &Id::new("p").unwrap()).len(), 2);
    }
}
