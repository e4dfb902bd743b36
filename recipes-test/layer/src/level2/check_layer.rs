//! What the Yocto Project asks of a layer: that adding it changes nothing for those who do not ask for it, that it parses alone with
//! what it depends on, that it says who maintains it.

use anyhow::{Result, ensure};
use micrun_testkit::{Workspace, note};

use super::Check;
use super::bitbake::{Bitbake, Kind};
use crate::clones::Clones;

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "yocto-check-layer: meta-micrun", run: product },
        Check { name: "yocto-check-layer: recipes-test", run: tests },
    ]
}

fn product(workspace: &Workspace, clones: &Clones) -> Result<()> {
    compatible(workspace, clones, "meta-micrun")
}

fn tests(workspace: &Workspace, clones: &Clones) -> Result<()> {
    compatible(workspace, clones, "recipes-test")
}

/// What both of them depend on, below the clones.
const DEPENDENCIES: [&str; 5] = [
    "meta-openembedded/meta-oe",
    "meta-openembedded/meta-python",
    "meta-openembedded/meta-networking",
    "meta-openembedded/meta-filesystems",
    "meta-virtualization",
];

fn compatible(workspace: &Workspace, clones: &Clones, layer: &str) -> Result<()> {
    let name = format!("check-{layer}");
    let bitbake = Bitbake::new(workspace, clones, &name, Kind::Core)?;
    let path = |folder: std::path::PathBuf| folder.display().to_string();
    let mut dependencies: Vec<String> =
        DEPENDENCIES.iter().map(|folder| path(clones.folder().join(folder))).collect();
    if layer != "meta-micrun" {
        dependencies.push(path(bitbake.product().join("meta-micrun")));
    }
    let layer_path = path(bitbake.product().join(layer));
    // The dependencies are others' to check. The layer for openEuler inside meta-micrun is for releases before this one.
    let mut arguments = vec!["--no-auto", "--no-auto-dependency", "--dependency"];
    arguments.extend(dependencies.iter().map(String::as_str));
    arguments.extend(["--", &layer_path]);
    let said = bitbake.call("yocto-check-layer", &arguments)?;
    for line in said.text.lines().filter(|line| line.contains("PASS") || line.contains("Ran ")) {
        note(line.trim());
    }
    ensure!(said.text.contains("PASS"), "there is no verdict on {layer} in {}", said.log.display());
    Ok(())
}
