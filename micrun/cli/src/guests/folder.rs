//! The folders with declarations, and the places on a node that guests have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::mark::Mark;
use super::model::declaration::{self, Declaration};
use super::model::{DeclarationError, Generation, Image, Log};
use super::{GuestsError, say};

/// How long nothing may have changed before it is read: an editor, a shell or an installation writes in several steps.
const SETTLED: Duration = Duration::from_millis(500);
/// How long a change may go on before what is there is read all the same.
const UNREST: Duration = Duration::from_secs(30);

/// Where everything is.
#[derive(Args)]
pub(crate) struct Places {
    /// A folder with declarations, NAME.toml; may be given several times: a later one's file wins over an earlier one's of the
    /// same name
    #[arg(long = "guests", value_name = "DIR", default_values = ["/usr/share/micrun/guests.d", "/etc/mica/micrun/guests.d"])]
    folders: Vec<PathBuf>,
    /// Where is kept which version of a guest runs, and which ran before
    #[arg(long, value_name = "DIR", default_value = "/var/lib/micrun/guests")]
    state: PathBuf,
    /// Where the output of guests goes with `log = "file"`
    #[arg(long, value_name = "DIR", default_value = "/var/log/micrun/guests")]
    logs: PathBuf,
    /// containerd's socket [default: $CONTAINERD_ADDRESS, else /run/containerd/containerd.sock]
    #[arg(long, value_name = "FILE")]
    address: Option<PathBuf>,
}

/// What the folders declare.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// Guests by name.
    pub(super) guests: BTreeMap<String, Entry>,
    /// Files after which no guest can be named.
    pub(super) nameless: Vec<DeclarationError>,
    /// Guests that are switched off.
    off: BTreeSet<String>,
    /// The folders that are there, and how they were before they were read.
    folders: BTreeMap<PathBuf, Mark>,
}

/// A guest's file.
#[derive(Debug)]
pub(super) struct Entry {
    /// What it says, or what is wrong with it.
    pub(super) declaration: Result<Declaration, DeclarationError>,
    /// The file, and the archive that it names, as they were before they were read.
    pub(super) marks: Vec<Mark>,
}

impl Entry {
    fn read(path: &Path) -> Entry {
        let mut marks = vec![Mark::of(path)];
        let declaration = Declaration::load(path);
        if let Ok(Declaration { image: Image::Archive(archive), .. }) = &declaration {
            marks.push(Mark::of(archive));
        }
        Entry { declaration, marks }
    }
}

impl Declared {
    /// Whether the same is declared, and of the same images, as far as files tell.
    pub(super) fn is_as(&self, other: &Declared) -> bool {
        let marks = |(name, entry): (&String, &Entry)| (name.clone(), entry.marks.clone());
        self.guests.iter().map(marks).eq(other.guests.iter().map(marks))
            && self.off == other.off
            && self.nameless.len() == other.nameless.len()
            && self.folders.keys().eq(other.folders.keys())
    }

    /// Why a guest that is not declared may yet be wanted; `None` if it is not.
    pub(super) fn doubt(&self, name: &str, folder: Option<&Path>) -> Option<String> {
        if self.off.contains(name) {
            return None;
        }
        if let Some(error) = self.nameless.first() {
            return Some(format!("{} may be its declaration", error.file.display()));
        }
        let folder = folder.filter(|folder| !self.folders.contains_key(*folder))?;
        Some(format!("{}, which declared it, is not there or was not asked for", folder.display()))
    }

    /// Reads a file of a folder.
    fn take(&mut self, path: &Path) {
        if path.extension().is_none_or(|extension| extension != "toml") {
            return;
        }
        match declaration::name_of(path) {
            Err(error) => self.nameless.push(error),
            // As systemd's units are switched off.
            Ok(name) if is_dev_null(path) => {
                self.guests.remove(&name);
                self.off.insert(name);
            }
            Ok(name) => {
                self.off.remove(&name);
                self.guests.insert(name, Entry::read(path));
            }
        }
    }

