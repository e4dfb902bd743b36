//! All checks, or parts of them. Every part says what it runs; the first failure ends the whole.

mod kubernetes;
mod layer;
mod lint;
mod schema;
mod spelling;
pub mod system;
mod units;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use micrun_testkit::product::cargo;
use micrun_testkit::{Product, Profile, Release, Workspace, note, packages, shell, step, wheel};

use crate::fuzz;
use crate::privileges::as_root;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test lint unit\n  \
                        cargo xtask test e2e -- 'containerd 1.7'   the trials whose names hold this\n  \
                        cargo xtask test e2e -- --list")]
pub struct Arguments {
    /// What to run; all parts, in this order, if none is named
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,

    /// Handed to the tests that run guests: a filter, or options of libtest
    #[arg(last = true, value_name = "ARGUMENT")]
    trial: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Formatting, clippy, spelling, licences and duplicates of dependencies, shell scripts, systemd's units, Kubernetes' YAML
    Lint,
    /// Tests of single crates, without root
    Unit,
    /// The Yocto layer and the kas files; with bitbake where MICRUN_OE_LAYERS names clones of the other layers
    Layer,
    /// A bounded number of executions of each fuzz target
    Fuzz,
    /// Real containerd, real QEMU, real firmware; as root
    E2e,
    /// Pods as kubelet runs them: real containerd over CRI, real guests; as root
    Pods,
    /// An arm64 node with Xen, booted in QEMU, with our binaries in it; as root
    System,
}

/// Runs the parts.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let parts = if arguments.parts.is_empty() { Part::value_variants() } else { &arguments.parts[..] };
    for part in parts {
        let start = Instant::now();
        match part {
            Part::Lint => lint::run(workspace).context("lint failed")?,
            Part::Unit => unit(workspace)?,
            Part::Layer => layer::run(workspace, &arguments.trial)?,
            Part::Fuzz => fuzz::bounded(workspace)?,
            Part::E2e => e2e(workspace, &arguments.trial)?,
            Part::Pods => pods(workspace, &arguments.trial)?,
            Part::System => system::run(workspace, &arguments.trial)?,
        }
        if parts.last() != Some(part) {
            note(format_args!("passed in {} s", start.elapsed().as_secs()));
        }
    }
    Ok(())
}

fn unit(workspace: &Workspace) -> Result<()> {
    // The builder's tests pack real firmware, and read the images back with other tools.
    // RELEASES fetches the registry and the other Debian releases' programs.
    let needs: [&[packages::Need]; 9] = [
        &packages::DEMO,
        &packages::GUESTS,
        &packages::IMAGES,
        &packages::READERS,
        &packages::KEYS,
        &packages::WHEELS,
        &packages::RELEASES,
        &packages::INTEGRATE,
        &packages::NETWORK,
    ];
    packages::ensure("the unit tests", &needs)?;
    let mut tests = cargo(workspace);
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    let wheels = [wheel::SPDX, wheel::WEST, wheel::JSON_SCHEMA];
    let programs = wheels.iter().map(|wheel| wheel.ensure(workspace)).collect::<Result<Vec<_>>>()?;
    tests.env("PATH", path_with(&kubernetes::kubectl(workspace)?, &programs)?);
    tests.env("MICRUN_SARIF_SCHEMA", schema::sarif(workspace)?);
    step(format_args!("Unit tests: {}", shell::line(&tests)));
    run_tests(&mut tests)
}

fn e2e(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let needs: [&[packages::Need]; 6] = [
        &packages::DEMO,
        &packages::GUESTS,
        &packages::IMAGES,
        &packages::KEYS,
        &packages::RELEASES,
        &packages::NETWORK,
    ];
    packages::ensure("the end-to-end tests", &needs)?;
    Product::build(workspace, Profile::Release, &[])?;
    Product::build_with_crash_points(workspace)?;
    Release::all(workspace)?;
    let mut tests =
        as_root(workspace, build(workspace, "micrun-e2e", "the end-to-end tests")?.into_os_string())?;
    tests.args(arguments);
    step("End-to-end tests: each containerd runs each firmware");
    run_tests(&mut tests)
}

fn pods(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let needs: [&[packages::Need]; 5] =
        [&packages::DEMO, &packages::GUESTS, &packages::IMAGES, &packages::RELEASES, &packages::PODS];
    packages::ensure("the tests of pods", &needs)?;
    Product::build(workspace, Profile::Release, &[])?;
    Release::all(workspace)?;
    let mut tests =
        as_root(workspace, build(workspace, "micrun-pods", "the tests of pods")?.into_os_string())?;
    tests.args(arguments);
    step("Tests of pods: what kubelet does, on each containerd");
    run_tests(&mut tests)
}

/// The PATH on which one program is found in place of the machine's own, and others after those.
fn path_with(first: &Path, programs: &[PathBuf]) -> Result<OsString> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = programs.iter().filter_map(|program| program.parent()).map(Path::to_owned);
    let first = first.parent().map(Path::to_owned);
    let folders = first.into_iter().chain(std::env::split_paths(&own)).chain(folders);
    std::env::join_paths(folders).context("cannot extend PATH")
}

/// Builds a program of tests. Gives its path.
fn build(workspace: &Workspace, package: &str, what: &str) -> Result<PathBuf> {
    let mut build = cargo(workspace);
    build.args(["build", "-p", package]);
    step(format_args!("Building {what}: {}", shell::line(&build)));
    shell::run(&mut build)?;
    Ok(workspace.target().join("debug").join(package))
}

/// Runs a test runner. If tests fail, its own summary is the last that the user reads.
fn run_tests(tests: &mut Command) -> Result<()> {
    let status = tests.status().with_context(|| format!("cannot start `{}`", shell::line(tests)))?;
    if !status.success() {
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(())
}
