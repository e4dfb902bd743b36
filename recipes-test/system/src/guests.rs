//! What a user does with a guest: types to it, pauses it, changes what it may use, ends it.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use micrun_testkit::Firmware;
use micrun_testkit::firmware::{OURS_XEN, OURS_XEN_VUART};
use micrun_testkit::{ttrpc, wait};

use crate::stage::{Driver, Stage, Story};
use crate::story;

/// Where containerd 1.7 keeps its tasks.
const TASKS: &str = "/run/containerd/io.containerd.runtime.v2.task/default";
/// How containerd names the type of what Update carries (typeurl of a Go structure).
const RESOURCES: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

pub fn stories() -> Vec<Story> {
    vec![
        story("a guest is typed to, answers and powers itself off", talk),
        Story {
            name: "firmware that knows nothing of Xen talks through an emulated UART",
            // The daemon's guests have no other console than RPMsg.
            drivers: &[Driver::Direct],
            tell: talk_through_uart,
        },
        story("a guest that crashes ends with 255", crash),
        story("a guest is paused and goes on", pause),
        story("a guest that is asked to end does so, and one that is killed, too", kill),
        story("the use of a guest is measured", stats),
        story("an update changes the domain's weight and cap while it runs", update),
        story("two guests run at once, each with its own console", two),
    ]
}

fn talk(stage: &mut Stage<'_>) -> Result<()> {
    talk_to(stage, &OURS_XEN)
}

fn talk_through_uart(stage: &mut Stage<'_>) -> Result<()> {
    talk_to(stage, &OURS_XEN_VUART)
}

/// Its banner and prompt arrive, a line goes in, its answer comes back; then its own end is a success.
fn talk_to(stage: &Stage<'_>, firmware: &Firmware) -> Result<()> {
    let mut console = stage.foreground(firmware, "talk", &[])?;
    let shell = console.wait_for_prompt(firmware)?;
    console.send(shell.command)?;
    console.wait_for(shell.answer)?;
    console.wait_for(shell.prompt)?;
    console.send("poweroff")?;
    let status = console.exit()?;
    stage.node.quote(&console.seen());
    ensure!(status == 0, "a guest that powers itself off ends with 0, not {status}");
    Ok(())
}

fn crash(stage: &mut Stage<'_>) -> Result<()> {
    let mut console = stage.foreground(&OURS_XEN, "crash", &[])?;
    console.wait_for_prompt(&OURS_XEN)?;
    console.send("crash")?;
    console.wait_for("FAULT")?;
    let status = console.exit()?;
    stage.node.quote(&console.seen());
    ensure!(status == 255, "a guest that crashes ends with 255, not {status}");
    Ok(())
}

/// While it is paused its clock stands still, and it answers afterwards what was asked meanwhile.
fn pause(stage: &mut Stage<'_>) -> Result<()> {
    let mut console = stage.foreground(&OURS_XEN, "pause", &[])?;
    let shell = console.wait_for_prompt(&OURS_XEN)?;
    stage.ctr(&["task", "pause", "pause"])?;
    stage.wait_state("pause", "PAUSED")?;
    let state = stage.domain("pause")?.context("its domain is gone")?.state;
    ensure!(state.contains('p'), "Xen says that the domain is {state:?}");
    let before = console.seen().len();
    console.send(shell.command)?;
    stage.ctr(&["task", "ls"])?;
    ensure!(console.seen().len() == before, "a paused guest said something");
    stage.ctr(&["task", "resume", "pause"])?;
    stage.wait_state("pause", "RUNNING")?;
    console.wait_for(shell.answer)?;
    stage.ctr(&["task", "kill", "--signal", "SIGKILL", "pause"])?;
    let status = console.exit()?;
    ensure!(status == 137, "a killed guest ends with 137, not {status}");
    Ok(())
}

fn kill(stage: &mut Stage<'_>) -> Result<()> {
    for (signal, expected) in [("SIGTERM", 143), ("SIGKILL", 137)] {
        stage.start(&OURS_XEN, "kill", &[])?;
        stage.ctr(&["task", "kill", "--signal", signal, "kill"])?;
        let status = stage.reap("kill")?;
        ensure!(status == expected, "after {signal} a guest ends with {expected}, not {status}");
        ensure!(stage.domain("kill")?.is_none(), "its domain is still there");
    }
    Ok(())
}

