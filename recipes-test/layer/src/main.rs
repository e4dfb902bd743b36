//! Tests of the layer, the kas files and what they install, on two levels:
//!
//! - [`level1`]: what needs package registries only; always run
//! - [`level2`]: bitbake itself, where clones of the other layers are at hand
//! - [`disk`]: disks for boards in QEMU
//! - [`serial`]: a board in QEMU, through its serial port
//! - [`clones`]: where those are, and at which commits
//! - [`recipes`]: ours, as text
//! - [`tracked`]: the repository's own files
//!
//! The node that `cargo xtask test system` boots is the third level: the same files, running.
//!
//! `cargo xtask test layer` builds what this needs and runs it; arguments are those of libtest.

mod clones;
mod disk;
mod level1;
mod level2;
mod recipes;
mod serial;
mod tracked;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use libtest_mimic::{Arguments, Conclusion};
use micrun_testkit::{Workspace, note, trials};

use clones::Clones;

/// One check at a time: bitbake takes all cores.
const THREADS: usize = 1;

fn main() -> ExitCode {
    trials::main(THREADS, run)
}

fn run(arguments: &Arguments) -> Result<Conclusion> {
    let workspace = Workspace::find()?;
    let clones = Clones::find()?.map(Arc::new);
    if let Some(clones) = &clones {
        clones.describe()?;
    }
    let mut all = Vec::new();
    for check in level1::checks() {
        let workspace = workspace.clone();
        all.push(trials::trial(format!("level 1 / {}", check.name), move || (check.run)(&workspace)));
    }
    for check in level2::checks() {
        let (workspace, clones) = (workspace.clone(), clones.clone());
        let is_here = clones.is_some();
        let trial = trials::trial(format!("level 2 / {}", check.name), move || match &clones {
            Some(clones) => (check.run)(&workspace, clones),
            None => bail!("no layer clones: set {}", clones::VARIABLE),
        });
        // Listed and counted as ignored, which is what "not run" is called there.
        all.push(trial.with_ignored_flag(!is_here));
    }
    let left_out = clones.is_none() && !arguments.list;
    if left_out {
        not_run();
    }
    let conclusion = libtest_mimic::run(arguments, all);
    if left_out {
        // The last that is read.
        not_run();
    }
    Ok(conclusion)
}

/// A level that did not run must not look as if it had.
fn not_run() {
    note(format_args!(
        "NOT RUN: level 2, {} checks with bitbake: no layer clones. {} names a folder of them, see docs/layer-tests.md",
        level2::checks().len(),
        clones::VARIABLE
    ));
}
