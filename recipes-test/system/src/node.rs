//! The node itself, before any guest of ours: what the trials rely on.

use anyhow::{Result, ensure};

use micrun_testkit::firmware::{OURS_XEN, OURS_XEN_VUART};

use crate::stage::{Driver, Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("the node boots through UEFI and GRUB into Xen, and all its units run", boots),
        story("the images that the node was installed with are in containerd after the boot", imported),
        story("an image is carried in and imported", import),
        story("micrun check finds Xen and what serves it", check),
    ]
}

/// Xen runs below, Dom0 may make domains, containerd answers and knows our shim.
fn boots(stage: &mut Stage<'_>) -> Result<()> {
    let info = stage.node.run(&["xl", "info"])?;
    ensure!(info.contains("xen_major") && info.contains("hvm"), "`xl info` said {info}");
    let version = stage.ctr(&["version"])?;
    ensure!(version.contains("Server:"), "containerd said {version}");
    stage.node.run(&["containerd-shim-mica-v2", "-v"]).map(drop)
}

/// By the import service, which is one of the units.
fn imported(stage: &mut Stage<'_>) -> Result<()> {
    let images = stage.ctr(&["image", "ls", "-q"])?;
    for firmware in [OURS_XEN, OURS_XEN_VUART] {
        ensure!(
            images.lines().any(|image| image == firmware.image()),
            "{} is missing: {images}",
            firmware.image()
        );
    }
    stage.node.run(&["systemctl", "status", "--no-pager", "micrun-import"]).map(drop)
}

/// As a user does it, with `ctr`.
fn import(stage: &mut Stage<'_>) -> Result<()> {
    let mut firmware = OURS_XEN;
    firmware.tag = "carried-in";
    stage.import(&stage.pack(&firmware, &[])?)?;
    stage.remove_image(&firmware)
}

/// It ends with 0 only where nothing is wrong and nothing was left behind.
fn check(stage: &mut Stage<'_>) -> Result<()> {
    let said = stage.node.run(&["micrun", "check"])?;
    let (driver, micad) = match stage.driver {
        Driver::Direct => ("xen", "does not run"),
        Driver::Micad => ("micad", "runs, no client"),
    };
    let line = |words: &[&str]| {
        said.lines().any(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()))
    };
    ensure!(line(&["xen", driver]), "xen should be served by {driver}: {said}");
    ensure!(line(&["xen_arm64", "xen"]), "a board of Xen should be usable: {said}");
    ensure!(line(&["xen", "1", "cores,"]), "the machine under Xen should be told: {said}");
    ensure!(said.contains(&format!("micad  {micad}")), "micad {micad}: {said}");
    Ok(())
}
