//! What a node cannot give. The user gets one sentence that names what is missing, and nothing stays behind.

use anyhow::{Result, ensure};
use micrun_testkit::Firmware;
use micrun_testkit::firmware::OURS_XEN;

use crate::stage::{Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("refused: more memory than Xen has", too_much_memory),
        story("refused: a core that the node does not have", no_such_core),
        story("refused: a core that another guest was given alone", taken_core),
    ]
}

/// Each virtual CPU gets a core that nobody else has.
const PINNED: [&str; 2] = ["--annotation", "org.openeuler.micrun.runtime.vcpu_pcpu_binding=true"];

fn too_much_memory(stage: &mut Stage<'_>) -> Result<()> {
    // In bytes: four times what the whole machine has.
    refused(stage, &OURS_XEN, &["--memory-limit", "8589934592"], &["8192 MiB"])
}

/// The node has core 0 alone.
fn no_such_core(stage: &mut Stage<'_>) -> Result<()> {
    let firmware = stage.import_for_core("7")?;
    refused(stage, &firmware, &[], &["of the cores 7 none exists"])?;
    stage.remove_image(&firmware)
}

fn taken_core(stage: &mut Stage<'_>) -> Result<()> {
    let firmware = stage.import_for_core("0")?;
    stage.start(&firmware, "holder", &PINNED)?;
    refused(stage, &firmware, &PINNED, &["core 0 belongs to container", "holder"])?;
    stage.ctr(&["task", "kill", "--signal", "SIGKILL", "holder"])?;
    stage.reap("holder")?;
    stage.remove_image(&firmware)
}

/// Create fails with one line that holds the container's id and all the words.
pub fn refused(stage: &Stage<'_>, firmware: &Firmware, options: &[&str], words: &[&str]) -> Result<()> {
    let id = "refused";
    let said = stage.try_run_detached(firmware, id, options)?;
    ensure!(!said.status.success(), "ctr run should have failed");
    let sentence = said.stderr.trim_end();
    ensure!(sentence.lines().count() == 1, "one sentence expected, but it said:\n{sentence}");
    for word in words.iter().chain(&[id]) {
        ensure!(sentence.contains(word), "the error should name {word:?}: {sentence}");
    }
    // ctr keeps the container when only its task failed, and micad refuses at the start, when the log is there.
    stage.ctr(&["container", "rm", id])?;
    stage.node.run(&["rm", "-f", "/tmp/refused.log"]).map(drop)
}

impl Stage<'_> {
    /// An image whose client.conf says on which core its guest runs: `ctr` 1.7 has no option for that.
    fn import_for_core(&self, core: &str) -> Result<Firmware> {
        let mut firmware = OURS_XEN;
        firmware.tag = "for-a-core";
        self.import(&self.pack(&firmware, &[&format!("CPU={core}")])?)?;
        Ok(firmware)
    }
}
