//! Pods of guests, with a pause container and with the Sandbox service, beside pods of a Linux program under runc: what kubelet
//! waits for, what a pod costs, and how long nobody controls the machine while a guest is updated.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::cri::messages::PodSandboxConfig;
use micrun_testkit::cri::{self, Cri, MICA, PAUSE, Pod, RUNC, Sandboxer, Settings, State};
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::namespace::Process;
use micrun_testkit::releases::{ALL, Series};
use micrun_testkit::{Containerd, Firmware, Product, Release, Workspace, observe, step, wait};

use super::report::{Report, Row, median};

const FIRMWARE: Firmware = OURS_ARM64;
/// The Linux program.
const LINUX: &str = "localhost/linux:bench";
/// The containerd that all run under: the only one that has the Sandbox service.
const ENGINE: Series = ALL[2];
/// How kubelet stops a container by default, seconds.
const GRACE: i64 = 30;
/// Milliseconds of a day, after which the clock of a log begins anew.
const DAY: u64 = 86_400_000;

/// The calls, in the order in which they are made.
const CALLS: [&str; 7] = [
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "StopPodSandbox",
    "RemovePodSandbox",
];

/// A column: who runs pods of what.
struct Subject {
    name: &'static str,
    /// Which of the two containerds.
    daemon: usize,
    handler: &'static str,
    image: String,
}

/// What a pod is besides its container, before and after that is there: processes, and PSS in MB.
type Costs = [(f64, f64); 2];

/// Fetches what is measured.
pub fn prepare(workspace: &Workspace) -> Result<()> {
    Release::of(workspace, ENGINE).map(drop)
}

/// Measures everything.
pub fn run(workspace: &Workspace, product: &Product, runs: u32) -> Result<Report> {
    let release = Release::of(workspace, ENGINE)?;
    let folder = workspace.kit("bench/pods")?;
    let mut daemons = Vec::new();
    for sandboxer in [Sandboxer::PodSandbox, Sandboxer::Shim] {
        let containerd = Containerd::with_cri(&release, product.bin(), &Settings { sandboxer })?;
        for reference in [PAUSE, LINUX] {
            containerd.import_for_cri(&cri::pack_linux(&folder, reference)?, reference)?;
        }
        containerd.import_for_cri(&product.pack(&FIRMWARE, &folder)?, &FIRMWARE.image())?;
        daemons.push(containerd);
    }
    let subject =
        |name, daemon, handler, image: &str| Subject { name, daemon, handler, image: image.to_owned() };
    let subjects = [
        subject("MicRun", 0, MICA, &FIRMWARE.image()),
        subject("Sandbox", 1, MICA, &FIRMWARE.image()),
        subject("runc, Go", 0, RUNC, LINUX),
    ];
    let title = format!(
        "containerd {}: pods with a pause container, with the Sandbox service, of runc; medians",
        release.version
    );
    let mut report = Report::new(title, subjects.each_ref().map(|subject| subject.name));

    step(format_args!("{runs} pods of each, in turns"));
    let mut times: [[Vec<f64>; CALLS.len()]; 3] = Default::default();
    let mut costs: [Vec<Costs>; 3] = Default::default();
    for _ in 0..runs {
        for (subject, (times, costs)) in subjects.iter().zip(times.iter_mut().zip(&mut costs)) {
            let (took, cost) = pod(&daemons[subject.daemon], subject)
                .with_context(|| format!("a pod of {}", subject.name))?;
            took.into_iter().zip(times).for_each(|(time, times)| times.push(time));
            costs.push(cost);
        }
    }
    for (number, call) in CALLS.into_iter().enumerate() {
        report.add(Row::of_all(call, "ms", times.each_ref().map(|calls| median(calls[number].clone()))));
    }
    let cost = |when: usize, of: fn(&(f64, f64)) -> f64| {
        costs.each_ref().map(|all| median(all.iter().map(|cost| of(&cost[when])).collect()))
    };
    report.add(Row::of_all("an empty pod: processes", "", cost(0, |cost| cost.0)).at_most(1.0).sure());
    report.add(Row::of_all("an empty pod: PSS", "MB", cost(0, |cost| cost.1)));
    report.add(
        Row::of_all("with a container: processes beside it", "", cost(1, |cost| cost.0)).at_most(1.0).sure(),
    );
    report.add(Row::of_all("with a container: PSS beside it", "MB", cost(1, |cost| cost.1)));

    step(format_args!("{runs} updates of a guest, in its pod and with a new one"));
    for (name, update) in [
        ("gap of an update in the same pod", in_its_pod as Update),
        ("gap of an update with a new pod", in_a_new_pod),
    ] {
        let mut gaps: [Vec<f64>; 2] = Default::default();
        for _ in 0..runs {
            for (daemon, gaps) in daemons.iter().zip(&mut gaps) {
                gaps.push(gap(daemon, update)?);
            }
        }
        let [pause, service] = gaps.map(median);
        report.add(Row::new(name, "ms", [Some(pause), Some(service), None]));
    }
    Ok(report)
}

