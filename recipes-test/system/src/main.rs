//! The whole product on the machine it is made for: an arm64 node with Xen that boots as a product does, with our
//! binaries, units and configuration, driven from outside. Its guests are real domains.
//!
//! - [`stage`]: a node per driver, shared by its trials, and what a trial works with
//! - [`leftovers`]: what a trial left in Dom0
//! - [`node`]: the node itself, before any guest
//!
//! `cargo xtask test system` builds what this needs and runs it as root; arguments are those of libtest. What was typed
//! in the nodes, and what came back, is in `<target>/kit/node/logs/<driver>/transcript.txt`.

mod leftovers;
mod node;
mod stage;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Trial};
use micrun_testkit::{Product, Profile, Workspace, cross};

use stage::{Driver, Place, Stage, Story};

/// Nodes at a time: each is one emulated CPU, and two cores are what we count on.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Every story on every node. Neighbours in the list run at the same time, so they use different nodes.
fn trials() -> Result<Vec<Trial>> {
    let workspace = Workspace::find()?;
    let product = Product::find(&workspace, Profile::Release)?;
    let programs = cross::find(&workspace, Profile::Release)?;
    let place = |driver| Arc::new(Place::new(&workspace, &product, &programs, driver));
    let places = Driver::ALL.map(place);
    let mut trials = Vec::new();
    for story in stories() {
        for place in &places {
            let (place, tell) = (place.clone(), story.tell);
            trials.push(Trial::test(format!("{} / {}", place.driver.name(), story.name), move || {
                place.run(tell).map_err(|error| format!("{error:#}").into())
            }));
        }
    }
    Ok(trials)
}

fn stories() -> Vec<Story> {
    node::stories()
}

/// Makes a [`Story`].
fn story(name: &'static str, tell: fn(&mut Stage<'_>) -> Result<()>) -> Story {
    Story { name, tell }
}
