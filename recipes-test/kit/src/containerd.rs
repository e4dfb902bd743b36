//! A private containerd: one version, its own root, state, socket and `/run`, with our shim in its PATH.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::cri::Settings;
use crate::events::Events;
use crate::leftovers::Baseline;
use crate::namespace::Namespace;
use crate::{Release, shell, wait};

/// The folder of everything private, inside the namespace: a tmpfs, so it vanishes with it.
pub const HOME: &str = "/run/kit";
/// Its socket, inside.
pub const ADDRESS: &str = "/run/kit/c.sock";

/// A running containerd. Dropped, it takes everything with it that was started under it.
#[derive(Debug)]
pub struct Containerd {
    release: Release,
    pub(crate) namespace: Namespace,
    daemon: Option<Child>,
    path: OsString,
    /// In whose cgroups its containers are.
    cgroup: String,
    containers: String,
    /// What containerd finds in its environment beside ours.
    environment: Vec<(String, String)>,
    events: Option<Events>,
    pub(crate) baseline: Baseline,
}

impl Containerd {
    /// Starts one that finds our shim in the folder `shims`, and waits until it answers.
    ///
    /// # Errors
    /// If the namespace cannot be made or containerd does not come up: then with the end of its log.
    pub fn start(release: &Release, shims: &Path) -> Result<Self> {
        let cgroup = unique();
        let namespace = Namespace::new(&cgroup)?;
        let mut containerd = Self::within(namespace, release, shims, &cgroup, &cgroup)?;
        containerd.write_config(&configuration())?;
        containerd.launch()?;
        containerd.run_ctr(["namespace", "create", &containerd.containers])?;
        containerd.begin()?;
        Ok(containerd)
    }

    /// Starts one that serves CRI, with a network of its own.
    ///
    /// # Errors
    /// As [`Containerd::start`].
    pub fn with_cri(release: &Release, shims: &Path, settings: &Settings) -> Result<Self> {
        let cgroup = unique();
        let namespace = Namespace::with_network(&cgroup)?;
        let mut containerd = Self::within(namespace, release, shims, crate::cri::CONTAINERS, &cgroup)?;
        containerd.write_config(&settings.configuration(&containerd)?)?;
        containerd.launch()?;
        containerd.begin()?;
        Ok(containerd)
    }

