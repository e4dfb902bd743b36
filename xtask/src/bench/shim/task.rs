//! A task that this program drives itself, in the place of containerd: what happens between is the shim's alone.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::containerd::HOME;
use micrun_testkit::{Containerd, ttrpc, wait};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use super::probe;
use super::subject::Subject;

/// A folder for one container, as the shim gets it. Gone when this is dropped.
#[derive(Debug)]
pub struct Bundle {
    /// As the shim sees it.
    pub inside: String,
    /// The same, from here.
    pub outside: PathBuf,
}

/// A shim with its only task.
#[derive(Debug)]
pub struct Task<'a> {
    subject: &'a Subject,
    client: ttrpc::Client,
    bundle: Bundle,
    stdin: File,
    stdout: File,
    /// containerd holds these open, too; a shim may wait for that, or die of their end.
    _others: [File; 2],
}

impl Bundle {
    /// Makes an empty one, with `config.json`.
    pub fn new(containerd: &Containerd, id: &str, config: &str) -> Result<Self> {
        let inside = format!("{HOME}/bench-{id}");
        let outside = containerd.namespace().path(&inside);
        fs::create_dir_all(outside.join("rootfs"))
            .with_context(|| format!("cannot create {}", outside.display()))?;
        let bundle = Self { inside, outside };
        bundle.write("config.json", config)?;
        Ok(bundle)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let file = self.outside.join(name);
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))
    }

    pub fn copy(&self, from: &Path, name: &str) -> Result<()> {
        let to = self.outside.join(name);
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display())).map(drop)
    }

    /// A FIFO in it, open at both ends, so that neither side waits for the other.
    pub fn fifo(&self, name: &str) -> Result<File> {
        let path = self.outside.join(name);
        nix::unistd::mkfifo(&path, Mode::S_IRWXU)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let file = File::options().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
        file.with_context(|| format!("cannot open {}", path.display()))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // The namespace's end takes what is left.
        let _ = fs::remove_dir_all(&self.outside);
    }
}

impl<'a> Task<'a> {
    /// Starts a shim for the bundle; `variables` are set for it besides containerd's.
    pub fn of(
        containerd: &Containerd,
        subject: &'a Subject,
        bundle: Bundle,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let log = bundle.fifo("log")?;
        let mut shell = probe::waiting(containerd, subject, ID, &bundle.inside, variables)?;
        let client = probe::go(containerd, &mut shell)?;
        let [stdin, stdout, stderr] = [bundle.fifo("stdin")?, bundle.fifo("stdout")?, bundle.fifo("stderr")?];
        Ok(Self { subject, client, bundle, stdin, stdout, _others: [log, stderr] })
    }

    /// Creates it.
    pub fn create(&mut self, terminal: bool) -> Result<()> {
        let stream = |name: &str| format!("{}/{name}", self.bundle.inside);
        let request = [
            ttrpc::field(1, ID.as_bytes()),
            ttrpc::field(2, self.bundle.inside.as_bytes()),
            // Field 4, a varint.
            vec![4 << 3, u8::from(terminal)],
            ttrpc::field(5, stream("stdin").as_bytes()),
            ttrpc::field(6, stream("stdout").as_bytes()),
            ttrpc::field(7, if terminal { Vec::new() } else { stream("stderr").into_bytes() }.as_slice()),
        ];
        self.call("Create", &request.concat())
    }

    /// Starts it.
    pub fn start(&mut self) -> Result<()> {
        self.call("Start", &ttrpc::field(1, ID.as_bytes()))
    }

    /// Types into it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdin.write_all(bytes).context("cannot write to the FIFO")
    }

    /// Waits for output and reads what is there.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let limit = PollTimeout::try_from(wait::DEADLINE).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
        ensure!(
            poll(&mut ready, limit).context("cannot wait for output")? > 0,
            "{} gave no output",
            self.subject.name
        );
        self.stdout.read(buffer).context("cannot read the FIFO")
    }

    /// Kills it, deletes it and waits until the shim has gone.
    pub fn end(mut self, containerd: &Containerd) -> Result<()> {
        let id = ttrpc::field(1, ID.as_bytes());
        // Field 3, a varint: SIGKILL.
        self.call("Kill", &[&id[..], &[3 << 3, 9]].concat())?;
        self.call("Wait", &id)?;
        self.call("Delete", &id)?;
        probe::shut_down(containerd, self.subject, &mut self.client, ID)
    }

    fn call(&mut self, method: &str, request: &[u8]) -> Result<()> {
        let reply = self.client.send(self.subject.service, method, request)?;
        let refusal = ttrpc::refusal(&reply);
        ensure!(refusal.is_none(), "{} of {}: {}", method, self.subject.name, refusal.unwrap_or_default());
        Ok(())
    }
}

/// All tasks have shims of their own.
const ID: &str = "bench";
