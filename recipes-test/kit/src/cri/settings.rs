//! The configuration of a containerd that serves CRI: the files that the product ships, and what a private one needs beside them.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{LINE, PAUSE, PTP};
use crate::containerd::{ADDRESS, HOME};
use crate::{Containerd, Workspace, observe};

/// The product's configuration of containerd 1.6 and 1.7, whole.
const OF_1: &str = "meta-micrun/recipes-containers/micrun/files/containerd-1/config.toml";
/// The product's part of that of containerd 2.x.
const OF_2: &str = "meta-micrun/recipes-containers/micrun/files/containerd-2/50-micrun.toml";

/// CAP_SYS_RESOURCE, as a bit of `CapEff` (capabilities(7)). Without it nobody lowers an OOM score.
const SYS_RESOURCE: u64 = 1 << 24;

/// Where addresses are noted, in what holds no leftovers of containerd's own: see [`Containerd::addresses`].
const ADDRESSES: &str = "/run/kit/root/addresses";

/// A pair of interfaces for each pod, and addresses from a file.
const NETWORK: &str = r#"{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "ipam": { "type": "host-local", "dataDir": "ADDRESSES", "ranges": [[{ "subnet": "10.88.0.0/16" }]] }
  }]
}
"#;

/// Who keeps a pod's own process, or state in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandboxer {
    /// containerd, with a pause container: the only way of 1.6 and 1.7.
    PodSandbox,
    /// Our shim, with the Sandbox service.
    Shim,
}

/// How CRI is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of pods of the runtime class `mica`.
    pub sandboxer: Sandboxer,
}

impl Settings {
    /// Writes what the configuration names, and returns it.
    pub(crate) fn configuration(&self, containerd: &Containerd) -> Result<String> {
        let workspace = Workspace::find()?;
        let shipped = |path: &str| {
            let path = workspace.root().join(path);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let home = containerd.namespace().path(HOME);
        let write = |name: &str, text: &str| {
            let path = home.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        fs::create_dir(home.join("cni")).context("cannot make a folder for CNI")?;
        write("cni/pods.conflist", &NETWORK.replace("ADDRESSES", ADDRESSES))?;
        let lines = format!("max_container_log_line_size = {LINE}");
        let cni = format!("bin_dir = \"{}\"\n  conf_dir = \"{HOME}/cni\"", PTP.trim_end_matches("/ptp"));
        let restrict = effective_capabilities()? & SYS_RESOURCE == 0;
        if !containerd.release().version.starts_with("1.") {
            write("50-micrun.toml", &self.drop_in(&shipped(OF_2)?)?)?;
            return Ok(format!(
                "version = 3\n\
                 imports = [\"{HOME}/50-micrun.toml\"]\n\
                 {}\
                 [plugins.'io.containerd.cri.v1.images'.pinned_images]\n  sandbox = \"{PAUSE}\"\n\
                 [plugins.'io.containerd.cri.v1.runtime']\n  restrict_oom_score_adj = {restrict}\n  {lines}\n\
                 [plugins.'io.containerd.cri.v1.runtime'.cni]\n  {cni}\n",
                own_part()
            ));
        }
        ensure!(self.sandboxer == Sandboxer::PodSandbox, "containerd 1 has no Sandbox service");
        let shipped = shipped(OF_1)?;
        let tables =
            shipped.replace("version = 2\n", "").replace("SystemdCgroup = true", "SystemdCgroup = false");
        ensure!(tables.len() != shipped.len(), "{OF_1} is of another version now");
        Ok(format!(
            "version = 2\n\
             {}\
             {tables}\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"{PAUSE}\"\n  restrict_oom_score_adj = {restrict}\n  {lines}\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\n  {cni}\n",
            own_part()
        ))
    }

    /// The drop-in, with the sandboxer that is to be tested.
    fn drop_in(&self, shipped: &str) -> Result<String> {
        let table = "containerd.runtimes.mica]\n";
        ensure!(shipped.contains(table), "{OF_2} has no table of the runtime");
        let kept: String = shipped
            .split_inclusive('\n')
            .filter(|line| !line.trim_start().starts_with("sandboxer"))
            .collect();
        let sandboxer = match self.sandboxer {
            Sandboxer::PodSandbox => "podsandbox",
            Sandboxer::Shim => "shim",
        };
        Ok(kept.replace(table, &format!("{table}  sandboxer = '{sandboxer}'\n")))
    }
}

impl Containerd {
    /// The addresses that pods have.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn addresses(&self) -> Result<Vec<String>> {
        let folder = self.namespace().path(ADDRESSES).join("pods");
        let Ok(entries) = folder.read_dir() else { return Ok(Vec::new()) };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        // Beside addresses there is a lock, and which one was given away last.
        Ok(names.filter(|name| name.starts_with("10.")).collect())
    }
}

/// What has nothing to do with CRI. As in the configuration without it.
fn own_part() -> String {
    format!(
        "root = \"{HOME}/root\"\n\
         state = \"{HOME}/state\"\n\
         disabled_plugins = [\"io.containerd.nri.v1.nri\"]\n\
         [grpc]\n  address = \"{ADDRESS}\"\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"{HOME}/opt\"\n"
    )
}

fn effective_capabilities() -> Result<u64> {
    let text = observe::status(std::process::id(), "CapEff")?;
    u64::from_str_radix(&text, 16).context("CapEff is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drop_in_has_one_sandboxer_whatever_is_shipped() {
        for shipped in [
            "[x.containerd.runtimes.mica]\n  a = 1\n",
            "[x.containerd.runtimes.mica]\n  sandboxer = 'b'\n  a = 1\n",
        ] {
            let text = Settings { sandboxer: Sandboxer::Shim }.drop_in(shipped).unwrap();
            assert_eq!(text, "[x.containerd.runtimes.mica]\n  sandboxer = 'shim'\n  a = 1\n");
        }
    }
}
