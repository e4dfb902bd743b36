//! The folders with declarations, and the places on a node that guests have.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::GuestsError;
use super::model::declaration::{self, Declaration};
use super::model::{DeclarationError, Generation, Log};

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

/// What every folder declares: guests by name, with what is wrong of those that cannot be used.
pub(super) type Declared = BTreeMap<String, Result<Declaration, DeclarationError>>;

impl Places {
    /// Reads all declarations.
    ///
    /// # Errors
    ///
    /// Only if a folder that is there cannot be read: then nobody knows what is declared.
    pub(super) fn declared(&self) -> Result<(Declared, Vec<DeclarationError>), GuestsError> {
        let (mut declared, mut nameless) = (Declared::new(), Vec::new());
        for folder in &self.folders {
            let failed = |source: io::Error| GuestsError::Folder { path: folder.clone(), source };
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                if path.extension().is_none_or(|extension| extension != "toml") {
                    continue;
                }
                match declaration::name_of(&path) {
                    Err(error) => nameless.push(error),
                    // As systemd's units are switched off.
                    Ok(name) if is_dev_null(&path) => drop(declared.remove(&name)),
                    Ok(name) => drop(declared.insert(name, Declaration::load(&path))),
                }
            }
        }
        Ok((declared, nameless))
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
        lock.lock().map_err(failed)?;
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
        let (declared, nameless) = places.declared().unwrap();
        assert_eq!(declared.keys().collect::<Vec<_>>(), ["a"]);
        assert!(declared["a"].is_ok());
        assert_eq!(nameless.len(), 1);
        assert!(places.known().unwrap().is_empty());
    }
}
