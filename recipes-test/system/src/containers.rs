//! What trials ask containerd for, through `ctr` in the node.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use micrun_testkit::node::Said;
use micrun_testkit::{Console, Firmware, wait};

use crate::stage::Stage;

/// The runtime's name, as users type it.
pub const RUNTIME: &str = "io.containerd.mica.v2";

impl Stage<'_> {
    /// Carries an archive into the node and imports it there.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let there = "/tmp/carried-in.tar";
        self.node.put(archive, there)?;
        self.ctr(&["image", "import", there])?;
        self.node.run(&["rm", there]).map(drop)
    }

    /// Removes the image of a firmware, and all that it brought.
    pub fn remove_image(&self, firmware: &Firmware) -> Result<()> {
        self.ctr(&["image", "rm", "--sync", &firmware.image()]).map(drop)
    }

    /// `ctr run` in the foreground.
    pub fn foreground(&self, firmware: &Firmware, id: &str, options: &[&str]) -> Result<Console> {
        let image = firmware.image();
        self.node.console(&[&["ctr", "run", "--rm", "--runtime", RUNTIME], options, &[&image, id]].concat())
    }

    /// `ctr run --detach`; the output goes to a file in the node.
    pub fn try_run_detached(&self, firmware: &Firmware, id: &str, options: &[&str]) -> Result<Said> {
        let (image, log) = (firmware.image(), format!("file:///tmp/{id}.log"));
        let run = ["run", "--detach", "--runtime", RUNTIME, "--log-uri", &log];
        self.try_ctr(&[&run, options, &[&image, id]].concat())
    }

    /// Starts a firmware detached and waits for its banner.
    pub fn start(&self, firmware: &Firmware, id: &str, options: &[&str]) -> Result<()> {
        let said = self.try_run_detached(firmware, id, options)?;
        ensure!(said.status.success(), "ctr run --detach failed: {}", said.stderr);
        self.wait_for_log(id, firmware.banner)
    }

    /// Waits for a text in the output of a detached guest.
    pub fn wait_for_log(&self, id: &str, text: &str) -> Result<()> {
        let log = format!("/tmp/{id}.log");
        wait::gently(wait::DEADLINE, &format!("{text:?} from {id}"), || {
            Ok(self.node.ask(&["cat", &log])?.stdout.contains(text).then_some(()))
        })?;
        self.node.run(&["cat", &log]).map(drop)
    }

    /// State of a task (`RUNNING`, `STOPPED`, …); none if there is no such task.
    pub fn state(&self, id: &str) -> Result<Option<String>> {
        let tasks = self.node.ask(&["ctr", "task", "ls"])?.stdout;
        let state = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [task, _, state] if task == id => Some(state.to_owned()),
            _ => None,
        };
        Ok(tasks.lines().skip(1).find_map(state))
    }

    /// Waits until a task has the state.
    pub fn wait_state(&self, id: &str, state: &str) -> Result<()> {
        wait::gently(wait::DEADLINE, &format!("task {id} to be {state}"), || match self.state(id)? {
            Some(now) => Ok((now == state).then_some(())),
            None => bail!("task {id} is gone while waiting for it to be {state}"),
        })?;
        self.ctr(&["task", "ls"]).map(drop)
    }

    /// Waits for a task's end, deletes it, its container and its log, and returns its exit status.
    pub fn reap(&self, id: &str) -> Result<i32> {
        self.wait_state(id, "STOPPED")?;
        let said = self.try_ctr(&["task", "rm", id])?;
        ensure!(said.status.success(), "ctr task rm failed: {}", said.stderr);
        self.ctr(&["container", "rm", id])?;
        self.node.run(&["rm", "-f", &format!("/tmp/{id}.log")])?;
        // `… level=warning msg="task ID exit with non-zero exit code 143"`, and nothing at all for 0.
        let Some((_, code)) = said.stderr.rsplit_once("exit code ") else { return Ok(0) };
        code.trim_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .with_context(|| format!("ctr said {}", said.stderr))
    }
}
