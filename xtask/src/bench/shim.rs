//! Our shim beside runc's, under the same containerd.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use micrun_testkit::releases::ALL;
use micrun_testkit::{Containerd, Product, Release, Workspace, note, observe, shell, step};

use super::probe;
use super::report::{Report, Row, median};
use super::subject::{self, Subject};

/// Over how long an idle shim is watched.
const IDLE: Duration = Duration::from_secs(10);

/// How long a guest boots before it counts as idle.
const SETTLE: Duration = Duration::from_secs(4);

/// Measures starts, ends, idle containers and sizes.
pub fn run(workspace: &Workspace, product: &Product, runs: u32) -> Result<Report> {
    let release = Release::of(workspace, ALL[1])?;
    let containerd = Containerd::start(&release, product.bin())?;
    let ours = subject::micrun(workspace, product)?;
    let runc = subject::runc(workspace, &release)?;
    let subjects = [&ours, &runc];
    for subject in subjects {
        containerd.import(&subject.archive)?;
    }
    let mut report = Report::new("runc's shim", &release.version);
    measure_calls(&containerd, subjects, runs, &mut report)?;
    measure_idle(&containerd, subjects, &mut report)?;
    measure_size(workspace, subjects, &mut report)?;
    Ok(report)
}

/// What containerd's user waits for, in milliseconds.
fn measure_calls(
    containerd: &Containerd,
    subjects: [&Subject; 2],
    runs: u32,
    report: &mut Report,
) -> Result<()> {
    step(format_args!("Starting, killing and deleting, {runs} times each, in turns"));
    let names =
        ["`start` to first ttrpc reply", "ctr run --detach", "ctr task kill", "ctr task rm", "ctr alone"];
    let mut samples: [[Vec<f64>; 2]; 5] = Default::default();
    for round in 0..runs {
        for (which, subject) in subjects.into_iter().enumerate() {
            let id = format!("bench-{which}-{round}");
            samples[0][which].push(probe::start_to_reply(containerd, subject, &id)?);
            let calls = life(containerd, subject, &id)?;
            for (sample, time) in samples[1..].iter_mut().zip(calls) {
                sample[which].push(time);
            }
        }
    }
    for (name, [ours, peer]) in names.into_iter().zip(samples) {
        report.add(Row::new(name, "ms", median(ours), median(peer)));
    }
    Ok(())
}

/// One life of a container: run, kill, delete, and a call of `ctr` that does nothing, for comparison.
fn life(containerd: &Containerd, subject: &Subject, id: &str) -> Result<[f64; 4]> {
    let timed = |arguments: &[&str]| -> Result<f64> {
        let start = Instant::now();
        containerd.run_ctr(arguments)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    let run = timed(&subject.run(id))?;
    let kill = timed(&["task", "kill", "--signal", "SIGKILL", id])?;
    containerd.wait_state(id, "STOPPED")?;
    let delete = timed(&["task", "rm", id])?;
    containerd.run_ctr(["container", "rm", id])?;
    let alone = timed(&["version"])?;
    Ok([run, kill, delete, alone])
}

/// What a container costs while nothing happens.
fn measure_idle(containerd: &Containerd, subjects: [&Subject; 2], report: &mut Report) -> Result<()> {
    step(format_args!("Watching idle shims for {} s", IDLE.as_secs()));
    for subject in subjects {
        containerd.run_ctr(subject.run(subject.name))?;
    }
    std::thread::sleep(SETTLE);
    let shims = subjects.map(|subject| subject.shims(containerd));
    let [ours, peer] = shims;
    let shims = [ours?, peer?];
    let all = |of: fn(u32) -> Result<u64>| -> Result<[f64; 2]> {
        let mut sums = [0.0; 2];
        for (sum, pids) in sums.iter_mut().zip(&shims) {
            for pid in pids {
                *sum += of(*pid)? as f64;
            }
        }
        Ok(sums)
    };
    let before = all(observe::switches)?;
    std::thread::sleep(IDLE);
    let after = all(observe::switches)?;
    let per_second = |which: usize| (after[which] - before[which]) / IDLE.as_secs_f64();
    let [pss, peer_pss] = all(observe::pss_kb)?;
    let [threads, peer_threads] = all(observe::threads)?;
    let processes = shims.each_ref().map(|pids| pids.len() as f64);

    report.add(Row::new("memory of the idle shim, PSS", "MB", pss / 1e3, peer_pss / 1e3).at_most(5.0));
    report.add(Row::new("threads of the idle shim", "", threads, peer_threads));
    report.add(Row::new("processes beside the guest", "", processes[0], processes[1]).at_most(1.0).sure());
    report.add(Row::new("wakeups per second, idle", "", per_second(0), per_second(1)).at_most(0.0));
    for subject in subjects {
        containerd.run_ctr(["task", "kill", "--signal", "SIGKILL", subject.name])?;
        containerd.reap(subject.name)?;
    }
    Ok(())
}

/// Packagers strip, so a stripped copy is what counts.
fn measure_size(workspace: &Workspace, subjects: [&Subject; 2], report: &mut Report) -> Result<()> {
    let [ours, peer] = subjects.map(|subject| stripped_size(workspace, &subject.shim));
    report.add(Row::new("shim binary, stripped", "MB", ours? / 1e6, peer? / 1e6).at_most(5.0).sure());
    Ok(())
}

fn stripped_size(workspace: &Workspace, program: &Path) -> Result<f64> {
    let copy = workspace.kit("bench")?.join("stripped");
    shell::quietly(Command::new("strip").arg("-o").args([&copy, program]))?;
    let size = copy.metadata().with_context(|| format!("cannot look at {}", copy.display()))?.len();
    note(format_args!("{}: {size} bytes", program.display()));
    Ok(size as f64)
}