/// A pod from its start to its end: milliseconds of each call, and what the pod cost.
fn pod(containerd: &Containerd, subject: &Subject) -> Result<([f64; CALLS.len()], Costs)> {
    let logs = tempfile::tempdir().context("cannot make a temporary folder")?;
    let cri = containerd.cri()?;
    let mut times = Vec::new();
    let mut begin = Instant::now();
    let mut lap = |begin: &mut Instant| {
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        *begin = Instant::now();
    };
    let pod = cri.run_pod(cri.pod_config("bench", logs.path()), subject.handler)?;
    lap(&mut begin);
    let empty = costs(containerd, &[])?;
    let before = pids(containerd)?;
    begin = Instant::now();
    let id = cri.create(&pod, cri::container("one", &subject.image))?;
    lap(&mut begin);
    cri.start(&id)?;
    lap(&mut begin);
    cri.wait_for(&id, State::Running)?;
    if subject.handler == MICA {
        cri::log::wait_for(&logs.path().join("one-0.log"), FIRMWARE.banner)?;
    }
    // What came with the container is the emulator or the program.
    let own: Vec<u32> = pids(containerd)?.into_iter().filter(|pid| !before.contains(pid)).collect();
    let with_one = costs(containerd, &own)?;
    begin = Instant::now();
    cri.stop(&id, GRACE)?;
    lap(&mut begin);
    cri.remove(&id)?;
    lap(&mut begin);
    cri.stop_pod(&pod.id)?;
    lap(&mut begin);
    cri.remove_pod(&pod.id)?;
    lap(&mut begin);
    wait::until("the pod's processes to end", || Ok(pods_processes(containerd)?.is_empty().then_some(())))?;
    let times = times.try_into().ok().context("a call was not timed")?;
    Ok((times, [empty, with_one]))
}

fn pods_processes(containerd: &Containerd) -> Result<Vec<Process>> {
    let mut processes = containerd.namespace().processes()?;
    processes.retain(|process| !containerd.is_own(process.pid));
    Ok(processes)
}

fn pids(containerd: &Containerd) -> Result<Vec<u32>> {
    Ok(pods_processes(containerd)?.iter().map(|process| process.pid).collect())
}

/// Processes and PSS, without these.
fn costs(containerd: &Containerd, without: &[u32]) -> Result<(f64, f64)> {
    let (mut count, mut pss) = (0.0, 0);
    for pid in pids(containerd)?.into_iter().filter(|pid| !without.contains(pid)) {
        // A helper that containerd runs for a moment is no part of the pod.
        if let Ok(kb) = observe::pss_kb(pid) {
            count += 1.0;
            pss += kb;
        }
    }
    ensure!(pss > 0, "a pod has no process");
    Ok((count, pss as f64 / 1e3))
}

/// What replaces a guest by the next one, in the pod's logs `guest-0.log` and `guest-1.log`; the pod that is there then.
type Update = fn(&Cri, Pod, &str) -> Result<Pod>;

fn in_its_pod(cri: &Cri, pod: Pod, old: &str) -> Result<Pod> {
    cri.stop(old, GRACE)?;
    cri.remove(old)?;
    cri.run(&pod, "guest", &FIRMWARE.image(), 1)?;
    Ok(pod)
}

/// As a Deployment does with `maxSurge: 0`.
fn in_a_new_pod(cri: &Cri, pod: Pod, old: &str) -> Result<Pod> {
    cri.stop(old, GRACE)?;
    cri.stop_pod(&pod.id)?;
    cri.remove_pod(&pod.id)?;
    let new = cri.run_pod(config(cri, "new", Path::new(&pod.config.log_directory)), MICA)?;
    cri.run(&new, "guest", &FIRMWARE.image(), 1)?;
    Ok(new)
}

fn config(cri: &Cri, name: &str, logs: &Path) -> PodSandboxConfig {
    // The builder takes the firmware for a program on the bare machine: who starts it knows its shell.
    let os = ("org.openeuler.micrun.container.os".to_owned(), "micrun-test".to_owned());
    PodSandboxConfig { annotations: [os].into(), ..cri.pod_config(name, logs) }
}

/// Milliseconds from the last line of a guest that never stops to write to the first one of its successor.
fn gap(containerd: &Containerd, update: Update) -> Result<f64> {
    let logs = tempfile::tempdir().context("cannot make a temporary folder")?;
    let cri = containerd.cri()?;
    let pod = cri.run_pod(config(&cri, "old", logs.path()), MICA)?;
    let old = cri.run(&pod, "guest", &FIRMWARE.image(), 0)?;
    // It floods on when nobody waits for the command any more.
    ensure!(cri.exec_sync(&old, &["flood", "999999"], 1).is_err(), "the flood is over already");
    let pod = update(&cri, pod, &old)?;
    let log = |number: u32| logs.path().join(format!("guest-{number}.log"));
    cri::log::wait_for(&log(1), FIRMWARE.banner)?;
    let last = cri::log::read(&log(0))?.last().context("the old guest wrote nothing")?.at;
    let first = cri::log::read(&log(1))?.first().context("the new guest wrote nothing")?.at;
    cri.stop_pod(&pod.id)?;
    cri.remove_pod(&pod.id)?;
    Ok(((first + DAY - last) % DAY) as f64)
}
