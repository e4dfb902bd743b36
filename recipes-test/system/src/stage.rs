//! A node per driver, booted when its first trial needs it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use micrun_testkit::firmware::{OURS_XEN, OURS_XEN_VUART};
use micrun_testkit::node::disk::{Addition, Disks};
use micrun_testkit::node::logs;
use micrun_testkit::{Node, Product, Workspace, note};

use crate::leftovers::Leftovers;

/// What is built for the node.
const PROGRAMS: [&str; 2] = ["containerd-shim-mica-v2", "micrun-node-agent"];

/// What a product's recipes install, from the layer to the node.
const INSTALLED: [(&str, &str); 4] = [
    ("recipes-containers/micrun/files/micrun-import", "usr/libexec/micrun-import"),
    ("recipes-containers/micrun/files/micrun-import.service", "usr/lib/systemd/system/micrun-import.service"),
    ("recipes-containers/micrun/files/containerd-1/config.toml", "etc/containerd/config.toml"),
    ("recipes-mcs/mcs/files/micad.service", "usr/lib/systemd/system/micad.service"),
];

/// What a trial does, on whichever node.
pub struct Story {
    pub name: &'static str,
    pub tell: fn(&mut Stage<'_>) -> Result<()>,
}

/// How the shim reaches Xen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// By itself.
    Direct,
}

impl Driver {
    pub const ALL: [Self; 1] = [Self::Direct];

    /// As trials and log folders are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
        }
    }
}

/// One node with its trials.
pub struct Place {
    pub driver: Driver,
    workspace: Workspace,
    product: Product,
    /// The folder of our programs for the node.
    programs: PathBuf,
    /// Locked by the trial that runs.
    running: Mutex<Option<Running>>,
}

struct Running {
    node: Node,
    clean: Leftovers,
}

/// What a trial works with.
pub struct Stage<'a> {
    pub node: &'a Node,
    pub product: &'a Product,
    /// A folder of its own for images.
    pub scratch: tempfile::TempDir,
}

impl Place {
    pub fn new(workspace: &Workspace, product: &Product, programs: &Path, driver: Driver) -> Self {
        Self {
            driver,
            workspace: workspace.clone(),
            product: product.clone(),
            programs: programs.to_owned(),
            running: Mutex::new(None),
        }
    }

    /// Runs a story, and then looks that nothing is left of it. After a failure the next trial gets a fresh node.
    pub fn run(&self, tell: fn(&mut Stage<'_>) -> Result<()>) -> Result<()> {
        let mut slot = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match slot.take() {
            Some(running) => running,
            None => self.boot()?,
        };
        let running = slot.insert(running);
        if let Err(error) = self.tell(running, tell) {
            note(format_args!("failed: {error:#}"));
            let journal = running.node.journal();
            *slot = None;
            bail!("{error:#}\n\n{journal}\n");
        }
        Ok(())
    }

    fn boot(&self) -> Result<Running> {
        let disks = Disks::assemble(&self.workspace, &self.additions()?)?;
        let logs = logs(&self.workspace, self.driver.name())?;
        let node = Node::boot(&disks, &logs)?;
        note(format_args!(
            "the node ({}) was up after {:.1} s; what is typed there: {}",
            self.driver.name(),
            node.boot.as_secs_f64(),
            logs.join("transcript.txt").display()
        ));
        let clean = Leftovers::look(&node)?;
        Ok(Running { node, clean })
    }

    /// Our programs, the files that the recipes of a product install, and two images for its import service.
    fn additions(&self) -> Result<Vec<Addition>> {
        let program = |name: &str| Addition { from: self.programs.join(name), to: format!("usr/bin/{name}") };
        let mut additions: Vec<Addition> = PROGRAMS.iter().map(|name| program(name)).collect();
        let layer = self.workspace.root().join("meta-micrun");
        additions.extend(INSTALLED.map(|(from, to)| Addition { from: layer.join(from), to: to.to_owned() }));
        let images = self.workspace.kit("node")?.join("images");
        std::fs::create_dir_all(&images).with_context(|| format!("cannot create {}", images.display()))?;
        for firmware in [OURS_XEN, OURS_XEN_VUART] {
            let to = format!("usr/share/micrun/images/{}.tar", firmware.tag);
            additions.push(Addition { from: self.product.pack(&firmware, &images)?, to });
        }
        Ok(additions)
    }

    fn tell(&self, running: &Running, tell: fn(&mut Stage<'_>) -> Result<()>) -> Result<()> {
        let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
        let mut stage = Stage { node: &running.node, product: &self.product, scratch };
        tell(&mut stage)?;
        running.clean.assert_nothing_new(&running.node)
    }
}

impl Stage<'_> {
    /// Runs `ctr` and returns its stdout.
    pub fn ctr(&self, arguments: &[&str]) -> Result<String> {
        self.node.run(&[&["ctr"], arguments].concat())
    }
}