    /// How long ago the last change was.
    fn age(&self) -> Option<Duration> {
        let marks = self.guests.values().flat_map(|entry| &entry.marks).chain(self.folders.values());
        marks.filter_map(Mark::age).min()
    }
}

impl Places {
    /// Reads all declarations.
    ///
    /// # Errors
    ///
    /// Only if a folder that is there cannot be read: then nobody knows what is declared.
    pub(super) fn declared(&self) -> Result<Declared, GuestsError> {
        let mut declared = Declared::default();
        for folder in &self.folders {
            let failed = |source: io::Error| GuestsError::Folder { path: folder.clone(), source };
            let mark = Mark::of(folder);
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            declared.folders.insert(std::path::absolute(folder).map_err(failed)?, mark);
            for entry in entries {
                declared.take(&entry.map_err(failed)?.path());
            }
        }
        Ok(declared)
    }

    /// Reads all declarations when nobody is about to change them, or the archives that they name.
    ///
    /// # Errors
    ///
    /// As [`Places::declared`].
    pub(super) fn settled(&self) -> Result<Declared, GuestsError> {
        let begun = Instant::now();
        loop {
            let declared = self.declared()?;
            let left = declared.age().and_then(|age| SETTLED.checked_sub(age));
            match left.filter(|_| begun.elapsed() < UNREST) {
                Some(left) => std::thread::sleep(left.max(Duration::from_millis(10))),
                None => return Ok(declared),
            }
        }
    }

    /// Whether a file is of the last folder, the node's own: no update brings it.
    pub(super) fn is_own(&self, file: &Path) -> bool {
        self.folders.last().is_some_and(|own| file.parent() == Some(own))
    }

    /// containerd's socket.
    pub(super) fn address(&self) -> PathBuf {
        let own = std::env::var_os("CONTAINERD_ADDRESS").filter(|value| !value.is_empty()).map(PathBuf::from);
        let usual = || PathBuf::from("/run/containerd/containerd.sock");
        self.address.clone().or(own).unwrap_or_else(usual)
    }

    /// The file that keeps a guest's state.
    pub(super) fn state_of(&self, name: &str) -> PathBuf {
        self.state.join(format!("{name}.json"))
    }

    /// The guests of which something is kept.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub(super) fn known(&self) -> Result<Vec<String>, GuestsError> {
        let failed = |source: io::Error| GuestsError::Folder { path: self.state.clone(), source };
        let entries = match fs::read_dir(&self.state) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Waits until nobody else changes guests.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub(super) fn lock(&self) -> Result<File, GuestsError> {
        let failed = |source: io::Error| GuestsError::Folder { path: self.state.clone(), source };
        fs::create_dir_all(&self.state).map_err(failed)?;
        let lock = File::create(self.state.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                say("guests", format_args!("waiting for another `micrun guests`, which is at work"));
                lock.lock().map_err(failed)?;
            }
            tried => tried.map_err(|error| failed(error.into()))?,
        }
        Ok(lock)
    }

    /// Where a guest's output goes, as containerd's clients write it.
    pub(super) fn log_uri(&self, name: &str, log: &Log) -> String {
        match log {
            Log::File => {
                format!("file://{}", escaped(&self.logs.join(format!("{name}.log")).display().to_string()))
            }
            Log::None => String::new(),
            Log::Uri(uri) => uri.clone(),
            // A program for the output starts with it on descriptor 3, and is ready when it closes 5 (docs/run.md).
            Log::Journal => {
                let script = format!("exec 5>&-; exec systemd-cat -t {name} <&3");
                format!("binary:///bin/sh?-c={}", escaped(&script))
            }
        }
    }
}

