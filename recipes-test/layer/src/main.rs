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

use anyhow::Result;
use libtest_mimic::{Arguments, Conclusion, Trial};
use micrun_testkit::{Workspace, note};

use clones::Clones;

/// One check at a time: bitbake takes all cores.
const THREADS: usize = 1;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match run(&arguments) {
        Ok(conclusion) => conclusion.exit_code(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Conclusion> {
    let workspace = Workspace::find()?;
    let clones = Clones::find()?.map(Arc::new);
    if let Some(clones) = &clones {
        clones.describe()?;
    }
    let mut trials = Vec::new();
    for check in level1::checks() {
        let workspace = workspace.clone();
        trials.push(Trial::test(format!("level 1 / {}", check.name), move || told((check.run)(&workspace))));
    }
    for check in level2::checks() {
        let (workspace, clones) = (workspace.clone(), clones.clone());
        let is_here = clones.is_some();
        let trial = Trial::test(format!("level 2 / {}", check.name), move || match &clones {
            Some(clones) => told((check.run)(&workspace, clones)),
            None => Err(format!("no layer clones: set {}", clones::VARIABLE).into()),
        });
        // Listed and counted as ignored, which is what "not run" is called there.
        trials.push(trial.with_ignored_flag(!is_here));
    }
    let left_out = clones.is_none() && !arguments.list;
    if left_out {
        not_run();
    }
    let conclusion = libtest_mimic::run(arguments, trials);
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

fn told(result: Result<()>) -> Result<(), libtest_mimic::Failed> {
    result.map_err(|error| format!("{error:#}").into())
}
