//! A containerd per release, started when its first trial needs it.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::namespace::Process;
use micrun_testkit::product::SHIM;
use micrun_testkit::trials::Shared;
use micrun_testkit::{Console, Containerd, Firmware, Product, Release, leftovers};

/// The runtime's name, as users type it.
pub const RUNTIME: &str = "io.containerd.mica.v2";

/// What a trial does, on whichever containerd.
pub struct Story {
    pub name: String,
    pub tell: Arc<Tell>,
}

/// The telling of a story.
pub type Tell = dyn Fn(&mut Stage<'_>) -> Result<()> + Send + Sync;

/// One containerd release with its trials.
pub struct Node {
    product: Product,
    /// The folder of the shim that is run.
    shims: PathBuf,
    release: Release,
    containerd: Shared,
}

/// What a trial works with.
pub struct Stage<'a> {
    pub containerd: &'a mut Containerd,
    pub product: &'a Product,
    /// A folder of its own for logs and images.
    pub scratch: tempfile::TempDir,
}

impl Node {
    /// One that runs the shim of this folder.
    pub fn new(product: &Product, shims: &Path, release: Release) -> Self {
        let (product, shims) = (product.clone(), shims.to_owned());
        Self { product, shims, release, containerd: Shared::default() }
    }

    /// Without what the distribution adds: `1.7.24`.
    pub fn version(&self) -> &str {
        self.release.version.split(['~', '+']).next().unwrap_or_default()
    }

    /// Runs a story, and then looks that nothing is left of it.
    pub fn run(&self, tell: &Tell) -> Result<()> {
        self.containerd
            .run(|| Containerd::start(&self.release, &self.shims), |containerd| self.tell(containerd, tell))
    }

    fn tell(&self, containerd: &mut Containerd, tell: &Tell) -> Result<()> {
        let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
        let mut stage = Stage { containerd, product: &self.product, scratch };
        tell(&mut stage)?;
        stage.containerd.remove_images()?;
        leftovers::assert_none(stage.containerd)
    }
}

impl Deref for Stage<'_> {
    type Target = Containerd;

    fn deref(&self) -> &Containerd {
        self.containerd
    }
}

impl Stage<'_> {
    /// Packs a firmware and imports the image.
    pub fn import_firmware(&self, firmware: &Firmware) -> Result<()> {
        self.import(&self.product.pack(firmware, self.scratch.path())?)
    }

    /// Where the output of a detached container goes.
    pub fn log(&self, id: &str) -> PathBuf {
        self.scratch.path().join(format!("{id}.log"))
    }

    /// `ctr run --detach`, with more options; its output goes to [`Stage::log`].
    pub fn try_run_detached(&self, image: &str, id: &str, options: &[&str]) -> Result<Output> {
        let log = format!("file://{}", self.log(id).display());
        let start = ["run", "--detach", "--runtime", RUNTIME, "--log-uri", &log];
        self.try_ctr([&start, options, &[image, id]].concat())
    }

    /// Starts a firmware detached and waits for its banner.
    pub fn start(&self, firmware: &Firmware, id: &str) -> Result<()> {
        let run = self.try_run_detached(&firmware.image(), id, &[])?;
        let said = String::from_utf8_lossy(&run.stderr);
        ensure!(run.status.success(), "ctr run --detach failed: {said}");
        self.wait_for_log(id, firmware.banner)
    }

    /// Waits for a text in [`Stage::log`].
    pub fn wait_for_log(&self, id: &str, text: &str) -> Result<()> {
        micrun_testkit::console::wait_for_log(&self.log(id), text)
    }

    /// `ctr run` in the foreground, with pipes.
    pub fn foreground(&self, firmware: &Firmware, id: &str) -> Result<Console> {
        Console::pipes(self, &["run", "--rm", "--runtime", RUNTIME, &firmware.image(), id])
    }

    /// `ctr run --tty`, on a terminal.
    pub fn terminal(&self, firmware: &Firmware, id: &str) -> Result<Console> {
        Console::terminal(self, &["run", "--rm", "--tty", "--runtime", RUNTIME, &firmware.image(), id])
    }

    /// Sends a signal by its name.
    pub fn kill(&self, id: &str, signal: &str) -> Result<()> {
        self.run_ctr(["task", "kill", "--signal", signal, id]).map(drop)
    }

    /// The shim; there must be exactly one.
    pub fn shim(&self) -> Result<Process> {
        self.only("shim", |process| process.program() == SHIM)
    }

    /// The guest's QEMU; there must be exactly one.
    pub fn qemu(&self) -> Result<Process> {
        self.only("QEMU", |process| process.program().starts_with("qemu-system-"))
    }

    fn only(&self, what: &str, is_it: impl Fn(&Process) -> bool) -> Result<Process> {
        let mut found = self.guests()?;
        found.retain(is_it);
        ensure!(found.len() == 1, "not one {what}, but {found:?}");
        Ok(found.swap_remove(0))
    }

    /// All processes that containers brought.
    pub fn guests(&self) -> Result<Vec<Process>> {
        let mut processes = self.namespace().processes()?;
        processes.retain(|process| !self.is_own(process.pid));
        Ok(processes)
    }

    /// A file in [`Stage::scratch`].
    pub fn scratch_file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.scratch.path().join(name)
    }
}
