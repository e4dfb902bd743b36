//! The way between a console and the engine's streams: how long a line takes there and back, how much goes through.
//!
//! At the console's far end is the same small program for all, recipes-test/stand-ins/console.c: in the place of QEMU
//! for ours, as a container's program for runc's. A guest has one console, which is a socket here; what comes nearest to
//! it in a container is a terminal, and that is what targets compare. Programs without one have pipes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Containerd, Workspace, image, shell, step};
use serde_json::Value;
use tempfile::TempDir;

use super::boot::our_bundle;
use super::report::{Report, Row, median};
use super::subject::{Subject, of_rust};
use super::task::{Bundle, Task};

/// Lines for one sample of the round trip.
const LINES: u32 = 500;

/// Bytes that a sample of the throughput asks for at a time: half of what our shim keeps for a slow reader. Beyond that
/// it forgets the oldest, and a sample without an end would show how fast it does.
const BURST: usize = 128 << 10;

/// How often: 64 MiB.
const BURSTS: usize = 512;

/// What the stand-in sends after a burst.
const END: &[u8; 5] = b"done\n";

/// How QEMU for our board is called.
const EMULATOR: &str = "qemu-system-aarch64";

/// Measures both for each subject, in turns.
pub fn measure(
    workspace: &Workspace,
    containerd: &Containerd,
    subjects: &[Subject],
    runs: u32,
    report: &mut Report,
) -> Result<()> {
    step(format_args!("Talking through consoles: {LINES} lines, then {} MiB", (BURSTS * BURST) >> 20));
    let folder = build(workspace)?;
    for terminal in [true, false] {
        let mut samples = vec![(Vec::new(), Vec::new()); subjects.len()];
        for _ in 0..runs.min(5) {
            for (subject, (round_trips, throughputs)) in subjects.iter().zip(&mut samples) {
                let (bundle, path) = bundle(containerd, subject, folder.path(), terminal)?;
                let mut task = Task::of(containerd, subject, bundle, &[("PATH", &path)])?;
                task.create(terminal)?;
                task.start()?;
                wait_until_ready(&mut task)?;
                round_trips.push(round_trip(&mut task)?);
                throughputs.push(throughput(&mut task)?);
                task.end(containerd)?;
            }
        }
        let (round_trips, throughputs): (Vec<f64>, Vec<f64>) = samples
            .into_iter()
            .map(|(round_trips, throughputs)| (median(round_trips), median(throughputs)))
            .unzip();
        let in_rust = of_rust(subjects, &throughputs);
        let how = if terminal { "terminal" } else { "pipes" };
        let echo = Row::of_all(format!("{how}: echo round trip"), "ms", round_trips).at_most(0.3);
        let flow = Row::of_all(format!("{how}: throughput"), "MiB/s", throughputs);
        report.add(echo);
        report.add(match in_rust {
            Some(in_rust) if terminal => flow.at_least(2.0 * in_rust),
            _ => flow,
        });
    }
    Ok(())
}

/// The far end of all consoles, under the emulator's name in a folder that the emulators' users may look into.
fn build(workspace: &Workspace) -> Result<TempDir> {
    let open = Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().prefix("micrun-bench-").permissions(open).tempdir();
    let folder = folder.context("cannot make a folder for the stand-in")?;
    let source = workspace.root().join("recipes-test/stand-ins/console.c");
    image::compile(&source, &folder.path().join(EMULATOR))?;
    Ok(folder)
}

/// A container that runs it, and the PATH for its shim.
fn bundle(
    containerd: &Containerd,
    subject: &Subject,
    folder: &Path,
    terminal: bool,
) -> Result<(Bundle, String)> {
    let own = std::env::var("PATH").context("PATH is no text")?;
    let guest = folder.join(EMULATOR);
    if subject.name == super::OURS {
        // What the firmware is does not matter to this emulator.
        return Ok((our_bundle(containerd, &guest)?, format!("{}:{own}", folder.display())));
    }
    let bundle = Bundle::new(containerd, "console", "{}")?;
    bundle.write("config.json", linux_config(containerd, &bundle, terminal)?)?;
    bundle.copy(&guest, "rootfs/guest")?;
    Ok((bundle, own))
}

/// What `runc spec` proposes, for our program, in a cgroup that goes with the namespace.
fn linux_config(containerd: &Containerd, bundle: &Bundle, terminal: bool) -> Result<String> {
    fs::remove_file(bundle.outside.join("config.json")).context("cannot remove config.json")?;
    let mut spec = Command::new("runc");
    spec.args(["spec", "--bundle", &bundle.inside]).stdin(Stdio::null());
    let status = containerd.namespace().spawn(&mut spec)?.wait().context("cannot wait for runc")?;
    ensure!(status.success(), "`{}` failed with {}", shell::line(&spec), shell::ending(status));
    let text = fs::read(bundle.outside.join("config.json")).context("runc wrote no config.json")?;
    let mut config: Value = serde_json::from_slice(&text).context("runc's config.json is no JSON")?;
    config["process"]["args"] = serde_json::json!(["/guest"]);
    config["process"]["terminal"] = Value::Bool(terminal);
    config["linux"]["cgroupsPath"] = format!("/{}/console", containerd.containers()).into();
    serde_json::to_string(&config).context("cannot write config.json")
}

/// A terminal is not raw before, and sends back what is typed itself.
fn wait_until_ready(task: &mut Task<'_>) -> Result<()> {
    let mut said = Vec::new();
    while !said.ends_with(b"ready\n") {
        let mut buffer = [0; 64];
        let length = task.read(&mut buffer)?;
        said.extend_from_slice(&buffer[..length]);
    }
    Ok(())
}

/// The middle of many, in milliseconds.
fn round_trip(task: &mut Task<'_>) -> Result<f64> {
    let mut buffer = [0; 64];
    let mut samples = Vec::new();
    for number in 0..LINES {
        let line = format!("line {number:06}\n");
        let start = Instant::now();
        task.write(line.as_bytes())?;
        let mut length = 0;
        while length < line.len() {
            length += task.read(&mut buffer[length..])?;
        }
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(buffer[..length] == *line.as_bytes(), "what came back was not {line:?}");
    }
    Ok(median(samples))
}

/// In MiB/s. Each burst is asked for when the last one has come.
fn throughput(task: &mut Task<'_>) -> Result<f64> {
    let mut buffer = vec![0; 1 << 16];
    let start = Instant::now();
    for _ in 0..BURSTS {
        task.write(format!("flood {BURST}\n").as_bytes())?;
        let mut missing = BURST + END.len();
        let mut end = [0; END.len()];
        while missing > 0 {
            let length = task.read(&mut buffer)?;
            missing = missing.checked_sub(length).context("more came than was asked for")?;
            for byte in &buffer[length.saturating_sub(END.len())..length] {
                end.rotate_left(1);
                end[END.len() - 1] = *byte;
            }
        }
        ensure!(end == *END, "a burst ended with {:?}", String::from_utf8_lossy(&end));
    }
    Ok((BURSTS * BURST) as f64 / f64::from(1 << 20) / start.elapsed().as_secs_f64())
}
