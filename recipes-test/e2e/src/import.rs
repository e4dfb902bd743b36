//! What a product image brings for containerd: the service that imports the node's own firmware images, and the
//! configuration of the runtime.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::containerd::{ADDRESS, HOME};
use micrun_testkit::{Firmware, Workspace, firmware, shell};

use crate::node::{Stage, Story};
use crate::story;

const FIRMWARE: Firmware = firmware::OURS_ARM64;
const OTHER: Firmware = firmware::OURS_RISCV64;
/// Where meta-micrun keeps what the recipe of the shim installs.
const FILES: &str = "meta-micrun/recipes-containers/micrun/files";

pub fn stories() -> Vec<Story> {
    vec![
        story("import / into every namespace, pinned, once", once),
        story("import / what containerd lost comes back", lost),
        story("import / a new archive wins over a pull, an old one does not", moved),
        story("import / what is gone is unpinned", gone),
        story("import / a broken archive keeps no other out", broken),
        story("import / waits for containerd", waits),
        story("configuration / mica beside runc", configuration),
    ]
}

/// The node's image folder, and the import as its service runs it.
struct Import<'a> {
    stage: &'a Stage<'a>,
    script: PathBuf,
    images: PathBuf,
    state: PathBuf,
}

impl<'a> Import<'a> {
    fn new(stage: &'a Stage<'a>) -> Result<Self> {
        let script = Workspace::find()?.root().join(FILES).join("micrun-import");
        let import =
            Self { stage, script, images: stage.scratch_file("images"), state: stage.scratch_file("state") };
        std::fs::create_dir(&import.images).context("cannot make the image folder")?;
        Ok(import)
    }

    /// A second namespace, as Kubernetes has.
    fn pods(&self) -> String {
        format!("{}-pods", self.stage.containers())
    }

    /// Puts an image into the folder, under the name of `firmware`.
    fn add(&self, firmware: &Firmware, elf: &Firmware) -> Result<PathBuf> {
        let archive = self.images.join(format!("{} 1.tar", firmware.tag));
        let elf = elf.elf(self.stage.product.firmware());
        shell::quietly(&mut self.stage.product.pack_command_for(firmware, &elf, &archive))?;
        Ok(archive)
    }

    fn command(&self, address: &str) -> Command {
        let mut command = self.stage.program(&self.script);
        command.env("CONTAINERD_ADDRESS", address).env("MICRUN_IMAGES", &self.images);
        command.env("STATE_DIRECTORY", &self.state).env("MICRUN_PATIENCE", "60");
        command.env("MICRUN_NAMESPACES", format!("{} {}", self.stage.containers(), self.pods()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self) -> Result<Output> {
        let child = self.stage.namespace().spawn(&mut self.command(ADDRESS))?;
        child.wait_with_output().context("cannot wait for the import")
    }

    /// Gives what it says: one line for each image that it brought.
    fn run(&self) -> Result<String> {
        let output = self.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "the import failed: {said}");
        Ok(said)
    }

    /// The images of a namespace that are pinned, or not.
    fn images(&self, namespace: &str, pinned: bool) -> Result<Vec<String>> {
        let filter = format!("labels.\"io.cri-containerd.pinned\"{}pinned", if pinned { "==" } else { "!=" });
        self.stage.list(["--namespace", namespace, "image", "ls", "-q", &filter])
    }

    /// The digest that an image's name leads to.
    fn digest(&self, image: &str) -> Result<String> {
        let table = self.stage.run_ctr(["image", "ls", &format!("name=={image}")])?;
        let digest = table.split_whitespace().find(|word| word.starts_with("sha256:"));
        digest.map(str::to_owned).with_context(|| format!("{image} is not there:\n{table}"))
    }
}

impl Drop for Import<'_> {
    /// The trial's own namespace is cleared by the stage.
    fn drop(&mut self) {
        let pods = self.pods();
        for image in self.stage.list(["--namespace", &pods, "image", "ls", "-q"]).unwrap_or_default() {
            let _ = self.stage.run_ctr(["--namespace", &pods, "image", "rm", "--sync", &image]);
        }
        let _ = self.stage.run_ctr(["namespace", "rm", &pods]);
    }
}

fn once(stage: &mut Stage<'_>) -> Result<()> {
    let import = Import::new(stage)?;
    ensure!(import.run()?.is_empty(), "there was nothing to import");
    import.add(&FIRMWARE, &FIRMWARE)?;
    import.add(&OTHER, &OTHER)?;

    let said = import.run()?;
    ensure!(said.lines().count() == 4, "two images into two namespaces: {said}");
    for namespace in [stage.containers(), &import.pods()] {
        ensure!(import.images(namespace, true)? == [FIRMWARE.image(), OTHER.image()], "{namespace}: {said}");
    }
    let again = import.run()?;
    ensure!(again.is_empty(), "{again}");
    stage.start(&FIRMWARE, "imported")?;
    stage.kill("imported", "SIGKILL")?;
    stage.reap("imported").map(drop)
}

/// A stamp of the first boot would keep both away for ever.
fn lost(stage: &mut Stage<'_>) -> Result<()> {
    let import = Import::new(stage)?;
    import.add(&FIRMWARE, &FIRMWARE)?;
    import.run()?;

    stage.run_ctr(["image", "label", &FIRMWARE.image(), "io.cri-containerd.pinned="])?;
    let said = import.run()?;
    ensure!(said.is_empty(), "an image that only lost its pin was imported: {said}");
    ensure!(import.images(stage.containers(), true)? == [FIRMWARE.image()], "it is not pinned again");

    // CRI names each image by its digest too, and takes that name away by its own rules.
    let by_digest = format!("localhost/by@{}", import.digest(&FIRMWARE.image())?);
    stage.run_ctr(["image", "tag", &FIRMWARE.image(), &by_digest])?;
    stage.run_ctr(["image", "label", &by_digest, "io.cri-containerd.pinned="])?;
    stage.run_ctr(["image", "rm", "--sync", &FIRMWARE.image()])?;
    let said = import.run()?;
    ensure!(said.lines().count() == 1, "one namespace lacks it: {said}");
    ensure!(import.images(stage.containers(), true)? == [FIRMWARE.image()], "it is not back");
    Ok(())
}

