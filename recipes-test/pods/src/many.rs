//! Several guests in a pod, and many pods at a time.

use anyhow::{Result, anyhow, ensure};
use micrun_testkit::cri::{self, MICA, PodState, State};

use crate::node::{FIRMWARE, OTHER, SHELL, Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("three guests in a pod share a shim, and end one by one", three),
        story("thirty pods at once", thirty),
    ]
}

fn three(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("three", &[SHELL])?;
    let mut ids = Vec::new();
    for (name, firmware) in [("a", FIRMWARE), ("b", OTHER), ("c", FIRMWARE)] {
        ids.push(stage.start(&pod, cri::container(name, &firmware.image()))?);
        stage.wait_for_log(name, 0, firmware.banner)?;
    }
    stage.shim()?;
    ensure!(stage.emulators()?.len() == 3, "three guests are {:?}", stage.emulators()?);
    for (number, id) in ids.iter().enumerate() {
        let word = format!("guest {number}");
        let done = stage.cri.exec_sync(id, &["echo", &word], 20)?;
        ensure!(String::from_utf8_lossy(&done.stdout).trim_end() == word, "another guest answered: {done:?}");
    }
    for (number, id) in ids.iter().enumerate() {
        stage.cri.stop(id, 5)?;
        stage.ended(id, 143, "Error")?;
        for others in &ids[number + 1..] {
            ensure!(
                stage.cri.status(others)?.is() == State::Running,
                "guest {number} took another one with it"
            );
        }
        ensure!(stage.cri.pod(&pod.id)?.is() == PodState::Ready, "the pod ended with a guest");
    }
    stage.end(&pod)
}

/// How many pods.
const PODS: usize = 30;
/// Kubelets that start them side by side.
const KUBELETS: usize = 5;

fn thirty(stage: &mut Stage<'_>) -> Result<()> {
    let each = |job: &(dyn Fn(&cri::Cri, usize) -> Result<()> + Sync)| -> Result<()> {
        let kubelets = (0..KUBELETS).map(|_| stage.containerd.cri()).collect::<Result<Vec<_>>>()?;
        std::thread::scope(|scope| {
            let numbers = |first: usize| (first..PODS).step_by(KUBELETS);
            let kubelets = kubelets.into_iter().enumerate().map(|(first, cri)| {
                scope.spawn(move || numbers(first).try_for_each(|number| job(&cri, number)))
            });
            let kubelets: Vec<_> = kubelets.collect();
            kubelets.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a kubelet panicked"))?)
        })
    };
    let configs: Vec<_> = (0..PODS).map(|number| stage.config(&format!("pod-{number}"), &[])).collect();
    each(&|cri, number| {
        let pod = cri.run_pod(configs[number].clone(), MICA)?;
        let id = cri.create(&pod, cri::container(&format!("rtos-{number}"), &FIRMWARE.image()))?;
        Ok(cri.start(&id)?)
    })?;
    for number in 0..PODS {
        stage.wait_for_log(&format!("rtos-{number}"), 0, FIRMWARE.banner)?;
    }
    ensure!(
        stage.shims()?.len() == PODS && stage.emulators()?.len() == PODS,
        "a pod is a shim and an emulator"
    );
    ensure!(stage.addresses()?.len() == PODS, "each pod has an address: {:?}", stage.addresses()?);
    let running = stage.cri.containers()?.iter().filter(|one| one.state == 1).count();
    ensure!(running == PODS, "{running} of {PODS} guests run");
    let pods = stage.cri.pods()?;
    each(&|cri, number| {
        cri.stop_pod(&pods[number].id)?;
        Ok(cri.remove_pod(&pods[number].id)?)
    })
}
