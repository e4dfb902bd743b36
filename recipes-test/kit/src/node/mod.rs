//! An arm64 node with Xen, booted as a product boots: UEFI, GRUB, Xen, Dom0 with systemd, containerd. All of it in QEMU,
//! and driven from outside through one serial port.
//!
//! - [`base`]: what Debian gives: packages, unpacked
//! - [`disk`]: the disks that are made from it and from our programs and files
//! - [`slots`]: a disk with two slots and the bundles that update it; [`bundle`] makes those, [`rauc`] signs them
//! - `installed`: what a product's recipes put there
//! - `initramfs`: from the kernel to the root file system
//! - [`agent`]: programs in the node, with their streams
//! - `machine`: QEMU, in which it runs
//! - this file: what tests ask the node for, and a transcript of it

pub mod agent;
pub mod base;
pub mod bundle;
pub mod disk;
mod initramfs;
mod installed;
mod machine;
pub mod rauc;
pub mod slots;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{Console, shell};
use agent::{Agent, Job};
use disk::Disks;
use machine::Machine;

pub use installed::{INSTALLED, INSTALLED_WITH_SLOTS};
pub use machine::FIRMWARE;

/// A running node. Dropped, it is switched off.
#[derive(Debug)]
pub struct Node {
    agent: Agent,
    machine: Machine,
    transcript: Mutex<File>,
    start: Instant,
    /// How long it took from power on until all its units ran.
    pub boot: Duration,
}