/// The file with a version's output; `None` where it goes elsewhere.
pub(super) fn log_file(generation: &Generation) -> Option<PathBuf> {
    let path = generation.log.strip_prefix("file://")?.split('?').next()?;
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'%') {
            Some(value) => (bytes.push(value), rest = &tail[2..]).1,
            None => (bytes.push(byte), rest = tail).1,
        }
    }
    Some(PathBuf::from(String::from_utf8_lossy(&bytes).into_owned()))
}

/// For a URI: what is neither a letter, a digit nor of a path is percent-encoded.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn is_dev_null(path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|path| path == Path::new("/dev/null"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use micrun_image_spec::digest::Sha256Digest;

    #[test]
    fn logs_have_their_places() {
        let places = Places {
            folders: Vec::new(),
            state: PathBuf::new(),
            logs: PathBuf::from("/var/log/my guests"),
            address: None,
        };
        let uri = places.log_uri("motor", &Log::File);
        assert_eq!(uri, "file:///var/log/my%20guests/motor.log");
        assert!(!places.log_uri("motor", &Log::Journal).contains([' ', '&', ';', '<', '>']));
        let generation = Generation {
            image: String::new(),
            digest: Sha256Digest::of(b""),
            log: uri,
            resources: Default::default(),
            annotations: BTreeMap::new(),
        };
        assert_eq!(log_file(&generation).unwrap(), Path::new("/var/log/my guests/motor.log"));
    }

    #[test]
    fn the_nodes_own_file_wins() {
        let dir = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> = ["usr", "etc", "none"].iter().map(|name| dir.path().join(name)).collect();
        for (file, text) in
            [("usr/a.toml", "image = 1"), ("usr/b.toml", "image = \"/b\""), ("etc/a.toml", "image = \"/a\"")]
        {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(dir.path().join("etc/READ ME"), "").unwrap();
        fs::write(dir.path().join("etc/a b.toml"), "").unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("etc/b.toml")).unwrap();
        let state = dir.path().join("state");
        let places = Places { folders, state, logs: PathBuf::new(), address: None };
        let declared = places.declared().unwrap();
        assert_eq!(declared.guests.keys().collect::<Vec<_>>(), ["a"]);
        assert!(declared.guests["a"].declaration.is_ok());
        assert_eq!(declared.nameless.len(), 1);
        assert!(places.known().unwrap().is_empty());
        assert_eq!(declared.doubt("b", None), None, "it is switched off");
        assert!(declared.doubt("c", None).unwrap().contains("a b.toml may be its declaration"));
        fs::remove_file(dir.path().join("etc/a b.toml")).unwrap();
        let declared = places.declared().unwrap();
        assert_eq!(declared.doubt("c", Some(&dir.path().join("etc"))), None);
        let doubt = declared.doubt("c", Some(&dir.path().join("none"))).unwrap();
        assert!(doubt.contains("is not there"), "{doubt}");
    }

    #[test]
    fn a_change_of_what_is_declared_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (file, archive) = (dir.path().join("motor.toml"), dir.path().join("motor.tar"));
        let text = format!("image = \"{}\"", archive.display());
        let folders = vec![dir.path().to_owned()];
        let places = Places { folders, state: PathBuf::new(), logs: PathBuf::new(), address: None };
        let mut before = places.settled().unwrap();
        let mut changed = |what: &str| {
            let now = places.settled().unwrap();
            assert!(now.age().unwrap() >= SETTLED, "{what}: it was read too early");
            assert!(!now.is_as(&before), "{what}");
            assert!(now.is_as(&places.declared().unwrap()), "{what}: nothing changed since");
            before = now;
        };
        fs::write(&file, "").unwrap();
        changed("a file that is not written yet");
        fs::write(&file, &text).unwrap();
        changed("a file that is");
        fs::write(&archive, "x").unwrap();
        changed("an archive that was not there");
        fs::write(&archive, "y").unwrap();
        changed("an archive of the same length");
        fs::remove_file(&file).unwrap();
        changed("no file");
    }
}
