//! A node per driver, booted when its first trial needs it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use micrun_testkit::firmware::{OURS_XEN, OURS_XEN_VUART};
use micrun_testkit::node::disk::{Addition, Disks};
use micrun_testkit::node::{INSTALLED, Said, logs};
use micrun_testkit::{Firmware, Node, Product, Workspace, note, shell};

use crate::leftovers::Leftovers;

/// What is built for the node.
const PROGRAMS: [&str; 4] = ["containerd-shim-mica-v2", "micrun", "micad-sim", "micrun-node-agent"];

/// What a trial does, on whichever node.
#[derive(Clone, Copy)]
pub struct Story {
    pub name: &'static str,
    /// The drivers that it is told with.
    pub drivers: &'static [Driver],
    pub tell: fn(&mut Stage<'_>) -> Result<()>,
}

/// How the shim reaches Xen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// By itself.
    Direct,
    /// Through the mica daemon, which our simulator plays.
    Micad,
}

impl Driver {
    pub const ALL: &'static [Self] = &[Self::Direct, Self::Micad];

    /// As trials and log folders are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Micad => "micad",
        }
    }
}

/// What a node is made from.
#[derive(Clone)]
pub struct Supplies {
    pub workspace: Workspace,
    pub product: Product,
    /// The folder of our programs for the node.
    pub programs: PathBuf,
}

/// One node with its trials.
pub struct Place {
    pub driver: Driver,
    supplies: Supplies,
    /// Locked by the trial that runs.
    running: Mutex<Option<Running>>,
}

struct Running {
    node: Node,
    clean: Leftovers,
}

/// What a trial works with.
pub struct Stage<'a> {
    pub driver: Driver,
    pub node: &'a Node,
    pub product: &'a Product,
    /// A folder of its own for images.
    pub scratch: tempfile::TempDir,
}

impl Supplies {
    /// Our programs, the files that the recipes of a product install, and two images for its import service.
    pub fn additions(&self) -> Result<Vec<Addition>> {
        let program = |name: &str| Addition { from: self.programs.join(name), to: format!("usr/bin/{name}") };
        let mut additions: Vec<Addition> = PROGRAMS.iter().map(|name| program(name)).collect();
        let layer = self.workspace.root().join("meta-micrun");
        additions.extend(INSTALLED.map(|(from, to)| Addition { from: layer.join(from), to: to.to_owned() }));
        for (archive, firmware) in self.images()?.into_iter().zip(IMAGES) {
            additions.push(Addition {
                from: archive,
                to: format!("usr/share/micrun/images/{}.tar", firmware.tag),
            });
        }
        Ok(additions)
    }

    /// The images of [`IMAGES`].
    pub fn images(&self) -> Result<[PathBuf; 2]> {
        let folder = self.workspace.kit("node")?.join("images");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let archives = IMAGES.map(|firmware| folder.join(format!("{}.tar", firmware.tag)));
        for (archive, firmware) in archives.iter().zip(IMAGES) {
            // Nodes are put together side by side: nobody reads half of one.
            let part = folder.join(format!("{}.{:?}", firmware.tag, std::thread::current().id()));
            pack(&self.product, &firmware, &part, &[])?;
            std::fs::rename(&part, archive).with_context(|| format!("cannot write {}", archive.display()))?;
        }
        Ok(archives)
    }
}

impl Supplies {
    /// The second of [`IMAGES`] with other settings, as a newer version of it.
    pub fn heavier(&self) -> Result<PathBuf> {
        let archive = self.workspace.kit("node")?.join("images/heavier.tar");
        let part = archive.with_extension(format!("{:?}", std::thread::current().id()));
        pack(&self.product, &IMAGES[1], &part, &["CPUWeight=512"])?;
        std::fs::rename(&part, &archive).with_context(|| format!("cannot write {}", archive.display()))?;
        Ok(archive)
    }
}

/// What the import service finds on the node.
const IMAGES: [Firmware; 2] = [OURS_XEN, OURS_XEN_VUART];

impl Place {
    pub fn new(supplies: &Supplies, driver: Driver) -> Self {
        Self { driver, supplies: supplies.clone(), running: Mutex::new(None) }
    }

