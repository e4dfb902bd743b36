//! What tests ask a private containerd for, through the `ctr` of its own release.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::containerd::ADDRESS;
use crate::{Containerd, shell, wait};

impl Containerd {
    /// A `ctr` of the same release, ready for [`crate::namespace::Namespace::spawn`].
    pub fn ctr<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.program(self.release().bin.join("ctr"));
        command.args(["--address", ADDRESS, "--namespace", self.containers()]).args(arguments);
        command
    }

    /// Runs `ctr` without input to its end, whatever its exit status.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn try_ctr<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        let mut command = self.ctr(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.namespace.spawn(&mut command)?;
        child.wait_with_output().with_context(|| format!("cannot wait for `{}`", shell::line(&command)))
    }

    /// Runs `ctr` to its end and returns its stdout.
    ///
    /// # Errors
    /// With what it wrote to stderr, if its exit status is not 0.
    pub fn run_ctr<A: AsRef<OsStr> + Clone>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        let arguments: Vec<A> = arguments.into_iter().collect();
        let output = self.try_ctr(arguments.iter())?;
        if !output.status.success() {
            let line = shell::line(&self.ctr(arguments.iter()));
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{line}` failed with {}:\n{}", shell::ending(output.status), said.trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Imports an OCI archive.
    ///
    /// # Errors
    /// If containerd refuses it.
    pub fn import(&self, archive: &Path) -> Result<()> {
        self.run_ctr([OsStr::new("image"), OsStr::new("import"), archive.as_os_str()]).map(drop)
    }

    /// Removes every image with its content and snapshots.
    ///
    /// # Errors
    /// If containerd refuses.
    pub fn remove_images(&self) -> Result<()> {
        for image in self.list(["image", "ls", "-q"])? {
            self.run_ctr(["image", "rm", "--sync", &image])?;
        }
        Ok(())
    }

    /// The lines that a `ctr … ls -q` prints.
    ///
    /// # Errors
    /// If it fails.
    pub fn list<const N: usize>(&self, arguments: [&str; N]) -> Result<Vec<String>> {
        Ok(self.run_ctr(arguments)?.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// State of a task (`RUNNING`, `STOPPED`, …) and its PID inside; none if there is no such task.
    ///
    /// # Errors
    /// If containerd does not answer.
    pub fn task(&self, id: &str) -> Result<Option<(String, u32)>> {
        let tasks = self.run_ctr(["task", "ls"])?;
        for line in tasks.lines().skip(1) {
            if let [task, pid, state, ..] = line.split_whitespace().collect::<Vec<_>>()[..]
                && task == id
            {
                return Ok(Some((state.to_owned(), pid.parse().context("ctr task ls shows no PID")?)));
            }
        }
        Ok(None)
    }

    /// Waits until a task has the state.
    ///
    /// # Errors
    /// If that takes longer than [`wait::DEADLINE`], or there is no such task.
    pub fn wait_state(&self, id: &str, state: &str) -> Result<()> {
        wait::until(&format!("task {id} to be {state}"), || match self.task(id)? {
            Some((now, _)) => Ok((now == state).then_some(())),
            None => bail!("task {id} is gone while waiting for it to be {state}"),
        })
    }

    /// Waits for a task's end, deletes it and its container, and returns its exit status.
    ///
    /// # Errors
    /// If it does not end, or containerd refuses to delete it.
    pub fn reap(&self, id: &str) -> Result<i32> {
        let status = self.events()?.exit_status(id)?;
        self.wait_state(id, "STOPPED")?;
        self.run_ctr(["task", "rm", id])?;
        self.run_ctr(["container", "rm", id])?;
        Ok(status)
    }
}
