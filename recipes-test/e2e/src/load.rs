//! `micrun-image-builder load`: images that no `ctr` imported run like others, stay while they are wanted, and go with
//! everything they brought. And archives with debug information beside the image, which `ctr` has to import as ever.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::containerd::ADDRESS;
use micrun_testkit::{Firmware, firmware, product, shell};

use crate::node::{Stage, Story};
use crate::story;

const FIRMWARE: Firmware = firmware::OURS_ARM64;

pub fn stories() -> Vec<Story> {
    vec![
        story("load / runs, and again", runs),
        story("load / survives a restart and the garbage collector", survives),
        story("load / removed with everything", removed),
        story("load / a wrong socket is explained", wrong_socket),
        story("load / debug information beside the image", debug_information),
    ]
}

impl Stage<'_> {
    /// Loads an archive; gives what the builder prints.
    fn load(&self, archive: &Path, options: &[&str]) -> Result<String> {
        self.load_at(ADDRESS, archive, options)
    }

    fn load_at(&self, address: &str, archive: &Path, options: &[&str]) -> Result<String> {
        let mut load = self.program(self.product.builder());
        load.arg("load").arg(archive).args(["--namespace", self.containers(), "--address", address]);
        load.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = self.namespace().spawn(&mut load)?.wait_with_output().context("cannot wait for load")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{}` failed: {said}", shell::line(&load));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn content(&self) -> Result<BTreeSet<String>> {
        Ok(self.list(["content", "ls", "-q"])?.into_iter().collect())
    }

    /// Has the garbage collector run to its end: a lease that is given back synchronously does.
    fn collect_garbage(&self) -> Result<()> {
        self.run_ctr(["leases", "create", "--id", "gc"])?;
        self.run_ctr(["leases", "rm", "--sync", "gc"]).map(drop)
    }
}

/// It is listed, complete, and its guest starts; a second time nothing is sent.
fn runs(stage: &mut Stage<'_>) -> Result<()> {
    let archive = stage.product.pack(&FIRMWARE, stage.scratch.path())?;
    let said = stage.load(&archive, &[])?;
    ensure!(said.contains("blobs     2 sent"), "{said}");
    let image = FIRMWARE.image();
    ensure!(stage.list(["image", "ls", "-q"])? == [image.clone()], "the image is not listed");
    let check = stage.run_ctr(["image", "check"])?;
    ensure!(check.contains("complete (2/2)"), "{check}");

    let said = stage.load(&archive, &[])?;
    ensure!(said.contains("blobs     0 sent"), "{said}");
    stage.load(&archive, &["--name", "localhost/other:name"])?;
    ensure!(stage.list(["leases", "ls", "-q"])?.is_empty(), "leases are left");

    stage.start(&FIRMWARE, "loaded")?;
    stage.kill("loaded", "SIGKILL")?;
    stage.reap("loaded").map(drop)
}

/// What belongs to it stays as long as the image does.
fn survives(stage: &mut Stage<'_>) -> Result<()> {
    let archive = stage.product.pack(&FIRMWARE, stage.scratch.path())?;
    stage.load(&archive, &[])?;
    let content = stage.content()?;
    ensure!(content.len() == 3, "manifest, configuration and layer, not {content:?}");
    stage.collect_garbage()?;
    stage.containerd.restart()?;
    stage.collect_garbage()?;
    ensure!(stage.content()? == content, "{:?} is left of {content:?}", stage.content()?);
    stage.start(&FIRMWARE, "restarted")?;
    stage.kill("restarted", "SIGKILL")?;
    stage.reap("restarted").map(drop)
}

/// The labels lead from the image to all of it and to nothing else.
fn removed(stage: &mut Stage<'_>) -> Result<()> {
    let archive = stage.scratch_file("all.tar");
    pack_with_debug_information(stage, &archive)?;
    stage.load(&archive, &["--referrers"])?;
    let content = stage.content()?;
    ensure!(content.len() == 6, "an image and its artifact have six blobs, not {content:?}");
    stage.collect_garbage()?;
    ensure!(stage.content()? == content, "{:?} is left of {content:?}", stage.content()?);
    stage.run_ctr(["image", "rm", "--sync", &FIRMWARE.image()])?;
    let left = stage.content()?;
    ensure!(left.is_empty(), "{left:?} is left");
    Ok(())
}

fn wrong_socket(stage: &mut Stage<'_>) -> Result<()> {
    let archive = stage.product.pack(&FIRMWARE, stage.scratch.path())?;
    let refused = stage.load_at("/run/nobody.sock", &archive, &[]);
    let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains("there is no containerd at /run/nobody.sock: start it"), "{said}");
    Ok(())
}

/// `ctr` imports what the builder writes, whatever stands beside the image, and the stripped firmware boots.
fn debug_information(stage: &mut Stage<'_>) -> Result<()> {
    let archive = stage.scratch_file("debug.tar");
    pack_with_debug_information(stage, &archive)?;
    stage.import(&archive)?;
    let images = stage.list(["image", "ls", "-q"])?;
    ensure!(images == [FIRMWARE.image()], "{images:?} was imported");
    stage.start(&FIRMWARE, "stripped")?;
    stage.kill("stripped", "SIGKILL")?;
    stage.reap("stripped").map(drop)
}

/// Builds the test firmware with debug information and packs it without.
fn pack_with_debug_information(stage: &Stage<'_>, archive: &Path) -> Result<()> {
    let built = stage.scratch_file("built");
    product::build_firmware(FIRMWARE.board, &built, "-g")?;
    let mut pack = stage.product.pack_command_for(&FIRMWARE, &FIRMWARE.elf(&built), archive);
    shell::quietly(pack.arg("--strip"))
}
