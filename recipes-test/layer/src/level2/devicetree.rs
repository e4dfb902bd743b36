//! The overlay for the Raspberry Pi, built by its recipe, and what the boot partition gets with it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, packages, shell};

use super::Check;
use super::bitbake::{Bitbake, Kind};
use crate::clones::Clones;

const MACHINE: &str = "raspberrypi4-64";

/// As a product switches it on, see docs/raspberrypi4-baremetal.md.
const SWITCH: &str = "require conf/include/micrun-rpi-baremetal.inc";

pub fn checks() -> Vec<Check> {
    vec![Check { name: "devicetree: the Raspberry Pi's overlay builds, and is booted with", run: overlay }]
}

fn overlay(workspace: &Workspace, clones: &Clones) -> Result<()> {
    packages::ensure("building a device tree", &[&packages::DEVICE_TREES])?;
    let bitbake = Bitbake::new(workspace, clones, "devicetree", Kind::Aarch64)?
        .machine(MACHINE)
        .set(SWITCH)
        .set("HOSTTOOLS += \"dtc\"")
        .set("ASSUME_PROVIDED += \"dtc-native\"")
        // The recipe is in a folder that builds of our recipes alone leave out.
        .set("BBMASK:remove = \"/dynamic-layers/\"")
        .set("BBMASK += \"/dynamic-layers/(?!raspberrypi/)\"");
    bitbake.run(&["micrun-mcs-overlay"])?;
    let deployed = bitbake.dir().join("tmp/deploy/images").join(MACHINE).join("devicetree/micrun-mcs.dtbo");
    let nodes = shell::output(Command::new("fdtget").arg("-l").arg(&deployed).arg("/"))?;
    ensure!(nodes.lines().any(|node| node == "fragment@0"), "{} is no overlay:\n{nodes}", deployed.display());
    for (variable, wanted) in [
        ("RPI_EXTRA_CONFIG", "\\narmstub=bl31.bin\\ndtoverlay=micrun-mcs"),
        ("PREFERRED_VERSION_linux-raspberrypi", "6.6.%"),
        ("IMAGE_BOOT_FILES", "devicetree/micrun-mcs.dtbo;overlays/micrun-mcs.dtbo"),
    ] {
        let said = bitbake.call("bitbake-getvar", &["--value", variable])?;
        ensure!(said.text.contains(wanted), "{variable} has no {wanted}: {}", said.text);
    }
    let awaited = bitbake.call("bitbake-getvar", &["--value", "--flag", "depends", "do_image_wic"])?.text;
    for recipe in ["trusted-firmware-a", "micrun-mcs-overlay"] {
        let is_awaited = awaited.split_whitespace().any(|task| task == format!("{recipe}:do_deploy"));
        ensure!(is_awaited, "disks are made without waiting for what {recipe} puts on them: {awaited}");
    }
    let kernels = clones.layer("meta-raspberrypi").join("recipes-kernel/linux");
    let is_there = |name: &str| name.starts_with("linux-raspberrypi_6.6") && name.ends_with(".bb");
    let names = kernels.read_dir().with_context(|| format!("cannot read {}", kernels.display()))?;
    let mut names = names.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    ensure!(names.any(|name| is_there(&name)), "meta-raspberrypi has no linux-raspberrypi 6.6 any more");
    Ok(())
}