/// What a program in the node said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// How.
    pub status: ExitStatus,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl Node {
    /// Boots one and waits until all its units run. Its serial log and the transcript go to `logs`.
    ///
    /// # Errors
    /// If it does not come up, with the end of its serial log; or if a unit failed.
    pub fn boot(disks: &Disks, logs: &Path) -> Result<Self> {
        std::fs::create_dir_all(logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let transcript = logs.join("transcript.txt");
        let transcript =
            File::create(&transcript).with_context(|| format!("cannot write {}", transcript.display()))?;
        let serial = logs.join("serial.log");
        let mut node = Self::switch_on(machine::with_disks(disks, &serial), &serial, transcript)?;
        node.settle()?;
        Ok(node)
    }

    /// Switches a node with slots on and waits until somebody answers there: not until its units run. The disk keeps what
    /// is written to it. Its transcript goes to the end of `transcript`.
    ///
    /// # Errors
    /// If it does not come up, with the end of its serial log.
    pub fn boot_slots(disk: &Path, stick: &Path, serial: &Path, transcript: &Path) -> Result<Self> {
        let log = File::options().append(true).create(true).open(transcript);
        let log = log.with_context(|| format!("cannot write {}", transcript.display()))?;
        Self::switch_on(machine::with_slots(disk, stick, serial), serial, log)
    }

    fn switch_on(qemu: Command, serial: &Path, transcript: File) -> Result<Self> {
        let start = Instant::now();
        let (machine, agent) = Machine::start(qemu, serial)?;
        Ok(Self { agent, machine, transcript: Mutex::new(transcript), start, boot: Duration::default() })
    }

    /// Waits until all its units run.
    ///
    /// # Errors
    /// If one failed.
    pub fn settle(&mut self) -> Result<()> {
        let state = self.try_run(&["systemctl", "is-system-running", "--wait"])?;
        self.boot = self.start.elapsed();
        if state.stdout.trim() != "running" {
            let failed = self.run(&["systemctl", "--failed", "--no-legend", "--plain"])?;
            bail!("the node is {}: {failed}\n{}", state.stdout.trim(), self.journal());
        }
        Ok(())
    }

    /// Takes its power away. What it had not written yet is lost.
    pub fn cut(self) {
        self.remark("the power is cut");
    }

    /// Waits until it restarts or switches itself off, which ends the machine.
    ///
    /// # Errors
    /// If it does neither.
    pub fn wait_for_end(mut self) -> Result<()> {
        self.machine.wait_for_end()
    }

    /// Restarts it, which ends the machine.
    ///
    /// # Errors
    /// If it does not.
    pub fn restart(mut self) -> Result<()> {
        let command = ["systemctl", "reboot"];
        self.write(&format!("# {}\n", command.join(" ")));
        // Whether its end is told before the node is gone, is chance.
        let _job = self.agent.start(&command)?;
        self.machine.wait_for_end()
    }

    /// Runs a program to its end, without input.
    ///
    /// # Errors
    /// If it cannot be started, does not end, or the node is gone.
    pub fn try_run(&self, arguments: &[&str]) -> Result<Said> {
        let said = self.ask(arguments)?;
        self.note(&format!("# {}\n{}{}", arguments.join(" "), said.stdout, said.stderr), said.status);
        Ok(said)
    }

    /// The same without a word in the transcript: for questions that are asked over and over.
    ///
    /// # Errors
    /// As [`Node::try_run`].
    pub fn ask(&self, arguments: &[&str]) -> Result<Said> {
        let doing = || format!("`{}` in the node", arguments.join(" "));
        let mut job = self.agent.start(arguments).with_context(doing)?;
        job.input.close().with_context(doing)?;
        finish(job).with_context(doing)
    }

    /// Runs a program to its end, without input, and returns its stdout.
    ///
    /// # Errors
    /// As [`Node::try_run`], and if it fails, with what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let said = self.try_run(arguments)?;
        ensure!(
            said.status.success(),
            "`{}` in the node failed with {}:\n{}",
            arguments.join(" "),
            shell::ending(said.status),
            said.stderr.trim_end()
        );
        Ok(said.stdout)
    }

    /// Runs a line of shell.
    ///
    /// # Errors
    /// As [`Node::run`].
    pub fn shell(&self, line: &str) -> Result<String> {
        self.run(&["sh", "-c", line])
    }

    /// Copies a file into the node.
    ///
    /// # Errors
    /// If it cannot be read, or there is no room there.
    pub fn put(&self, from: &Path, to: &str) -> Result<()> {
        let doing = || format!("cannot copy {} into the node", from.display());
        let bytes = std::fs::read(from).with_context(doing)?;
        let mut job = self.agent.start(&["sh", "-c", "cat > \"$1\"", "sh", to])?;
        job.input.write_all(&bytes).and_then(|()| job.input.flush()).with_context(doing)?;
        job.input.close()?;
        let said = finish(job).with_context(doing)?;
        ensure!(said.status.success(), "cannot copy {} to {to} in the node: {}", from.display(), said.stderr);
        self.note(&format!("# (copied in: {to}, {} bytes)\n", bytes.len()), said.status);
        Ok(())
    }

    /// Starts a program that is talked to, such as `ctr run`.
    ///
    /// # Errors
    /// If the node is gone.
    pub fn console(&self, arguments: &[&str]) -> Result<Console> {
        self.write(&format!("# {}  (in the background)\n", arguments.join(" ")));
        Ok(Console::in_node(self.agent.start(arguments)?))
    }

    /// Runs a program with this program's own stdin, stdout and stderr, until it ends.
    ///
    /// # Errors
    /// If it cannot be started, or the node is gone.
    pub fn attach(&self, arguments: &[&str]) -> Result<ExitStatus> {
        let Job { mut input, mut stdout, mut stderr, mut end } = self.agent.start(arguments)?;
        // Neither of them outlives the program in the node by more than what waits for a key.
        std::thread::spawn(move || {
            std::io::copy(&mut std::io::stdin(), &mut input).and_then(|_| input.flush())
        });
        let errors = std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
        let copied = std::io::copy(&mut stdout, &mut std::io::stdout()).context("cannot show its output");
        let _ = errors.join();
        copied.and_then(|_| end.wait())
    }

    /// Connects to a Unix socket in the node.
    ///
    /// # Errors
    /// If the node is gone.
    pub fn connect(&self, socket: &str) -> Result<Job> {
        self.agent.connect(socket)
    }

    /// A line for the reader of the transcript.
    pub fn remark(&self, text: &str) {
        self.write(&format!("\n== {text} ({} s after power on)\n", self.start.elapsed().as_secs()));
    }

    /// What a console showed, set apart.
    pub fn quote(&self, text: &str) {
        let text = text.replace('\r', "");
        self.write(&text.lines().map(|line| format!("    | {line}\n")).collect::<String>());
    }

    /// The node's own log; as much as can be had.
    pub fn journal(&self) -> String {
        let journal = self.ask(&["journalctl", "--boot", "--no-hostname", "--output=short-monotonic"]);
        journal.map(|said| said.stdout).unwrap_or_else(|error| format!("{error:#}\n"))
    }

    fn note(&self, text: &str, status: ExitStatus) {
        let end = if status.success() { String::new() } else { format!("[{}]\n", shell::ending(status)) };
        let gap = if text.ends_with('\n') { "" } else { "\n" };
        self.write(&format!("{text}{gap}{end}"));
    }

    fn write(&self, text: &str) {
        // A full disk fails elsewhere, and louder.
        let _ = self.transcript.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes());
    }
}

/// Takes what it says until it has ended.
fn finish(mut job: Job) -> Result<Said> {
    // Both streams are gathered while we wait, so their order does not matter.
    let status = job.end.wait()?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    job.stdout.read_to_end(&mut stdout).context("cannot read its output")?;
    job.stderr.read_to_end(&mut stderr).context("cannot read its errors")?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Where the logs of a node of this name go.
///
/// # Errors
/// If the folder above cannot be made.
pub fn logs(workspace: &crate::Workspace, name: &str) -> Result<PathBuf> {
    Ok(workspace.kit("node")?.join("logs").join(name))
}
