//! The path that a user takes, end to end: an image from our builder, imported and run by a real containerd of each
//! release that users have, in real QEMU, with real firmware. Every trial ends with nothing left behind.
//!
//! - [`node`]: a containerd per release, shared by its trials, and how a trial runs on it
//! - [`boots`]: every firmware on every containerd
//! - [`bare`]: a shim without containerd; [`crash`]: killed after every step of its life;
//!   [`scarce`]: with full disks, without descriptors, with damaged files and dead emulators
//! - [`exec`]: commands in the guest's own shell
//! - [`guests`]: guests that files declare: started, restarted, updated, rolled back
//! - [`lifecycle`]: terminals, signals, exit codes, and what becomes of whom when something dies
//! - [`engines`]: the calls and streams of nerdctl and CRI, through containerd's API
//! - [`load`]: images that the builder puts into containerd itself
//! - [`network`]: guests on their pods' interfaces
//! - [`pods`]: containers that share a shim
//! - [`recovery`]: containerd and shims are killed under guests
//! - [`refusals`]: images that must not run, and what the user is told
//! - [`resources`]: a guest in its cgroup: limits, updates, statistics, the end of its memory
//! - [`traces`]: spans of a call from containerd to the guest
//! - [`room`]: full disks and read-only ones, under the builder
//! - [`streams`]: every form of `run` and `attach`, and programs that take the log
//!
//! `cargo xtask test e2e` builds what this needs and runs it as root; arguments are those of libtest.

mod bare;
mod boots;
mod configuration;
mod crash;
mod engines;
mod exec;
mod guests;
mod import;
mod lifecycle;
mod load;
mod network;
mod node;
mod pods;
mod recovery;
mod refusals;
mod resources;
mod room;
mod scarce;
mod streams;
mod traces;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use libtest_mimic::Trial;
use micrun_testkit::{Product, Profile, Release, Workspace, packages, trials};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use node::{Node, Stage, Story};

/// Guests at a time: QEMU emulates, and two cores are what we count on.
const THREADS: usize = 2;

fn main() -> ExitCode {
    trials::main(THREADS, |arguments| Ok(libtest_mimic::run(arguments, every_trial()?)))
}

/// Every story on every containerd. Neighbours in the list run at the same time, so they use different containerds.
fn every_trial() -> Result<Vec<Trial>> {
    let workspace = Workspace::find()?;
    packages::ensure(
        "the end-to-end tests",
        &[&packages::DEMO, &packages::GUESTS, &packages::IMAGES, &packages::KEYS],
    )?;
    let product = Product::find(&workspace, Profile::Release)?;
    let mortal = Product::with_crash_points(&workspace)?;
    let mut trials = room::trials(&product);
    trials.extend(crash::trials(&mortal, &product)?);
    trials.extend(scarce::trials(&product));
    let releases = Release::all(&workspace)?;
    trials.extend(told(stories(), &product, product.bin(), &releases));
    trials.extend(told(recovery::stories_with_crash_points(), &product, &mortal, &releases));
    // Which containerd it is does not matter to what dies here.
    let own = releases.get(1..2).unwrap_or_default();
    trials.extend(told(vec![guests::story_with_crash_points(&mortal)], &product, product.bin(), own));
    Ok(trials)
}

/// Each story on each containerd, which runs the shim of this folder.
fn told(stories: Vec<Story>, product: &Product, shims: &Path, releases: &[Release]) -> Vec<Trial> {
    let node = |release: &Release| Arc::new(Node::new(product, shims, release.clone()));
    let nodes: Vec<Arc<Node>> = releases.iter().map(node).collect();
    let mut trials = Vec::new();
    for story in stories {
        for node in &nodes {
            let (node, tell) = (node.clone(), story.tell.clone());
            trials
                .push(trials::trial(format!("containerd {} / {}", node.version(), story.name), move || {
                    node.run(&*tell)
                }));
        }
    }
    trials
}

fn stories() -> Vec<Story> {
    let mut stories = boots::stories();
    stories.extend(engines::stories());
    stories.extend(exec::stories());
    stories.extend(guests::stories());
    stories.extend(import::stories());
    stories.extend(lifecycle::stories());
    stories.extend(load::stories());
    stories.extend(network::stories());
    stories.extend(pods::stories());
    stories.extend(configuration::stories());
    stories.extend(recovery::stories());
    stories.extend(refusals::stories());
    stories.extend(resources::stories());
    stories.extend(traces::stories());
    stories.extend(streams::stories());
    stories
}

/// Makes a [`Story`].
fn story(
    name: impl Into<String>,
    tell: impl Fn(&mut Stage<'_>) -> Result<()> + Send + Sync + 'static,
) -> Story {
    Story { name: name.into(), tell: Arc::new(tell) }
}

fn kill_process(pid: u32) -> Result<()> {
    signal_process(pid, Signal::SIGKILL)
}

fn signal_process(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).context("no PID is this large")?;
    kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to process {pid}"))
}
