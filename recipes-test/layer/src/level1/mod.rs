//! What package registries are enough for.
//!
//! - [`crates`]: the recipes' list of crates against Cargo.lock
//! - [`devicetree`]: overlays: dtc, and the tree of the board they are for
//! - [`grub`]: what GRUB reads: its parser, the commands that its image has
//! - [`choice`]: the slot that GRUB takes, asked of GRUB itself
//! - [`memory`]: what Linux does to the boot loader's memory
//! - [`firmware`]: recipes of firmware, and the cases that run on an image with it
//! - [`kas`]: the descriptions of builds, their locks, what documents make of them
//! - [`openeuler`]: the layer and the feature for openEuler Embedded
//! - [`yaml`]: every other file in YAML
//! - [`sources`]: the files that recipes name
//! - [`signing`]: keys on tokens, as the recipe of bundles uses them
//! - [`oelint`]: OpenEmbedded's style guide
//! - [`licences`]: the licences that recipes and files name
//! - [`compiler`]: the compiler that our release brings
//! - [`kernel`]: the kernel's options
//! - [`uboot`]: U-Boot's scripts, run by U-Boot
//! - [`wks`]: the layouts of disks

mod choice;
pub mod compiler;
mod crates;
mod devicetree;
mod firmware;
mod grub;
pub mod kas;
mod kernel;
mod licences;
mod memory;
mod oelint;
mod openeuler;
mod signing;
mod sources;
mod uboot;
mod wks;
mod yaml;

use anyhow::Result;
use micrun_testkit::Workspace;

/// A check of the files as they are.
pub struct Check {
    pub name: &'static str,
    pub run: fn(&Workspace) -> Result<()>,
}

/// All of them, an area on each line.
pub fn checks() -> Vec<Check> {
    let areas = [
        crates::checks(),
        devicetree::checks(),
        grub::checks(),
        choice::checks(),
        memory::checks(),
        firmware::checks(),
        kas::checks(),
        yaml::checks(),
        sources::checks(),
        signing::checks(),
        oelint::checks(),
        licences::checks(),
        openeuler::checks(),
        compiler::checks(),
        kernel::checks(),
        uboot::checks(),
        wks::checks(),
    ];
    areas.into_iter().flatten().collect()
}
