//! What engines do, through containerd's API and without any of them: their calls, their streams, and what they look at. There
//! is no nerdctl package in Debian 12; what counts for a shim is which calls come, in which order. CRI itself is driven by
//! recipes-test/pods.
//!
//! - [`calls`]: every call of the Task service, in every state, with its code and its event
//! - [`nerdctl`]: `run -d`, `-i`, `-it`, `attach`, `stop`, and hooks (pkg/taskutil, pkg/cioutil of nerdctl 2)
//! - [`cri`]: a container of a pod, from Create to Remove (internal/cri/io and internal/cri/server of containerd 2)

mod calls;
mod cri;
mod nerdctl;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::client::{Client, Fifos, Status, Stdio};
use micrun_testkit::firmware::{Firmware, OURS_ARM64};

use crate::node::{RUNTIME, Stage, Story};

/// Signals by number, as the API has them.
const SIGINT: u32 = 2;
const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

const FIRMWARE: Firmware = OURS_ARM64;

pub fn stories() -> Vec<Story> {
    let mut stories = calls::stories();
    stories.extend(nerdctl::stories());
    stories.extend(cri::stories());
    stories
}

impl Stage<'_> {
    /// A container of the test firmware, without a task.
    fn container(&self, id: &str, options: &[&str]) -> Result<()> {
        self.import_firmware(&FIRMWARE)?;
        self.create_container(RUNTIME, &FIRMWARE.image(), id, options)
    }

    /// Streams into a file of this trial's own.
    fn to_log(&self, id: &str) -> Stdio {
        let stdout = format!("file://{}", self.log(id).display());
        Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() }
    }

    /// A task with FIFOs, started and at its prompt.
    fn at_its_prompt(&self, client: &Client, id: &str, fifos: &Fifos) -> Result<()> {
        client.create(id, fifos.stdio())?;
        client.start(id, "")?;
        let prompt = FIRMWARE.shell.context("the firmware has a shell")?.prompt;
        fifos.stdout.wait_for(prompt)
    }

    /// Deletes task and container, and looks that the task ended so.
    fn delete_ended(&self, client: &Client, id: &str, expected: u32) -> Result<()> {
        let status = client.wait(id, "")?;
        ensure!(status == expected, "{id} ended with {status}, not {expected}");
        client.wait_status(id, Status::Stopped)?;
        ensure!(client.delete(id)? == expected, "Delete knows another status than Wait");
        self.run_ctr(["container", "rm", id]).map(drop)
    }
}
