//! What bitbake says.
//!
//! - [`bitbake`]: how it is run here: as whom, with which configuration, with which compilers
//! - [`environment`]: that this works at all
//! - [`compiler`]: the compiler of the clones
//! - [`build`]: real builds of our recipes
//! - [`busybox`]: the commands of a node
//! - [`packages`]: what is in them
//! - [`devicetree`]: the overlay for the Raspberry Pi
//! - [`kas`]: the whole way of an integrator, but for what is fetched
//! - [`licences`]: checksums of licences that OpenEmbedded ships
//! - [`images`]: images and bundles, planned for each machine
//! - [`wic`]: their disks
//! - [`check_layer`]: what the Yocto Project asks of a layer
//! - [`firmware`]: the class for firmware, and recipes that use it

mod bitbake;
mod build;
mod busybox;
mod check_layer;
mod compiler;
mod devicetree;
mod environment;
mod firmware;
mod images;
mod kas;
mod licences;
mod packages;
mod wic;

use anyhow::Result;
use micrun_testkit::Workspace;

use crate::clones::Clones;

/// A check that runs bitbake.
pub struct Check {
    pub name: &'static str,
    pub run: fn(&Workspace, &Clones) -> Result<()>,
}

/// All of them, an area on each line.
pub fn checks() -> Vec<Check> {
    let areas = [
        environment::checks(),
        compiler::checks(),
        licences::checks(),
        busybox::checks(),
        build::checks(),
        packages::checks(),
        firmware::checks(),
        devicetree::checks(),
        kas::checks(),
        images::checks(),
        wic::checks(),
        check_layer::checks(),
    ];
    areas.into_iter().flatten().collect()
}
