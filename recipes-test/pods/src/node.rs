//! A containerd for each release and each way to keep pods, started when its first trial needs it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::cri::messages::{ContainerConfig, PodSandboxConfig};
use micrun_testkit::cri::{self, Cri, MICA, PAUSE, Pod, Sandboxer, Settings, State};
use micrun_testkit::firmware::{OURS_ARM64, OURS_RISCV64, U_BOOT_ARM64};
use micrun_testkit::namespace::{NETWORKS, Process};
use micrun_testkit::product::SHIM;
use micrun_testkit::trials::Shared;
use micrun_testkit::{Containerd, Firmware, Product, Release, Workspace, leftovers, shell};

/// What most guests of these stories are.
pub const FIRMWARE: Firmware = OURS_ARM64;
/// One whose emulator hands exit codes on.
pub const OTHER: Firmware = OURS_RISCV64;
/// One that has a network stack.
pub const NETWORKED: Firmware = U_BOOT_ARM64;
/// An image that is no firmware.
pub const LINUX: &str = "localhost/linux:test";
/// The builder takes the test firmware for what it is, a program on the bare machine: who starts it knows its shell.
pub const SHELL: (&str, &str) = ("org.openeuler.micrun.container.os", "micrun-test");

/// What a trial does, on whichever node.
pub struct Story {
    pub name: String,
    pub tell: Arc<Tell>,
    /// It is about pause containers, which the Sandbox service has none of.
    pub is_of_pause_containers: bool,
}

/// The telling of a story.
pub type Tell = dyn Fn(&mut Stage<'_>) -> Result<()> + Send + Sync;

/// The archives of all images, with their names.
pub struct Images(Vec<(String, PathBuf)>);

/// One containerd with its trials.
pub struct Node {
    product: Product,
    images: Arc<Images>,
    release: Release,
    sandboxer: Sandboxer,
    containerd: Shared,
}

/// What a trial works with.
pub struct Stage<'a> {
    pub containerd: &'a mut Containerd,
    /// A connection of this trial's own.
    pub cri: Cri,
    pub images: &'a Images,
    /// A folder of its own for logs.
    pub scratch: tempfile::TempDir,
}

impl Story {
    /// One that the Sandbox service has no part in.
    pub fn with_pause_containers(self) -> Self {
        Self { is_of_pause_containers: true, ..self }
    }
}

impl Images {
    /// Packs all that stories need.
    pub fn pack(workspace: &Workspace, product: &Product) -> Result<Self> {
        let folder = workspace.kit("pods")?;
        let mut images = Vec::new();
        for reference in [PAUSE, LINUX] {
            images.push((reference.to_owned(), cri::pack_linux(&folder, reference)?));
        }
        for firmware in [FIRMWARE, OTHER, NETWORKED] {
            images.push((firmware.image(), product.pack(&firmware, &folder)?));
        }
        Ok(Self(images))
    }

    /// Gives one of them to a containerd.
    pub fn import(&self, containerd: &Containerd, reference: &str) -> Result<()> {
        let (_, archive) = self.0.iter().find(|(name, _)| name == reference).context("no such image")?;
        containerd.import_for_cri(archive, reference)
    }
}

impl Node {
    pub fn new(product: &Product, images: &Arc<Images>, release: Release, sandboxer: Sandboxer) -> Self {
        let (product, images) = (product.clone(), images.clone());
        Self { product, images, release, sandboxer, containerd: Shared::default() }
    }

    /// Its containerd's version without what the distribution adds, and how it keeps pods where that is no matter of course.
    pub fn name(&self) -> String {
        let version = self.release.version.split(['~', '+']).next().unwrap_or_default();
        match self.sandboxer {
            Sandboxer::PodSandbox => format!("containerd {version}"),
            Sandboxer::Shim => format!("containerd {version} with the Sandbox service"),
        }
    }

    /// Whether it can tell a story.
    pub fn can(&self, story: &Story) -> bool {
        self.sandboxer == Sandboxer::PodSandbox || !story.is_of_pause_containers
    }

    /// Runs a story, and then looks that nothing is left of it.
    pub fn run(&self, tell: &Tell) -> Result<()> {
        self.containerd.run(|| self.start(), |containerd| self.tell(containerd, tell))
    }

    fn start(&self) -> Result<Containerd> {
        let settings = Settings { sandboxer: self.sandboxer };
        let mut containerd = Containerd::with_cri(&self.release, self.product.bin(), &settings)?;
        for (reference, _) in &self.images.0 {
            self.images.import(&containerd, reference)?;
        }
        containerd.keep()?;
        Ok(containerd)
    }

