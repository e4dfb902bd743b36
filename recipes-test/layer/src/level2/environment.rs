//! That bitbake runs at all, as the user and with the layers that it is meant to.

use anyhow::{Result, ensure};
use micrun_testkit::Workspace;

use super::Check;
use super::bitbake::{Bitbake, Kind};
use crate::clones::Clones;

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "bitbake reads our layers beside the others", run: beside },
        Check { name: "bitbake reads our recipes alone", run: alone },
    ]
}

/// The configuration of all layers for each machine, and no recipe, so this is quick.
fn beside(workspace: &Workspace, clones: &Clones) -> Result<()> {
    for machine in ["qemuarm64", "genericarm64", "raspberrypi4-64"] {
        let bitbake = Bitbake::new(workspace, clones, "whole", Kind::Whole)?.machine(machine);
        let said = bitbake.call("bitbake-getvar", &["--value", "BBFILE_COLLECTIONS"])?;
        for layer in ["core", "virtualization-layer", "rauc", "yoctobsp", "micrun", "micrun-test"] {
            let is_there = said.text.split_whitespace().any(|word| word == layer);
            ensure!(is_there, "no layer {layer}: {}", said.text);
        }
    }
    Ok(())
}

/// What the builds start from; the others' recipes are masked there.
fn alone(workspace: &Workspace, clones: &Clones) -> Result<()> {
    for (name, kind) in [("native", Kind::Native), ("aarch64", Kind::Aarch64)] {
        let bitbake = Bitbake::new(workspace, clones, name, kind)?.set("BB_NO_NETWORK = \"1\"");
        let said = bitbake.run(&["-p"])?;
        ensure!(said.text.contains(" 0 errors"), "bitbake did not tell of its parsing: {}", said.text);
    }
    Ok(())
}
