//! Every firmware, on every containerd: detached with a log, and in the foreground with its own shell.

use anyhow::{Result, ensure};
use micrun_testkit::{Firmware, firmware, wait};

use crate::node::{Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    let each = firmware::ALL.into_iter().flat_map(|firmware| {
        let name = firmware.name;
        [
            story(format!("{name} / detached"), move |stage| detached(stage, &firmware)),
            story(format!("{name} / foreground"), move |stage| foreground(stage, &firmware)),
        ]
    });
    each.collect()
}

/// It starts, its banner reaches the log, it is killed and deleted, and the events tell the same in order.
fn detached(stage: &mut Stage<'_>, firmware: &Firmware) -> Result<()> {
    stage.import_firmware(firmware)?;
    let id = &format!("{}-detached", firmware.tag);
    stage.start(firmware, id)?;

    let (state, pid) = stage.task(id)?.unwrap_or_default();
    ensure!(state == "RUNNING", "the task is {state:?} while its guest prints");
    let qemu = stage.qemu()?;
    ensure!(pid == qemu.inner_pid, "the task's PID is {pid}, not that of {qemu:?}");
    let guests = stage.guests()?;
    ensure!(guests.len() == 2, "one shim and one QEMU should run, not {guests:?}");

    stage.kill(id, "SIGKILL")?;
    let status = stage.reap(id)?;
    ensure!(status == 137, "a killed guest ends with 128 + 9, not {status}");

    // They reach us a little after the calls that cause them have returned.
    let events = wait::until("the event of the deletion", || {
        let events = stage.events()?.of_task(id);
        Ok(events.iter().any(|event| event.topic == "/tasks/delete").then_some(events))
    })?;
    let topics: Vec<&str> = events.iter().map(|event| event.topic.as_str()).collect();
    let expected = ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"];
    ensure!(topics == expected, "the events came as {topics:?}");
    Ok(())
}

/// Its output comes through pipes, and a command that is typed is answered.
fn foreground(stage: &mut Stage<'_>, firmware: &Firmware) -> Result<()> {
    stage.import_firmware(firmware)?;
    let id = &format!("{}-foreground", firmware.tag);
    let mut console = stage.foreground(firmware, id)?;
    if firmware.shell.is_some() {
        let shell = console.wait_for_prompt(firmware)?;
        console.send(shell.command)?;
        console.wait_for(shell.answer)?;
        console.wait_for(shell.prompt)?;
    } else {
        console.wait_for(firmware.banner)?;
    }
    stage.kill(id, "SIGKILL")?;
    let status = console.exit()?;
    ensure!(status == 137, "ctr run should end with the guest's 137, not {status}");
    Ok(())
}
