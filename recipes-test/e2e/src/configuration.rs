//! A node's own configuration: what it allows, what it denies, and what `micrun explain` says about it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::etc::{CONF, OwnEtc, write};
use micrun_testkit::firmware::OURS_ARM64;

use crate::node::{Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![story("a node's configuration denies, allows and explains", |stage| {
        stage.import_firmware(&OURS_ARM64)?;
        let etc = OwnEtc::new(stage.namespace())?;
        let told = tell(stage);
        etc.end(stage.namespace())?;
        told
    })]
}

fn tell(stage: &Stage<'_>) -> Result<()> {
    let pod = "/etc/mica/micrun/pods/small.conf";
    let annotation = format!("org.openeuler.micrun.config_path={pod}");
    let options = ["--annotation", annotation.as_str()];

    refused(stage, &options, &["config_path", pod, "[policy.allow]", CONF])?;
    write(stage.namespace(), CONF, "[guest]\nmemroy = 32\n")?;
    refused(stage, &[], &[&format!("{CONF}:2:1"), "did you mean `guest.memory`?"])?;
    write(stage.namespace(), CONF, "[policy.allow]\nconfig_path = [\"/etc/mica/micrun/pods/*\"]\n")?;
    // Not the weight: ctr asks for shares, and that counts for more.
    write(stage.namespace(), pod, "[guest]\ncapacity = 50\n")?;

    let id = "allowed-one";
    let run = stage.try_run_detached(&OURS_ARM64.image(), id, &options)?;
    ensure!(run.status.success(), "ctr run failed: {}", String::from_utf8_lossy(&run.stderr));
    stage.wait_for_log(id, OURS_ARM64.banner)?;
    let table = explain(stage, id)?;
    for line in [
        format!("capacity 50 {pod}:2"),
        "board qemu_arm64 board in the image's client.conf".to_owned(),
        format!("config_path {pod} annotation org.openeuler.micrun.config_path"),
        "exec.timeout 30s default".to_owned(),
    ] {
        ensure!(table.lines().any(|have| have.starts_with(&line)), "{line:?} is not in\n{table}");
    }
    stage.kill(id, "SIGKILL")?;
    stage.run_ctr(["task", "delete", "--force", id])?;
    stage.run_ctr(["container", "rm", id])?;
    Ok(())
}

/// Create fails, and the sentence has all the words.
fn refused(stage: &Stage<'_>, options: &[&str], words: &[&str]) -> Result<()> {
    let id = "refused-by-node";
    let run = stage.try_run_detached(&OURS_ARM64.image(), id, options)?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(!run.status.success(), "ctr run should have failed");
    for word in words {
        ensure!(said.contains(word), "the error should name {word:?}: {said}");
    }
    stage.run_ctr(["container", "rm", id])?;
    Ok(())
}

/// What `micrun explain` prints, one blank between columns.
fn explain(stage: &Stage<'_>, id: &str) -> Result<String> {
    let mut command = Command::new(stage.product.command());
    command.args(["explain", id]);
    let output = stage.namespace().inside(|| command.output().context("cannot run micrun"))?;
    ensure!(output.status.success(), "micrun explain failed: {}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8_lossy(&output.stdout);
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}
