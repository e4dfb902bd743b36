//! What a container costs while nothing happens.

use std::time::Duration;

use anyhow::Result;
use micrun_testkit::{Containerd, observe, step, wait};

use super::report::{Report, Row};
use super::subject::Subject;

/// Over how long an idle shim is watched.
const IDLE: Duration = Duration::from_secs(10);

/// For how long our shim has done nothing when its guest counts as booted.
const SETTLE: Duration = Duration::from_secs(3);

/// Watches all of them at the same time.
pub fn measure(containerd: &Containerd, subjects: &[Subject], report: &mut Report) -> Result<()> {
    step(format_args!("Watching idle shims for {} s", IDLE.as_secs()));
    let id = |which: usize| format!("idle-{which}");
    for (which, subject) in subjects.iter().enumerate() {
        containerd.run_ctr(subject.run(&id(which)))?;
    }
    let mut shims = Vec::new();
    for subject in subjects {
        shims.push(subject.shims(containerd)?);
    }
    let all = |of: fn(u32) -> Result<u64>| -> Result<Vec<f64>> {
        let sum = |pids: &Vec<u32>| pids.iter().map(|pid| Ok(of(*pid)? as f64)).sum::<Result<f64>>();
        shims.iter().map(sum).collect()
    };
    wait::until("the guest to be idle", || {
        let before = all(observe::switches)?;
        std::thread::sleep(SETTLE);
        Ok((all(observe::switches)?[0] == before[0]).then_some(()))
    })?;
    let before = all(observe::switches)?;
    std::thread::sleep(IDLE);
    let after = all(observe::switches)?;
    // The switches of a thread that ended are no longer counted.
    let wakeups =
        after.iter().zip(before).map(|(after, before)| ((after - before) / IDLE.as_secs_f64()).max(0.0));
    let megabytes = |all: Vec<f64>| all.into_iter().map(|kb| kb / 1e3);
    let pss = megabytes(all(observe::pss_kb)?);
    let anonymous = megabytes(all(observe::anonymous_kb)?);
    let processes = shims.iter().map(|pids| pids.len() as f64);

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