    fn within(
        namespace: Namespace,
        release: &Release,
        shims: &Path,
        containers: &str,
        cgroup: &str,
    ) -> Result<Self> {
        let own = std::env::var_os("PATH").unwrap_or_default();
        let folders = [shims.to_owned(), release.bin.clone()].into_iter();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&own)))
            .context("a folder of the shim holds a colon")?;
        let containerd = Self {
            release: release.clone(),
            namespace,
            daemon: None,
            path,
            cgroup: cgroup.to_owned(),
            containers: containers.to_owned(),
            environment: Vec::new(),
            events: None,
            baseline: Baseline::default(),
        };
        let home = containerd.namespace.path(HOME);
        std::fs::create_dir(&home).with_context(|| format!("cannot create {}", home.display()))?;
        Ok(containerd)
    }

    fn write_config(&self, text: &str) -> Result<()> {
        let config = self.namespace.path(HOME).join("config.toml");
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))
    }

    /// Follows its events, and takes what there is for its own.
    fn begin(&mut self) -> Result<()> {
        self.events = Some(Events::follow(self)?);
        self.keep()
    }

    /// What there is now is no leftover: images that several stories use.
    ///
    /// # Errors
    /// If containerd does not answer.
    pub fn keep(&mut self) -> Result<()> {
        self.baseline = Baseline::of(&self.namespace)?.and_known(self.known()?);
        Ok(())
    }

    /// Kills the daemon, as an upgrade or a crash does, and starts it again. Shims and guests stay.
    ///
    /// # Errors
    /// As [`Containerd::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start_again()
    }

    /// Starts the daemon that was [killed](Containerd::kill).
    ///
    /// # Errors
    /// As [`Containerd::start`].
    pub fn start_again(&mut self) -> Result<()> {
        self.launch()?;
        self.events = Some(Events::follow(self)?);
        Ok(())
    }

    /// The same, with these variables in its environment from now on, which its shims inherit.
    ///
    /// # Errors
    /// As [`Containerd::start`].
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        self.environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.restart()
    }

    /// Kills the daemon. Shims and guests stay.
    ///
    /// # Errors
    /// If that fails.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().context("cannot kill containerd")?;
            daemon.wait().context("cannot wait for containerd")?;
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let logged = self.log_length();
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.with_context(|| format!("cannot write {}", self.log().display()))?;
        let mut command = Command::new(self.release.bin.join("containerd"));
        command.arg("--config").arg(format!("{HOME}/config.toml")).env("PATH", &self.path).process_group(0);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let copy = log.try_clone().context("cannot share the log file")?;
        command.stdin(Stdio::null()).stdout(copy).stderr(log);
        self.daemon = Some(self.namespace.spawn(&mut command)?);
        wait::until("containerd to answer", || {
            if let Some(daemon) = &mut self.daemon
                && let Some(status) = daemon.try_wait().context("cannot look after containerd")?
            {
                bail!("containerd ended with {}", shell::ending(status));
            }
            let ready = self.namespace.path(ADDRESS).exists() && self.try_ctr(["version"])?.status.success();
            Ok(ready.then_some(()))
        })
        .with_context(|| {
            format!("containerd {} did not start. Its log:\n{}", self.release.version, self.log_since(logged))
        })
    }

    /// The release that runs.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The PID of the daemon, outside.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pid(&self) -> Result<u32> {
        self.daemon.as_ref().map(Child::id).context("containerd is not running")
    }

    /// containerd's own namespace for our containers.
    pub fn containers(&self) -> &str {
        &self.containers
    }

    /// The folder below those of the cgroup hierarchies in which its containers are.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Where it runs.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Whether a process inside, by its PID outside, is this containerd or the kit's own `ctr events`.
    pub fn is_own(&self, pid: u32) -> bool {
        let own = [self.daemon.as_ref().map(Child::id), self.events.as_ref().and_then(Events::pid)];
        own.contains(&Some(pid))
    }

    /// The events since containerd started last.
    ///
    /// # Errors
    /// If it never started.
    pub fn events(&self) -> Result<&Events> {
        self.events.as_ref().context("containerd is not running")
    }

    /// Another program, with the PATH of this containerd, ready for [`Namespace::spawn`].
    pub fn program(&self, name: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(name);
        command.env("PATH", &self.path);
        command
    }

    fn log(&self) -> PathBuf {
        self.namespace.path(HOME).join("log")
    }

    /// How much containerd and its shims have logged, in bytes.
    pub fn log_length(&self) -> u64 {
        self.log().metadata().map_or(0, |meta| meta.len())
    }

    /// What they have logged since then, without what containerd says about its plugins.
    pub fn log_since(&self, length: u64) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let fresh = log.get(usize::try_from(length).unwrap_or(usize::MAX)..).unwrap_or_default();
        let text = String::from_utf8_lossy(fresh);
        text.lines().filter(|line| !line.contains("loading plugin")).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // The namespace kills what is left; these are our own children, which it cannot reap.
        self.events = None;
        let _ = self.kill();
    }
}

/// A name that no other containerd of the machine has.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("micrun-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Read by all series (2.x converts version 2). Without CRI, which needs more ([`Settings`]); `opt` would otherwise
/// create a folder on the machine. The restart monitor looks every ten seconds where nobody says otherwise.
fn configuration() -> String {
    format!(
        "version = 2\n\
         root = \"{HOME}/root\"\n\
         state = \"{HOME}/state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \
         \"io.containerd.cri.v1.runtime\", \"io.containerd.nri.v1.nri\"]\n\
         [grpc]\n  address = \"{ADDRESS}\"\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"{HOME}/opt\"\n\
         [plugins.\"io.containerd.internal.v1.restart\"]\n  interval = \"500ms\"\n"
    )
}
