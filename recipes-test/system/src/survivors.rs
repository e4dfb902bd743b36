//! What becomes of whom when something dies, or belongs to somebody else.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::{OURS_XEN, OURS_XEN_VUART};
use micrun_testkit::wait;

use crate::stage::{Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("containerd is restarted and the guest stays", containerd_restarts),
        story("the shim is killed and its domain goes with it", shim_is_killed),
        story(
            "the domain is destroyed behind the shim's back, and the task ends with 255",
            domain_is_destroyed,
        ),
        story("a domain that dies while it is paused ends its task, too", paused_domain_dies),
        story("another's domain is never touched", foreign_domain),
    ]
}

/// It is the same domain afterwards, and it still answers to a kill.
fn containerd_restarts(stage: &mut Stage<'_>) -> Result<()> {
    stage.start(&OURS_XEN, "restart", &[])?;
    let before = stage.domain("restart")?;
    stage.node.run(&["systemctl", "restart", "containerd"])?;
    stage.wait_state("restart", "RUNNING")?;
    ensure!(before.is_some() && stage.domain("restart")? == before, "it is another domain than {before:?}");
    stage.ctr(&["task", "kill", "--signal", "SIGKILL", "restart"])?;
    let status = stage.reap("restart")?;
    ensure!(status == 137, "after the restart a kill should give 137, not {status}");
    Ok(())
}

/// containerd has the shim's `delete` clean up: no domain lives on unnoticed.
fn shim_is_killed(stage: &mut Stage<'_>) -> Result<()> {
    stage.start(&OURS_XEN, "orphan", &[])?;
    stage.node.run(&["pkill", "--signal", "KILL", "--full", "containerd-shim-mica-v2.*orphan"])?;
    stage.wait_until_gone("orphan")?;
    wait::gently(wait::DEADLINE, "the task to be gone", || {
        Ok(stage.state("orphan")?.is_none().then_some(()))
    })?;
    stage.ctr(&["container", "rm", "orphan"])?;
    stage.node.run(&["rm", "/tmp/orphan.log"]).map(drop)
}

fn domain_is_destroyed(stage: &mut Stage<'_>) -> Result<()> {
    stage.start(&OURS_XEN, "vanish", &[])?;
    destroy_behind_its_back(stage, "vanish")
}

fn paused_domain_dies(stage: &mut Stage<'_>) -> Result<()> {
    stage.start(&OURS_XEN, "still", &[])?;
    stage.ctr(&["task", "pause", "still"])?;
    stage.wait_state("still", "PAUSED")?;
    destroy_behind_its_back(stage, "still")
}

fn destroy_behind_its_back(stage: &Stage<'_>, id: &str) -> Result<()> {
    let domain = stage.domain(id)?.context("it has no domain")?;
    stage.node.run(&["xl", "destroy", &domain.id])?;
    let status = stage.reap(id)?;
    ensure!(status == 255, "a guest whose domain vanished ends with 255, not {status}");
    Ok(())
}

/// Someone else's domain runs beside ours, under a name that ours could have; killing our shim leaves it alone.
fn foreign_domain(stage: &mut Stage<'_>) -> Result<()> {
    let foreign = "orphan-0123456789abcdef";
    stage.create_domain(&OURS_XEN_VUART, foreign)?;
    let before = stage.domain("orphan")?;
    ensure!(before.is_some(), "the other's domain does not run");
    stage.start(&OURS_XEN, "neighbour", &[])?;
    stage.node.run(&["pkill", "--signal", "KILL", "--full", "containerd-shim-mica-v2.*neighbour"])?;
    stage.wait_until_gone("neighbour")?;
    wait::gently(wait::DEADLINE, "the task to be gone", || {
        Ok(stage.state("neighbour")?.is_none().then_some(()))
    })?;
    stage.ctr(&["container", "rm", "neighbour"])?;
    stage.node.run(&["rm", "/tmp/neighbour.log"])?;
    ensure!(stage.domain("orphan")? == before, "the other's domain was touched");
    stage.destroy_domain(foreign)
}
