//! The node itself, before any guest of ours: what the trials rely on.

use anyhow::{Result, ensure};

use micrun_testkit::firmware::{OURS_XEN, OURS_XEN_VUART};

use crate::stage::{Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("the node boots through UEFI and GRUB into Xen, and all its units run", boots),
        story("the images that the node was installed with are in containerd after the boot", imported),
        story("an image is carried in and imported", import),
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