    /// Runs a story, and then looks that nothing is left of it. After a failure the next trial gets a fresh node.
    pub fn run(&self, story: Story) -> Result<()> {
        let mut slot = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match slot.take() {
            Some(running) => running,
            None => self.boot()?,
        };
        let running = slot.insert(running);
        if let Err(error) = self.tell(running, story) {
            note(format_args!("failed: {error:#}"));
            let kept = self.keep_logs(story, &running.node)?;
            *slot = None;
            bail!(
                "{error:#}\n\nThe transcript, the node's journal and its serial console: {}\n",
                kept.display()
            );
        }
        Ok(())
    }

    /// Puts what is known about a failed trial where the next boot does not overwrite it.
    fn keep_logs(&self, story: Story, node: &Node) -> Result<PathBuf> {
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name =
            format!("{}-failed-{}", self.driver.name(), story.name.chars().map(word).collect::<String>());
        let (from, to) =
            (logs(&self.supplies.workspace, self.driver.name())?, logs(&self.supplies.workspace, &name)?);
        let doing = || format!("cannot keep the logs in {}", to.display());
        let _ = std::fs::remove_dir_all(&to);
        std::fs::create_dir_all(&to).with_context(doing)?;
        std::fs::write(to.join("journal.txt"), node.journal()).with_context(doing)?;
        for file in ["transcript.txt", "serial.log"] {
            std::fs::copy(from.join(file), to.join(file)).with_context(doing)?;
        }
        Ok(to)
    }

    /// Boots the node for somebody who types.
    pub fn shell(&self) -> Result<()> {
        let running = self.boot()?;
        note("a shell in the node; try `xl list` or `ctr image ls`, and leave it with `exit`");
        running.node.attach(&["bash", "-i"]).map(drop)
    }

    fn boot(&self) -> Result<Running> {
        let disks = Disks::assemble(&self.supplies.workspace, &self.supplies.additions()?)?;
        let logs = logs(&self.supplies.workspace, self.driver.name())?;
        let node = Node::boot(&disks, &logs)?;
        note(format_args!(
            "the node ({}) was up after {:.1} s; what is typed there: {}",
            self.driver.name(),
            node.boot.as_secs_f64(),
            logs.join("transcript.txt").display()
        ));
        if self.driver == Driver::Micad {
            node.run(&["systemctl", "start", "micad"])?;
        }
        let clean = Leftovers::look(&node)?;
        Ok(Running { node, clean })
    }

    fn tell(&self, running: &Running, story: Story) -> Result<()> {
        let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
        running.node.remark(story.name);
        let mut stage =
            Stage { driver: self.driver, node: &running.node, product: &self.supplies.product, scratch };
        (story.tell)(&mut stage)?;
        running.clean.assert_nothing_new(&running.node)
    }
}

/// Packs a firmware as a user does who knows what it needs: 16 MiB.
pub fn pack(product: &Product, firmware: &Firmware, archive: &Path, settings: &[&str]) -> Result<()> {
    let mut pack = product.pack_command(firmware, archive);
    pack.args(["--set", "Memory=16"]);
    pack.args(settings.iter().flat_map(|setting| ["--set", setting]));
    shell::quietly(&mut pack).with_context(|| format!("cannot pack {}", firmware.name))
}

impl Stage<'_> {
    /// Packs a firmware into an archive of the trial's own.
    pub fn pack(&self, firmware: &Firmware, settings: &[&str]) -> Result<PathBuf> {
        let archive = self.scratch.path().join(format!("{}.tar", firmware.tag));
        pack(self.product, firmware, &archive, settings).map(|()| archive)
    }

    /// Runs `ctr`, whatever its exit status.
    pub fn try_ctr(&self, arguments: &[&str]) -> Result<Said> {
        self.node.try_run(&[&["ctr"], arguments].concat())
    }

    /// Runs `ctr` and returns its stdout.
    pub fn ctr(&self, arguments: &[&str]) -> Result<String> {
        self.node.run(&[&["ctr"], arguments].concat())
    }
}
