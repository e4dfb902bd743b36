//! A hundred containers at a time: each starts, answers a command and goes, and none costs more than the tenth did.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::{OURS_ARM64, Shell};
use micrun_testkit::{Containerd, observe, shell, step, wait};
use nix::fcntl::OFlag;

use super::report::{Report, Row};
use super::subject::Subject;

/// After how many the memory is looked at; the last is how many there are.
const STOPS: [usize; 3] = [10, 50, 100];

/// Where `ctr` puts the FIFOs of a container that it detaches from, in a folder each.
const FIFOS: &str = "/run/containerd/fifo";

/// When an answer is overdue.
const AGAIN: Duration = Duration::from_secs(2);

/// Starts, asks and removes them.
pub fn measure(containerd: &Containerd, ours: &Subject, report: &mut Report) -> Result<()> {
    let ids: Vec<String> = (0..STOPS[2]).map(|number| format!("many-{number}")).collect();
    step(format_args!("{} containers at a time", ids.len()));
    let mut memory = Vec::new();
    let begin = Instant::now();
    for (index, id) in ids.iter().enumerate() {
        run(containerd, ours, id)?;
        if STOPS.contains(&(index + 1)) {
            memory.push(memory_of_each(containerd, ours)?);
        }
    }
    let started = begin.elapsed();
    for id in &ids {
        talk(containerd, id).with_context(|| format!("container {id} does not answer"))?;
    }
    let talked = begin.elapsed() - started;
    for id in &ids {
        containerd.run_ctr(["task", "rm", "--force", id])?;
    }
    let remove = ["container", "rm"].into_iter().chain(ids.iter().map(String::as_str));
    containerd.run_ctr(remove.collect::<Vec<_>>())?;
    let removed = begin.elapsed() - started - talked;

    for (name, time) in [("started", started), ("talked to", talked), ("removed", removed)] {
        let each = time.as_secs_f64() * 1e3 / ids.len() as f64;
        report.add(Row::of_ours(format!("{} containers: each {name} in", ids.len()), "ms", each));
    }
    let (first, _) = memory[0];
    for (count, (anonymous, pss)) in STOPS.into_iter().zip(memory) {
        // What they share is counted once, so the more there are, the less is each one's part.
        report.add(Row::of_ours(format!("{count} containers: PSS of each shim"), "MB", pss).at_most(3.0));
        let row = Row::of_ours(format!("{count} containers: anonymous memory of each"), "MB", anonymous);
        report.add(row.at_most(first * 1.05));
    }
    Ok(())
}

/// The mean of all shims, in MB: anonymous, and PSS.
fn memory_of_each(containerd: &Containerd, ours: &Subject) -> Result<(f64, f64)> {
    let shims = ours.shims(containerd)?;
    let (mut anonymous, mut pss) = (0, 0);
    for shim in &shims {
        anonymous += observe::anonymous_kb(*shim)?;
        pss += observe::pss_kb(*shim)?;
    }
    let mean = |sum: u64| sum as f64 / 1e3 / shims.len() as f64;
    Ok((mean(anonymous), mean(pss)))
}

/// `ctr run --detach` with a stdin that stays open: at the end of its own, `ctr` closes the guest's.
fn run(containerd: &Containerd, ours: &Subject, id: &str) -> Result<()> {
    let mut command = containerd.ctr(ours.run(id));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ctr = containerd.namespace().spawn(&mut command)?;
    let stdin = ctr.stdin.take();
    let output = ctr.wait_with_output().context("cannot wait for ctr")?;
    drop(stdin);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed: {}", shell::line(&command), said.trim_end());
    Ok(())
}

/// Types a command and waits for its answer. A guest that is still booting forgets what was typed: then once more.
fn talk(containerd: &Containerd, id: &str) -> Result<()> {
    let Shell { command, answer, .. } = OURS_ARM64.shell.context("the test firmware has a shell")?;
    let open = |stream: &str| {
        let fifo = fifo(containerd, &format!("{id}-{stream}"))?;
        let file = File::options().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&fifo);
        file.with_context(|| format!("cannot open {}", fifo.display()))
    };
    let (mut stdin, mut stdout) = (open("stdin")?, open("stdout")?);
    let (mut seen, mut typed) = (Vec::new(), None::<Instant>);
    wait::until(&format!("{answer:?}"), || {
        if typed.is_none_or(|at| at.elapsed() > AGAIN) {
            stdin.write_all(format!("{command}\r").as_bytes()).context("cannot type")?;
            typed = Some(Instant::now());
        }
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..length]);
        }
        Ok(String::from_utf8_lossy(&seen).contains(answer).then_some(()))
    })
}

fn fifo(containerd: &Containerd, name: &str) -> Result<PathBuf> {
    let dir = containerd.namespace().path(FIFOS);
    let folders = dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))?;
    let mut fifos = folders.flatten().map(|folder| folder.path().join(name));
    fifos.find(|fifo| fifo.exists()).with_context(|| format!("ctr made no FIFO {name}"))
}
