//! What goes into images, for each machine: all recipes of all layers are read without an error, and bitbake can plan every image and
//! bundle down to its last task.

use std::path::Path;

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

/// Beside them the SDK of an image.
const SDK: &str = "micrun-image:do_populate_sdk";

/// Tasks that have to be among those planned, as bitbake names them.
const PLANNED: [&str; 6] = [
    "/micrun-image.bb:do_build)",
    "/micrun-image-dev.bb:do_build)",
    "/micrun-image-test.bb:do_build)",
    "/micrun-bundle.bb:do_bundle)",
    "/micrun-guest-bundle.bb:do_bundle)",
    "/micrun-image.bb:do_populate_sdk)",
];

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
        Check { name: "what the layer changes in others' recipes holds beside all layers", run: appends },
        Check { name: "a product's image refuses what is for developers", run: refusal },
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
        // In one run: what they have in common, which is nearly everything, is planned once.
        let targets: Vec<&str> = ["-n"].into_iter().chain(TARGETS).chain([SDK]).collect();
        let said = bitbake(workspace, clones)?.machine(machine).run(&targets)?;
        let tasks = tasks(&said.text).with_context(|| format!("see {}", said.log.display()))?;
        note(format_args!("{machine}: {tasks} tasks for {}", targets[1..].join(", ")));
        ensure!(tasks > LEAST, "{machine} has {tasks} tasks only: nothing is built for it");
        for planned in PLANNED {
            ensure!(said.text.contains(planned), "{machine}: no task {planned} in {}", said.log.display());
        }
        let is_builder = |line: &str| line.contains(":nativesdk:") && line.contains("/micrun-image-builder_");
        let has_builder = said.text.lines().any(is_builder);
        ensure!(has_builder, "the SDK for {machine} has no builder: {}", said.log.display());
    }
    Ok(())
}

/// Of two layers that change the same recipe, the one with the higher priority has the last word, and it is not always ours.
fn appends(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let value = |machine: &str, recipe: &str, variable: &str| {
        let bitbake = bitbake(workspace, clones)?.machine(machine);
        Ok::<_, anyhow::Error>(bitbake.call("bitbake-getvar", &["-r", recipe, "--value", variable])?.text)
    };
    let folders = value("raspberrypi4-64", "u-boot", "FILESPATH")?;
    let folders = folders.lines().last().context("u-boot looks for files nowhere")?;
    let mut found = folders.split(':').map(|folder| Path::new(folder).join("fw_env.config"));
    let found = found.find(|file| file.is_file()).context("u-boot has no fw_env.config")?;
    let is_ours = found.components().any(|part| part.as_os_str() == "meta-micrun");
    ensure!(is_ours, "the Raspberry Pi's fw_env.config is {}", found.display());
    let units = value("qemuarm64", "xen-tools", "SYSTEMD_SERVICE:xen-tools-xencommons")?;
    ensure!(
        units.contains("xenstored.service") && !units.contains("xen-qemu-dom0-disk-backend.service"),
        "Dom0 would start a QEMU that it does not have: {units}"
    );
    for machine in MACHINES {
        let kib = value(machine, "micrun-image", "IMAGE_ROOTFS_ALIGNMENT")?;
        let kib: u64 = kib.trim().lines().last().unwrap_or_default().parse().context("no alignment")?;
        ensure!(
            kib > 0 && kib.is_multiple_of(4),
            "{machine}: RAUC makes no adaptive bundle of an image of {kib} KiB blocks"
        );
    }
    Ok(())
}

fn refusal(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let feature = "empty-root-password";
    for (image, is_refused) in [("micrun-image", true), ("micrun-image-dev", false)] {
        let bitbake = Bitbake::new(workspace, clones, "refusal", Kind::Whole)?;
        let file = bitbake.product().join(format!("meta-micrun/recipes-core/images/{image}.bb"));
        // One file alone, so this is quick.
        let said = bitbake
            .set("DISTRO = \"micrun\"")
            .set(&format!("EXTRA_IMAGE_FEATURES = \"{feature}\""))
            .attempt("bitbake", &["-n", "-b", &file.display().to_string()])?;
        let sentence = format!("is for products and has no {feature}");
        let is_told = said.text.contains(&sentence);
        ensure!(is_told == is_refused && said.success != is_refused, "{image}: see {}", said.log.display());
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
