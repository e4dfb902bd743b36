//! The files that `kubectl logs` reads.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::cri::{self, log};

use crate::node::{FIRMWARE, SHELL, Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![story("logs: complete, in CRI's format, and in a new file when the old one is moved away", logs)]
}

/// Lines of the flood.
const LINES: usize = 1000;

fn logs(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("logs", &[SHELL])?;
    let id = stage.start(&pod, cri::container("rtos", &FIRMWARE.image()))?;
    let path = stage.log("rtos", 0);
    stage.cri.exec_sync(&id, &["flood", &LINES.to_string()], 30)?;
    stage.wait_for_log("rtos", 0, &format!("flood {LINES:06}"))?;
    let flood = |text: &str| text.lines().filter(|line| line.starts_with("flood 00")).count();
    let lines = log::read(&path)?;
    ensure!(
        flood(&log::text(&lines)) == LINES,
        "not {LINES} lines of the flood, but {}",
        flood(&log::text(&lines))
    );
    ensure!(lines.iter().all(|line| line.stream == "stdout"), "a guest has one console");
    ensure!(lines[0].text.starts_with(FIRMWARE.banner), "the first line is {:?}", lines[0]);

    // Longer than a line of the file may be.
    let long = "x".repeat(cri::LINE + cri::LINE / 2);
    stage.cri.exec_sync(&id, &["echo", &long], 30)?;
    stage.wait_for_log("rtos", 0, &format!("\n{long}\n"))?;
    let partial = log::read(&path)?.iter().any(|line| line.is_partial && line.text.starts_with("xxx"));
    ensure!(partial, "the long line is in one piece");

    let moved = stage.scratch.path().join("moved.log");
    std::fs::rename(&path, &moved).context("cannot move the log")?;
    stage.cri.reopen_log(&id)?;
    let before = std::fs::metadata(&moved).context("the old log is gone")?.len();
    stage.cri.exec_sync(&id, &["echo", "in the new file"], 30)?;
    stage.wait_for_log("rtos", 0, "\nin the new file")?;
    let after = std::fs::metadata(&moved).context("the old log is gone")?.len();
    ensure!(before == after, "the old file still grows");

    // What was written last is there when the end is reported.
    let _ = stage.cri.exec_sync(&id, &["crash"], 20);
    stage.ended(&id, 255, "Error")?;
    let text = log::text(&log::read(&path)?);
    ensure!(text.contains("FAULT:"), "the last words are missing: {text:?}");
    stage.end(&pod)
}
