//! What we cost beside Xen itself, in the same boot: printed, not judged, since an emulator on a busy machine is no
//! clock. On a board the figures are a twentieth of these; their ratio holds better.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use micrun_testkit::firmware::OURS_XEN;
use micrun_testkit::{Console, wait};

use crate::stage::{Stage, Story};
use crate::story;

/// Runs of each.
const RUNS: usize = 3;

pub fn stories() -> Vec<Story> {
    vec![story("figures: first byte after `xl create` and after `ctr run`, and the shim's memory", measure)]
}

fn measure(stage: &mut Stage<'_>) -> Result<()> {
    let (mut xl, mut ctr) = (Vec::new(), Vec::new());
    let mut memory = 0;
    stage.put_configuration(&OURS_XEN, "figure")?;
    for run in 0..RUNS {
        let start = Instant::now();
        let console = stage.node.console(&["xl", "create", "-q", "-c", "/tmp/figure.cfg"])?;
        xl.push(first_byte(&console, start)?);
        stage.node.run(&["xl", "destroy", "figure"])?;
        drop(console);

        let id = format!("figure{run}");
        let start = Instant::now();
        let mut console = stage.foreground(&OURS_XEN, &id, &[])?;
        ctr.push(first_byte(&console, start)?);
        memory = stage.shim_pss(&id)?;
        stage.ctr(&["task", "kill", "--signal", "SIGKILL", &id])?;
        console.exit()?;
    }
    stage.remove_configuration("figure")?;
    let (xl, ctr) = (median(&mut xl), median(&mut ctr));
    let table = format!(
        "| {:<6} | {:>22} | {:>22} | {:>10} | {:>14} |\n| --- | --- | --- | --- | --- |\n\
         | {:<6} | {:>19} ms | {:>19} ms | {:>7} ms | {:>11} kB |",
        "driver",
        "xl create to 1st byte",
        "ctr run to 1st byte",
        "more",
        "PSS of shim",
        stage.driver.name(),
        xl.as_millis(),
        ctr.as_millis(),
        ctr.saturating_sub(xl).as_millis(),
        memory
    );
    stage.node.remark(&format!("medians of {RUNS}\n{table}"));
    println!("\nmedians of {RUNS} on an emulated CPU\n{table}\n");
    Ok(())
}

fn first_byte(console: &Console, start: Instant) -> Result<Duration> {
    wait::until("the first byte", || Ok((!console.seen().is_empty()).then(|| start.elapsed())))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

impl Stage<'_> {
    /// What a container's shim keeps in memory, in kB: its proportional set size.
    fn shim_pss(&self, id: &str) -> Result<u64> {
        // The brackets keep the pattern from finding the shell that it is in.
        let line =
            "awk '/^Pss:/ { print $2 }' /proc/$(pgrep --full \"[c]ontainerd-shim-mica-v2.*$1\")/smaps_rollup";
        let said = self.node.run(&["sh", "-c", line, "sh", id])?;
        said.trim().parse().with_context(|| format!("the shim's memory is {said:?}"))
    }
}
