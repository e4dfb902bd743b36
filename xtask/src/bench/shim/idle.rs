//! What a container costs while nothing happens.

use std::time::Duration;

use anyhow::Result;
use micrun_testkit::{Containerd, observe, step, wait};

use super::report::{Report, Row};
use super::subject::Subjects;

/// Over how long an idle shim is watched.
const IDLE: Duration = Duration::from_secs(10);

/// For how long our shim has done nothing when its guest counts as booted.
const SETTLE: Duration = Duration::from_secs(3);

/// Watches all of them at the same time.
pub fn measure(containerd: &Containerd, subjects: &Subjects, report: &mut Report) -> Result<()> {
    step(format_args!("Watching idle shims for {} s", IDLE.as_secs()));
    let id = |which: usize| format!("idle-{which}");
    for (which, subject) in subjects.iter().enumerate() {
        containerd.run_ctr(subject.run(&id(which)))?;
    }
    let mut shims = Vec::new();
    for subject in subjects {
        shims.push(subject.shims(containerd)?);
    }
    let all = |of: fn(u32) -> Result<u64>| -> Result<[f64; 3]> {
        let mut sums = [0.0; 3];
        for (sum, pids) in sums.iter_mut().zip(&shims) {
            for pid in pids {
                *sum += of(*pid)? as f64;
            }
        }
        Ok(sums)
    };
    wait::until("the guest to be idle", || {
        let [before, ..] = all(observe::switches)?;
        std::thread::sleep(SETTLE);
        let [after, ..] = all(observe::switches)?;
        Ok((after == before).then_some(()))
    })?;
    let before = all(observe::switches)?;
    std::thread::sleep(IDLE);
    let after = all(observe::switches)?;
    // The switches of a thread that ended are no longer counted.
    let wakeups: [f64; 3] =
        std::array::from_fn(|which| ((after[which] - before[which]) / IDLE.as_secs_f64()).max(0.0));
    let pss = all(observe::pss_kb)?.map(|kb| kb / 1e3);
    let anonymous = all(observe::anonymous_kb)?.map(|kb| kb / 1e3);
    let processes: [f64; 3] = std::array::from_fn(|which| shims[which].len() as f64);

    report.add(Row::of_all("idle: memory, PSS", "MB", pss).at_most(3.0));
    report.add(Row::of_all("idle: anonymous memory", "MB", anonymous).at_most(1.0).sure());
    report.add(Row::of_all("idle: threads", "", all(observe::threads)?).at_most(2.0).sure());
    report.add(Row::of_all("idle: processes beside the guest", "", processes).at_most(1.0).sure());
    report.add(Row::of_all("idle: wakeups per second", "", wakeups).at_most(0.0).sure());
    for which in 0..subjects.len() {
        containerd.run_ctr(["task", "kill", "--signal", "SIGKILL", &id(which)])?;
        containerd.reap(&id(which))?;
    }
    Ok(())
}