/// What the guest burns shows in its time, and its memory is the domain's. Dom0 wants the processor, too, so that half a second of
/// the guest's clock is not always half a second of processor time.
fn stats(stage: &mut Stage<'_>) -> Result<()> {
    let mut console = stage.foreground(&OURS_XEN, "stats", &[])?;
    let shell = console.wait_for_prompt(&OURS_XEN)?;
    let begin = Instant::now();
    let before = stage.metric("stats", "cpu.usage_usec")?;
    let burnt = wait::until("half a second of a guest that burns to be counted", || {
        console.send("burn 500")?;
        console.wait_for(shell.prompt)?;
        let burnt = stage.metric("stats", "cpu.usage_usec")?.saturating_sub(before);
        Ok((burnt >= 500_000).then_some(burnt))
    })?;
    let passed = begin.elapsed().as_micros();
    ensure!(u128::from(burnt) <= passed, "{burnt} us were counted in {passed} us");
    let memory = stage.metric("stats", "memory.usage")?;
    ensure!(memory >= 1 << 20, "its memory is {memory} bytes");
    stage.ctr(&["task", "kill", "--signal", "SIGKILL", "stats"])?;
    console.exit()?;
    Ok(())
}

/// Shares of 2048 are a weight of 512, a quota of half a period is a cap of 50 (docs/run.md).
fn update(stage: &mut Stage<'_>) -> Result<()> {
    stage.start(&OURS_XEN, "update", &[])?;
    stage.update("update", r#"{"cpu":{"shares":2048,"quota":50000,"period":100000}}"#)?;
    let domain = stage.domain("update")?.context("its domain is gone")?;
    let schedule = stage.node.run(&["xl", "sched-credit2", "-d", &domain.name])?;
    let words: Vec<&str> = schedule.lines().last().unwrap_or_default().split_whitespace().collect();
    ensure!(words.ends_with(&["512", "50"]), "weight 512 and cap 50 were asked for; Xen says {schedule}");
    stage.ctr(&["task", "kill", "--signal", "SIGKILL", "update"])?;
    stage.reap("update").map(drop)
}

fn two(stage: &mut Stage<'_>) -> Result<()> {
    let mut one = stage.foreground(&OURS_XEN, "one", &[])?;
    let mut other = stage.foreground(&OURS_XEN, "other", &[])?;
    one.wait_for_prompt(&OURS_XEN)?;
    other.wait_for_prompt(&OURS_XEN)?;
    for (console, name) in [(&mut one, "one"), (&mut other, "other")] {
        console.send(&format!("echo I am {name}"))?;
        console.wait_for(&format!("\nI am {name}"))?;
        console.send("poweroff")?;
        ensure!(console.exit()? == 0, "{name} did not end with 0");
    }
    ensure!(!one.seen().contains("I am other"), "one guest's words came through the other's console");
    Ok(())
}

impl Stage<'_> {
    /// A line of `ctr task metrics`.
    fn metric(&self, id: &str, name: &str) -> Result<u64> {
        let metrics = self.ctr(&["task", "metrics", id])?;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let value = line.with_context(|| format!("there is no {name} in:\n{metrics}"))?;
        value.trim().parse().with_context(|| format!("{name} is {value:?}"))
    }

    /// The Update of a task, which `ctr` has no command for: asked of the shim, as containerd does it.
    pub fn update(&self, id: &str, resources: &str) -> Result<()> {
        let address = self.node.run(&["cat", &format!("{TASKS}/{id}/address")])?;
        let path = address.trim().strip_prefix("unix://").context("the shim's address is no socket")?;
        let any = [ttrpc::field(1, RESOURCES.as_bytes()), ttrpc::field(2, resources.as_bytes())].concat();
        let request = [ttrpc::field(1, id.as_bytes()), ttrpc::field(2, &any)].concat();
        self.node.remark(&format!("(to the shim of {id}: Update {resources})"));
        let mut shim = ttrpc::Client::new(self.node.connect(path)?);
        let reply = shim.send("containerd.task.v2.Task", "Update", &request)?;
        // A response is its status, field 1, and a payload, field 2. Success is a status without fields.
        match reply[..] {
            [] | [0x0a, 0, ..] | [0x12, ..] => Ok(()),
            _ => bail!("the update failed: {}", String::from_utf8_lossy(&reply)),
        }
    }

    /// Waits until the domain of a container is gone.
    pub fn wait_until_gone(&self, id: &str) -> Result<()> {
        wait::gently(wait::DEADLINE, &format!("the domain of {id} to be gone"), || {
            Ok(self.domain(id)?.is_none().then_some(()))
        })
    }
}
