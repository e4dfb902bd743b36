//! What goes into images, for each machine: all recipes of all layers are read without an error, and bitbake can plan every image and
//! bundle down to its last task.

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note};

use super::Check;
use super::bitbake::{Bitbake, Kind};
use crate::clones::Clones;

/// One of each: the reference, any board with UEFI, a board with U-Boot.
const MACHINES: [&str; 3] = ["qemuarm64", "genericarm64", "raspberrypi4-64"];

/// Images and bundles.
const TARGETS: [&str; 5] =
    ["micrun-image", "micrun-image-dev", "micrun-image-test", "micrun-bundle", "micrun-guest-bundle"];

/// Fewer tasks than this, and nothing that matters is built.
const LEAST: usize = 100;

/// As a product with our distro has it, on top of the features that the build directory sets.
const CONFIGURATION: [&str; 3] = [
    "DISTRO = \"micrun\"",
    "LICENSE_FLAGS_ACCEPTED += \"synaptics-killswitch\"",
    "MICRUN_BUNDLE_GUESTS = \"test-firmware-xen-arm64\"",
];

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "every recipe of every layer is read, for each machine", run: parses },
        Check { name: "every image and bundle is planned, for each machine", run: plans },
        Check { name: "what a dry run cannot see", run: gaps },
    ]
}

fn bitbake(workspace: &Workspace, clones: &Clones) -> Result<Bitbake> {
    let bitbake = Bitbake::new(workspace, clones, "images", Kind::Whole)?;
    Ok(CONFIGURATION.iter().fold(bitbake, |bitbake, line| bitbake.set(line)))
}

fn parses(workspace: &Workspace, clones: &Clones) -> Result<()> {
    for machine in MACHINES {
        let said = bitbake(workspace, clones)?.machine(machine).run(&["-p"])?;
        let line = said.text.lines().find(|line| line.starts_with("Parsing of "));
        let line =
            line.with_context(|| format!("bitbake did not tell of its parsing: {}", said.log.display()))?;
        note(format_args!("{machine}: {line}"));
        ensure!(line.contains(" 0 errors"), "{machine}: {line}, see {}", said.log.display());
    }
    Ok(())
}

fn plans(workspace: &Workspace, clones: &Clones) -> Result<()> {
    for machine in MACHINES {
        for target in TARGETS {
            let said = bitbake(workspace, clones)?.machine(machine).run(&["-n", target])?;
            let tasks = tasks(&said.text).with_context(|| format!("see {}", said.log.display()))?;
            note(format_args!("{machine}, {target}: {tasks} tasks"));
            ensure!(tasks > LEAST, "{target} for {machine} has {tasks} tasks only: nothing is built for it");
        }
    }
    Ok(())
}

/// `NOTE: Tasks Summary: Attempted 6563 tasks of which 6563 didn't need to be rerun and all succeeded.`
fn tasks(text: &str) -> Result<usize> {
    let summary = text.lines().find(|line| line.contains("Tasks Summary: Attempted"));
    let summary = summary.context("bitbake summed up no tasks")?;
    let count = summary.split_whitespace().skip_while(|word| *word != "Attempted").nth(1);
    count.context("bitbake counted no tasks")?.parse().context("bitbake's count is no number")
}

/// What no task of a dry run looks at, and the checks of level 1 that do. A gap without any is a failure.
const GAPS: [(&str, &[&str]); 8] = [
    ("a layout of a disk that is missing, or that wic refuses", &["wic: "]),
    ("what boot loaders do with their configuration", &["GRUB's ", "u-boot: "]),
    ("names of kernel options", &["kernel: "]),
    ("device trees", &["devicetree: "]),
    ("crates that are missing, and their digests", &["the recipes fetch the crates"]),
    ("files that recipes name", &["recipes: each file://"]),
    ("checksums of licences", &["licences: "]),
    ("whether the release's Rust is new enough", &["compiler: "]),
];

fn gaps(_: &Workspace, _: &Clones) -> Result<()> {
    let names: Vec<&str> = crate::level1::checks().iter().map(|check| check.name).collect();
    for (gap, checks) in GAPS {
        let is_covered = |name: &&&str| checks.iter().any(|check| name.starts_with(check));
        let covering: Vec<&str> = names.iter().filter(is_covered).copied().collect();
        ensure!(!covering.is_empty(), "nothing on level 1 looks at {gap}");
        note(format_args!("a dry run does not see {gap}: level 1, {}", covering.join("; ")));
    }
    note("which files packages hold: level 2, the builds of our own recipes");
    Ok(())
}
