//! What kubelet does with pods of guests, on a real containerd of each release, over CRI: with a pause container everywhere, and
//! with the Sandbox service where there is one. Every trial ends with nothing left behind.
//!
//! - [`node`]: a containerd for each way to keep pods, shared by its trials, and what a trial works with
//! - [`life`]: pods from their start to their end, in every order
//! - [`commands`]: exec, attach, port-forward
//! - [`logs`]: the files that `kubectl logs` reads
//! - [`figures`]: statistics, updates, and what a pod costs
//! - [`many`]: several guests in a pod, many pods at a time
//! - [`network`]: guests on their pods' interfaces
//! - [`deaths`]: kubelet, containerd, the shim or an emulator dies
//! - [`refusals`]: what must not run, and what the operator is told
//!
//! `cargo xtask test pods` builds what this needs and runs it as root; arguments are those of libtest.

mod commands;
mod deaths;
mod figures;
mod life;
mod logs;
mod many;
mod network;
mod node;
mod refusals;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::Trial;
use micrun_testkit::cri::Sandboxer;
use micrun_testkit::{Product, Profile, Release, Workspace, packages, trials};

use node::{Images, Node, Stage, Story};

/// Containerds at a time: QEMU emulates, and two cores are what we count on.
const THREADS: usize = 2;

fn main() -> ExitCode {
    trials::main(THREADS, |arguments| Ok(libtest_mimic::run(arguments, every_trial()?)))
}

/// Every story on every node. Neighbours in the list run at the same time, so they use different nodes.
fn every_trial() -> Result<Vec<Trial>> {
    let workspace = Workspace::find()?;
    packages::ensure(
        "the tests of pods",
        &[&packages::DEMO, &packages::GUESTS, &packages::IMAGES, &packages::PODS],
    )?;
    let product = Product::find(&workspace, Profile::Release)?;
    let images = Arc::new(Images::pack(&workspace, &product)?);
    let mut nodes = Vec::new();
    for release in Release::all(&workspace)? {
        let node = |sandboxer| Arc::new(Node::new(&product, &images, release.clone(), sandboxer));
        nodes.push(node(Sandboxer::PodSandbox));
        if !release.version.starts_with("1.") {
            nodes.push(node(Sandboxer::Shim));
        }
    }
    let mut trials = Vec::new();
    for story in stories() {
        for node in nodes.iter().filter(|node| node.can(&story)) {
            let (node, tell) = (node.clone(), story.tell.clone());
            trials.push(trials::trial(format!("{} / {}", node.name(), story.name), move || node.run(&*tell)));
        }
    }
    Ok(trials)
}

fn stories() -> Vec<Story> {
    let mut stories = life::stories();
    stories.extend(commands::stories());
    stories.extend(logs::stories());
    stories.extend(figures::stories());
    stories.extend(many::stories());
    stories.extend(network::stories());
    stories.extend(deaths::stories());
    stories.extend(refusals::stories());
    stories
}

/// Makes a [`Story`].
fn story(
    name: impl Into<String>,
    tell: impl Fn(&mut Stage<'_>) -> Result<()> + Send + Sync + 'static,
) -> Story {
    Story { name: name.into(), tell: Arc::new(tell), is_of_pause_containers: false }
}