fn moved(stage: &mut Stage<'_>) -> Result<()> {
    let import = Import::new(stage)?;
    import.add(&FIRMWARE, &FIRMWARE)?;
    import.add(&OTHER, &OTHER)?;
    import.run()?;
    let (installed, pulled) = (import.digest(&FIRMWARE.image())?, import.digest(&OTHER.image())?);

    stage.run_ctr(["image", "tag", "--force", &OTHER.image(), &FIRMWARE.image()])?;
    import.run()?;
    ensure!(import.digest(&FIRMWARE.image())? == pulled, "the node's old image replaced a pulled one");

    import.add(&FIRMWARE, &firmware::U_BOOT_ARM64)?;
    let said = import.run()?;
    ensure!(said.lines().count() == 2, "one image into two namespaces: {said}");
    let updated = import.digest(&FIRMWARE.image())?;
    ensure!(updated != pulled && updated != installed, "the new archive is not there");

    // The node falls back to the system that it had before.
    import.add(&FIRMWARE, &FIRMWARE)?;
    import.run()?;
    ensure!(import.digest(&FIRMWARE.image())? == installed, "the old archive is not back");
    Ok(())
}

fn gone(stage: &mut Stage<'_>) -> Result<()> {
    let import = Import::new(stage)?;
    let archive = import.add(&FIRMWARE, &FIRMWARE)?;
    import.run()?;
    remove(&archive)?;
    import.run()?;
    ensure!(import.images(stage.containers(), true)?.is_empty(), "it is still pinned");
    ensure!(import.images(stage.containers(), false)? == [FIRMWARE.image()], "it was removed");

    // Back under another name: the archive's name does not matter to containerd.
    std::fs::rename(import.add(&FIRMWARE, &FIRMWARE)?, import.images.join("other.tar"))?;
    import.run()?;
    ensure!(import.images(stage.containers(), true)? == [FIRMWARE.image()], "it is not pinned");
    Ok(())
}

fn broken(stage: &mut Stage<'_>) -> Result<()> {
    let import = Import::new(stage)?;
    let archive = import.add(&FIRMWARE, &FIRMWARE)?;
    let whole = std::fs::read(&archive).context("cannot read the archive")?;
    for (name, bytes) in
        [("a-cut.tar", &whole[..whole.len() / 2]), ("b-text.tar", b"hello"), ("c-empty.tar", b"")]
    {
        std::fs::write(import.images.join(name), bytes).with_context(|| format!("cannot write {name}"))?;
    }
    for _ in 0..2 {
        let output = import.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{said}");
        for name in ["a-cut.tar", "b-text.tar", "c-empty.tar"] {
            ensure!(said.contains(&format!("{name} is no OCI archive")), "{name} is not named: {said}");
        }
        ensure!(import.images(stage.containers(), true)? == [FIRMWARE.image()], "the whole one is not there");
    }
    Ok(())
}

fn waits(stage: &mut Stage<'_>) -> Result<()> {
    let import = Import::new(stage)?;
    import.add(&FIRMWARE, &FIRMWARE)?;
    let late = format!("{HOME}/late.sock");

    let mut never = import.command(&late);
    let output = stage.namespace().spawn(never.env("MICRUN_PATIENCE", "1"))?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains(&format!("does not answer at {late}")), "{said}");

    let waiting = stage.namespace().spawn(&mut import.command(&late))?;
    let socket = stage.namespace().path(&late);
    std::os::unix::fs::symlink(ADDRESS, &socket).context("cannot put a link to the socket")?;
    let output = waiting.wait_with_output().context("cannot wait for the import")?;
    remove(&socket)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(import.images(stage.containers(), true)? == [FIRMWARE.image()], "it is not there");
    Ok(())
}

/// containerd reads what we install, and nothing of its own is lost.
fn configuration(stage: &mut Stage<'_>) -> Result<()> {
    let files = Workspace::find()?.root().join(FILES);
    let main = stage.scratch_file("config.toml");
    let text = if stage.release().version.starts_with("1.") {
        let file = files.join("containerd-1/config.toml");
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?
    } else {
        format!("version = 3\nimports = [\"{}/containerd-2/*.toml\"]\n", files.display())
    };
    std::fs::write(&main, text).context("cannot write a configuration")?;
    let containerd = stage.release().bin.join("containerd");
    let dump = shell::output(Command::new(&containerd).arg("--config").arg(&main).args(["config", "dump"]))?;
    let default = shell::output(Command::new(&containerd).args(["config", "default"]))?;
    for wanted in ["io.containerd.mica.v2", "org.openeuler.micrun.*/*"] {
        ensure!(dump.contains(wanted) && !default.contains(wanted), "no {wanted} in:\n{dump}");
    }
    for kept in ["containerd.runtimes.runc]", "io.containerd.runc.v2", "sandbox"] {
        let line = |text: &str| text.lines().find(|line| line.contains(kept)).map(str::to_owned);
        ensure!(line(&default).is_some() && line(&dump) == line(&default), "{kept} changed:\n{dump}");
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}
