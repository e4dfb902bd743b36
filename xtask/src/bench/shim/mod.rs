//! Our shim beside both of runc's, under one containerd.
//!
//! - [`subject`]: what is measured: a runtime with an image that it runs
//! - [`calls`]: starts and ends, as containerd's user sees them
//! - [`boot`]: what the shim adds to a hypervisor's own time
//! - [`idle`]: what a container costs while nothing happens
//! - [`console`]: the way between a console and the engine's streams
//! - [`many`]: a hundred containers at a time
//! - [`size`]: how large the programs are, and what ours is made of
//! - [`probe`], [`task`]: a shim without containerd, from its start to its first reply, and through a task's life

mod boot;
mod calls;
mod console;
mod idle;
mod many;
mod probe;
pub mod size;
pub mod subject;
mod task;

use anyhow::Result;
use micrun_testkit::releases::{ALL, Series};
use micrun_testkit::{Containerd, Product, Release, Workspace};

use super::report::{self, Report};

/// The column of ours.
const OURS: &str = "MicRun";

/// The containerd that all run under: the Rust shim speaks the Task API of containerd 2 only.
const ENGINE: Series = ALL[2];

/// The containerd whose shim in Go is measured.
const GO: Series = ALL[1];

/// Builds and fetches what is measured; `packaged`: nothing is built for it.
pub fn prepare(workspace: &Workspace, packaged: bool) -> Result<()> {
    Release::of(workspace, ENGINE)?;
    Release::of(workspace, GO)?;
    if packaged { Ok(()) } else { subject::prepare(workspace) }
}

/// Measures everything.
pub fn run(workspace: &Workspace, product: &Product, runs: u32, packaged: bool) -> Result<Report> {
    let (engine, go) = (Release::of(workspace, ENGINE)?, Release::of(workspace, GO)?);
    let mut subjects = subject::all(workspace, product, &go)?;
    if packaged {
        subjects.retain(|subject| subject.name != subject::IN_RUST);
    }
    let containerd = Containerd::start(&engine, &subject::folder(workspace, &subjects)?)?;
    for subject in &subjects {
        containerd.import(&subject.archive)?;
    }
    let title = format!("containerd {}, runc's shim of {}, medians", engine.version, go.version);
    let mut report = Report::new(title, subjects.iter().map(|subject| subject.name).collect::<Vec<_>>());
    calls::measure(&containerd, &subjects, runs, &mut report)?;
    boot::measure(&containerd, product, &subjects[0], runs, &mut report)?;
    console::measure(workspace, &containerd, &subjects, runs, &mut report)?;
    idle::measure(&containerd, &subjects, &mut report)?;
    many::measure(&containerd, &subjects[0], &mut report)?;
    size::measure(workspace, &subjects, &mut report)?;
    Ok(report)
}
