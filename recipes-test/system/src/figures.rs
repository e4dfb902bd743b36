//! What we cost beside Xen itself, in the same boot: printed, not judged, since an emulator on a busy machine is no
//! clock. On a board the figures are a twentieth of these; their ratio holds better. A container of runc in the same boot
//! shows how much of it is containerd's.

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

/// A root with one program, for a container of runc: what containerd itself costs.
const PEER_ROOT: &str = "/tmp/peer";

fn measure(stage: &mut Stage<'_>) -> Result<()> {
    let (mut xl, mut ours, mut runc) = (Vec::new(), Vec::new(), Vec::new());
    let (mut memory, mut runc_memory) = (0, 0);
    stage.put_configuration(&OURS_XEN, "figure")?;
    stage.node.shell(&format!("mkdir -p {PEER_ROOT}/bin && cp /usr/bin/busybox {PEER_ROOT}/bin"))?;
    for run in 0..RUNS {
        let start = Instant::now();
        let console = stage.node.console(&["xl", "create", "-q", "-c", "/tmp/figure.cfg"])?;
        xl.push(first_byte(&console, start)?);
        stage.node.run(&["xl", "destroy", "figure"])?;
        drop(console);

        let id = format!("figure{run}");
        let start = Instant::now();
        let mut console = stage.foreground(&OURS_XEN, &id, &[])?;
        ours.push(first_byte(&console, start)?);
        memory = stage.shim_pss("mica", &id)?;
        stage.ctr(&["task", "kill", "--signal", "SIGKILL", &id])?;
        console.exit()?;

        let id = format!("peer{run}");
        let script = ["/bin/busybox", "sh", "-c", "echo here; exec sleep 600"];
        let start = Instant::now();
        let command = ["ctr", "run", "--rm", "--rootfs", PEER_ROOT, &id];
        let mut console = stage.node.console(&[&command[..], &script].concat())?;
        runc.push(first_byte(&console, start)?);
        runc_memory = stage.shim_pss("runc", &id)?;
        stage.ctr(&["task", "kill", "--signal", "SIGKILL", &id])?;
        console.exit()?;
    }
    stage.remove_configuration("figure")?;
    stage.node.run(&["rm", "-r", PEER_ROOT])?;
    let [xl, ours, runc] = [xl, ours, runc].map(|mut times| median(&mut times).as_millis());
    let table = format!(
        "| driver {} | first byte after | PSS of the shim |\n| --- | ---: | ---: |\n\
         | `xl create` | {xl} ms | |\n\
         | `ctr run`, ours | {ours} ms, {} more | {memory} kB |\n\
         | `ctr run`, runc and a Linux program | {runc} ms | {runc_memory} kB |",
        stage.driver.name(),
        ours.saturating_sub(xl),
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
    /// What a container's shim of a kind keeps in memory, in kB: its proportional set size.
    fn shim_pss(&self, kind: &str, id: &str) -> Result<u64> {
        // The brackets keep the pattern from finding the shell that it is in.
        let line = "awk '/^Pss:/ { print $2 }' \
                    /proc/$(pgrep --full \"[c]ontainerd-shim-$1-v2.*$2\")/smaps_rollup";
        let said = self.node.run(&["sh", "-c", line, "sh", kind, id])?;
        said.trim().parse().with_context(|| format!("the shim's memory is {said:?}"))
    }
}
