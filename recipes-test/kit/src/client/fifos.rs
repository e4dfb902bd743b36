//! FIFOs for the streams of a task, made and held as containerd's own client (`cio`) does: opened for reading before the task
//! is there, by whoever copies them, until their end.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Stdio;
use crate::{Containerd, wait};

/// Where nerdctl and `ctr` make theirs.
const FOLDER: &str = "/run/containerd/fifo";

/// The streams of one task or exec.
pub struct Fifos {
    /// As this process sees it.
    dir: PathBuf,
    stdio: Stdio,
    /// What came of its stdout.
    pub stdout: Output,
    /// What came of its stderr; nothing on a terminal.
    pub stderr: Output,
}

/// What comes out of a FIFO.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Mutex<Copied>>);

#[derive(Debug, Default)]
struct Copied {
    bytes: Vec<u8>,
    ended: bool,
}

impl Fifos {
    /// Makes those that an engine's user has: stdin where somebody types, stderr where there is no terminal.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn new(containerd: &Containerd, id: &str, stdin: bool, terminal: bool) -> Result<Fifos> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The numbers of `ctr`'s own are random and long.
        let inside = Path::new(FOLDER).join(format!("kit-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let dir = containerd.namespace.path(&inside);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let make = |name: &str, wanted: bool| -> Result<(String, PathBuf)> {
            let (name, path) = (format!("{id}-{name}"), dir.join(format!("{id}-{name}")));
            if !wanted {
                return Ok((String::new(), path));
            }
            mkfifo(&path, Mode::S_IRWXU).with_context(|| format!("cannot make {}", path.display()))?;
            Ok((inside.join(name).display().to_string(), path))
        };
        let (stdin, _) = make("stdin", stdin)?;
        let (stdout, out) = make("stdout", true)?;
        let (stderr, err) = make("stderr", !terminal)?;
        let copied =
            |path: PathBuf, name: &str| if name.is_empty() { Output::default() } else { Output::copy(path) };
        let (out, err) = (copied(out, &stdout), copied(err, &stderr));
        Ok(Fifos { dir, stdio: Stdio { stdin, stdout, stderr, terminal }, stdout: out, stderr: err })
    }

    /// As the engine names them.
    pub fn stdio(&self) -> &Stdio {
        &self.stdio
    }

    /// The writing end of stdin, as another client that attaches opens it.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn stdin(&self) -> Result<File> {
        let path = self.path(&self.stdio.stdin);
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        wait::until("the shim to read its stdin", || Ok(options.open(&path).ok()))
    }

    /// Types a line into stdin.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn type_line(&self, line: &str) -> Result<()> {
        self.stdin()?.write_all(format!("{line}\r").as_bytes()).context("cannot type")
    }

    /// A second reader of stdout, as one who attaches again; the first one is at its end or takes its share.
    pub fn attach(&self) -> Output {
        Output::copy(self.path(&self.stdio.stdout))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(Path::new(name).file_name().unwrap_or_default())
    }
}

impl Drop for Fifos {
    fn drop(&mut self) {
        for name in [&self.stdio.stdout, &self.stdio.stderr] {
            if !name.is_empty() {
                // Lets go of a reader that waits for the other end to be opened.
                let _ = OpenOptions::new().read(true).write(true).open(self.path(name));
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Output {
    /// Copies a FIFO to its end. Like containerd's client, it waits in `open` until there is a writer.
    fn copy(path: PathBuf) -> Output {
        let output = Output::default();
        let copied = output.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            if let Ok(mut fifo) = File::open(path) {
                while let Ok(length @ 1..) = fifo.read(&mut buffer) {
                    copied.lock().bytes.extend_from_slice(&buffer[..length]);
                }
            }
            copied.lock().ended = true;
        });
        output
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Copied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came so far.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Waits for a text.
    ///
    /// # Errors
    /// If it does not come; with what came.
    pub fn wait_for(&self, text: &str) -> Result<()> {
        wait::until(&format!("{text:?}"), || Ok(self.seen().contains(text).then_some(())))
            .with_context(|| format!("what came: {:?}", self.seen()))
    }

    /// Waits for the end of the stream, which is that of the task.
    ///
    /// # Errors
    /// If it does not end.
    pub fn wait_for_end(&self) -> Result<()> {
        wait::until("the stream to end", || Ok(self.lock().ended.then_some(())))
    }
}
