//! Images that must not run. The user gets one sentence that names the container, the file and the remedy, and
//! nothing stays behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::shell;

use crate::node::{Stage, Story};
use crate::story;

/// What users put before a key in an annotation.
const PREFIX: &str = "org.openeuler.micrun";

pub fn stories() -> Vec<Story> {
    let zeros = "0".repeat(64);
    let annotation = |name: &str, key: &str, value: &str, expected: &[&str]| {
        let annotation = format!("{PREFIX}.{key}={value}");
        let expected: Vec<String> = expected.iter().map(|word| (*word).to_owned()).collect();
        story(format!("refused: {name}"), move |stage: &mut Stage<'_>| {
            stage.import_firmware(&OURS_ARM64)?;
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            refused(stage, &OURS_ARM64.image(), &["--annotation", &annotation], &expected)
        })
    };
    vec![
        annotation("a board that nobody knows", "board", "nosuch", &["nosuch", "boards"]),
        annotation(
            "a wrong hash",
            "container.firmware_hash",
            &format!("sha256:{zeros}"),
            &["firmware.elf", &zeros],
        ),
        annotation(
            "a path that leaves the image",
            "container.firmware_path",
            "/../../etc/passwd",
            &["/../../etc/passwd"],
        ),
        annotation(
            "a firmware that is not in the image",
            "container.firmware_path",
            "/gone.elf",
            &["gone.elf"],
        ),
        story("refused: an image without client.conf", no_client_conf),
    ]
}

/// An image that some other tool made.
fn no_client_conf(stage: &mut Stage<'_>) -> Result<()> {
    let archive = image_of_others(stage, &OURS_ARM64.elf(stage.product.firmware()))?;
    let archive = archive.to_str().context("the temporary folder has a strange name")?;
    stage.run_ctr(["image", "import", "--base-name", "localhost/others", archive])?;
    refused(stage, "localhost/others:test", &[], &["client.conf", "micrun-image-builder"])
}

/// Create fails with one line that holds the container's id and all the words; no log file appears.
fn refused(stage: &Stage<'_>, image: &str, options: &[&str], words: &[&str]) -> Result<()> {
    let id = "refused-one";
    let run = stage.try_run_detached(image, id, options)?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(!run.status.success(), "ctr run should have failed");
    let said = said.trim_end();
    ensure!(said.lines().count() == 1, "one sentence expected, but it said:\n{said}");
    for word in words.iter().chain(&[id]) {
        ensure!(said.contains(word), "the error should name {word:?}: {said}");
    }
    ensure!(stage.task(id)?.is_none(), "a task stayed behind");
    // ctr keeps the container when only its task failed.
    stage.run_ctr(["container", "rm", id])?;
    Ok(())
}

/// `/firmware.elf` and nothing else, made with umoci.
fn image_of_others(stage: &Stage<'_>, elf: &Path) -> Result<PathBuf> {
    let layout = stage.scratch_file("others");
    let reference = format!("{}:test", layout.display());
    let umoci = |arguments: &[&str]| shell::quietly(Command::new("umoci").args(arguments));
    let dir = layout.to_str().context("the temporary folder has a strange name")?;
    let elf = elf.to_str().context("the target folder has a strange name")?;
    umoci(&["init", "--layout", dir])?;
    umoci(&["new", "--image", &reference])?;
    umoci(&["insert", "--image", &reference, elf, "/firmware.elf"])?;
    let archive = stage.scratch_file("others.oci.tar");
    shell::quietly(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&layout).arg("."))?;
    Ok(archive)
}
