//! The whole product on the machine it is made for: an arm64 node with Xen that boots as a product does, with our
//! binaries, units and configuration, driven from outside. Its guests are real domains.
//!
//! - [`stage`]: a node per driver, shared by its trials, and what a trial works with
//! - [`leftovers`]: what a trial left in Dom0
//! - [`containers`]: containers of containerd
//! - [`domains`]: domains of Xen, ours and others'
//! - [`node`]: the node itself, before any guest
//! - [`guests`]: what a user does with a guest
//! - [`network`]: guests on their pods' interfaces
//! - [`survivors`]: what becomes of whom when something dies
//! - [`refusals`]: what the node cannot give
//! - [`figures`]: what we cost beside Xen itself
//! - [`oeqa`]: the cases that OpenEmbedded runs on an image, where its framework is at hand
//! - [`updates`]: nodes with two slots: what is booted, marked good, rolled back, refused
//!
//! `cargo xtask test system` builds what this needs and runs it as root; arguments are those of libtest. What was typed
//! in the nodes, and what came back, is in `<target>/kit/node/logs/<driver>/transcript.txt`.

mod containers;
mod domains;
mod figures;
mod guests;
mod leftovers;
mod network;
mod node;
mod oeqa;
mod refusals;
mod stage;
mod survivors;
mod updates;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::Trial;
use micrun_testkit::{Product, Profile, Workspace, cross, note, trials};

use stage::{Driver, Place, Stage, Story, Supplies};

/// Nodes at a time: each is one emulated CPU, and two cores are what we count on.
const THREADS: usize = 2;

/// In place of the trials: a shell in a node, see `cargo xtask node`.
const SHELL: &str = "--shell";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(SHELL) {
        return match supplies().and_then(|supplies| places(&supplies)[0].shell()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => trials::told(&error),
        };
    }
    trials::main(THREADS, |arguments| Ok(libtest_mimic::run(arguments, every_trial()?)))
}

fn supplies() -> Result<Supplies> {
    let workspace = Workspace::find()?;
    let product = Product::find(&workspace, Profile::Release)?;
    let programs = cross::find(&workspace, Profile::Release)?;
    Ok(Supplies { workspace, product, programs })
}

/// A node for each driver; none is booted yet.
fn places(supplies: &Supplies) -> Vec<Arc<Place>> {
    Driver::ALL.iter().map(|driver| Arc::new(Place::new(supplies, *driver))).collect()
}

/// Every story on every node. Neighbours in the list run at the same time, so they use different nodes. The longest come
/// first, so that no core is idle while they end.
fn every_trial() -> Result<Vec<Trial>> {
    let supplies = supplies()?;
    let mut trials = updates::trials(&supplies);
    let places = places(&supplies);
    for story in stories() {
        for place in places.iter().filter(|place| story.drivers.contains(&place.driver)) {
            trials.push(trial(place.clone(), story));
        }
    }
    // Listed and counted as ignored, which is what "not run" is called there.
    let is_here = oeqa::is_here();
    for story in oeqa::stories() {
        trials.extend(places.iter().map(|place| trial(place.clone(), story).with_ignored_flag(!is_here)));
    }
    if !is_here {
        note(format_args!(
            "NOT RUN: the cases of testimage: no OpenEmbedded framework. {} names a folder with clones of it",
            oeqa::CLONES
        ));
    }
    Ok(trials)
}

fn trial(place: Arc<Place>, story: Story) -> Trial {
    trials::trial(format!("{} / {}", place.driver.name(), story.name), move || place.run(story))
}

fn stories() -> Vec<Story> {
    let mut stories = node::stories();
    stories.extend(guests::stories());
    stories.extend(network::stories());
    stories.extend(survivors::stories());
    stories.extend(refusals::stories());
    stories.extend(figures::stories());
    stories
}

/// Makes a [`Story`] for every driver.
fn story(name: &'static str, tell: fn(&mut Stage<'_>) -> Result<()>) -> Story {
    Story { name, drivers: Driver::ALL, tell }
}