    fn tell(&self, containerd: &mut Containerd, tell: &Tell) -> Result<()> {
        let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
        let cri = containerd.cri()?;
        let mut stage = Stage { containerd, cri, images: &self.images, scratch };
        tell(&mut stage)?;
        let (pods, containers) = (stage.cri.pods()?, stage.cri.containers()?);
        ensure!(pods.is_empty() && containers.is_empty(), "CRI still knows {pods:?} and {containers:?}");
        leftovers::assert_none(stage.containerd)?;
        no_network_is_left(stage.containerd)
    }
}

/// No interface, no address, and nothing that CNI's library has noted.
fn no_network_is_left(containerd: &Containerd) -> Result<()> {
    let mut ip = containerd.program("/sbin/ip");
    let links = containerd.namespace().inside(|| shell::output(ip.args(["-oneline", "link"])))?;
    ensure!(links.lines().count() == 1, "interfaces are left:\n{links}");
    let addresses = containerd.addresses()?;
    ensure!(addresses.is_empty(), "addresses are left: {addresses:?}");
    let notes =
        containerd.namespace().path(NETWORKS).join("results").read_dir().into_iter().flatten().count();
    ensure!(notes == 0, "CNI's library has {notes} notes");
    Ok(())
}

impl Deref for Stage<'_> {
    type Target = Containerd;

    fn deref(&self) -> &Containerd {
        self.containerd
    }
}

impl Stage<'_> {
    /// The configuration of a pod, with these annotations.
    pub fn config(&self, name: &str, annotations: &[(&str, &str)]) -> PodSandboxConfig {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        PodSandboxConfig {
            annotations: annotations.iter().map(own).collect::<BTreeMap<_, _>>(),
            ..self.cri.pod_config(name, self.scratch.path())
        }
    }

    /// A pod of guests with these annotations.
    pub fn pod(&self, name: &str, annotations: &[(&str, &str)]) -> Result<Pod> {
        Ok(self.cri.run_pod(self.config(name, annotations), MICA)?)
    }

    /// Creates a container and starts it.
    pub fn start(&self, pod: &Pod, config: ContainerConfig) -> Result<String> {
        let id = self.cri.create(pod, config)?;
        self.cri.start(&id)?;
        Ok(id)
    }

    /// A guest of the test firmware that has said its banner; its id.
    pub fn guest(&self, pod: &Pod, name: &str) -> Result<String> {
        let id = self.start(pod, cri::container(name, &FIRMWARE.image()))?;
        self.wait_for_log(name, 0, FIRMWARE.banner)?;
        Ok(id)
    }

    /// Where the output of a container goes.
    pub fn log(&self, name: &str, attempt: u32) -> PathBuf {
        self.scratch.path().join(format!("{name}-{attempt}.log"))
    }

    /// Waits for a text in it.
    pub fn wait_for_log(&self, name: &str, attempt: u32, text: &str) -> Result<()> {
        cri::log::wait_for(&self.log(name, attempt), text)
    }

    /// Stops a pod and removes it.
    pub fn end(&self, pod: &Pod) -> Result<()> {
        self.cri.stop_pod(&pod.id)?;
        Ok(self.cri.remove_pod(&pod.id)?)
    }

    /// The container has ended so.
    pub fn ended(&self, id: &str, status: i32, reason: &str) -> Result<()> {
        let end = self.cri.wait_for(id, State::Exited)?;
        ensure!(
            (end.exit_code, end.reason.as_str()) == (status, reason),
            "it ended with {} ({}), not with {status} ({reason}): {end:?}",
            end.exit_code,
            end.reason
        );
        ensure!(end.finished_at >= end.started_at && end.started_at > 0, "times are wrong: {end:?}");
        Ok(())
    }

    /// The shims that run.
    pub fn shims(&self) -> Result<Vec<Process>> {
        self.processes(|process| process.program() == SHIM)
    }

    /// The emulators that run.
    pub fn emulators(&self) -> Result<Vec<Process>> {
        self.processes(|process| process.program().starts_with("qemu-system-"))
    }

    /// The emulator; there must be exactly one.
    pub fn emulator(&self) -> Result<Process> {
        let mut found = self.emulators()?;
        ensure!(found.len() == 1, "not one emulator, but {found:?}");
        Ok(found.swap_remove(0))
    }

    /// The shim; there must be exactly one.
    pub fn shim(&self) -> Result<Process> {
        let mut found = self.shims()?;
        ensure!(found.len() == 1, "not one shim, but {found:?}");
        Ok(found.swap_remove(0))
    }

    /// Those processes that pods brought.
    pub fn processes(&self, wanted: impl Fn(&Process) -> bool) -> Result<Vec<Process>> {
        let mut processes = self.namespace().processes()?;
        processes.retain(|process| !self.is_own(process.pid) && wanted(process));
        Ok(processes)
    }
}
