//! What containerd's user waits for, in milliseconds.

use std::time::Instant;

use anyhow::Result;
use micrun_testkit::{Containerd, step};

use super::probe;
use super::report::{Report, Row, median};
use super::subject::{Subject, of_rust};

const NAMES: [&str; 5] =
    ["`start` to first ttrpc reply", "ctr run --detach", "ctr task kill", "ctr task rm", "ctr alone"];

/// Measures each call of each subject, in turns.
pub fn measure(containerd: &Containerd, subjects: &[Subject], runs: u32, report: &mut Report) -> Result<()> {
    step(format_args!("Starting, killing and deleting, {runs} times each, in turns"));
    let mut samples = [(); 5].map(|()| vec![Vec::new(); subjects.len()]);
    for round in 0..runs {
        for (which, subject) in subjects.iter().enumerate() {
            let id = format!("calls-{which}-{round}");
            samples[0][which].push(probe::start_to_reply(containerd, subject, &id)?);
            let calls = life(containerd, subject, &id)?;
            for (sample, time) in samples[1..].iter_mut().zip(calls) {
                sample[which].push(time);
            }
        }
    }
    for (name, samples) in NAMES.into_iter().zip(samples) {
        let medians: Vec<f64> = samples.into_iter().map(median).collect();
        let in_rust = of_rust(subjects, &medians);
        let row = Row::of_all(name, "ms", medians);
        report.add(match in_rust {
            Some(in_rust) if name == NAMES[0] => row.at_most(in_rust),
            _ => row,
        });
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
