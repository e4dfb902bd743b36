//! The annotation keys of MicRun, on images, containers and pods.
//!
//! Constants hold the part after the prefix: the same names are used in the `[MicRun]` section of client.conf,
//! which is how an image's annotations reach the shim (containerd does not hand them to a runtime).

mod kind;

pub use kind::{BadValue, Kind};

/// In front of every key.
pub const PREFIX: &str = "org.openeuler.micrun.";
/// An older spelling of [`PREFIX`], still read, with a warning.
pub const LEGACY_PREFIX: &str = "org.openeuler.micran.";

/// The RTOS; see [`crate::firmware::Rtos`].
pub const CONTAINER_OS: &str = "container.os";
/// The firmware ELF inside the rootfs; see [`crate::rootfs_path::RootfsPath`].
pub const CONTAINER_FIRMWARE_PATH: &str = "container.firmware_path";
/// The firmware's digest; see [`crate::digest::Sha256Digest`].
pub const CONTAINER_FIRMWARE_HASH: &str = "container.firmware_hash";
/// Memory to reserve, MiB.
pub const CONTAINER_MIN_MEMORY_MB: &str = "container.min_memory_mb";
/// Most vCPUs that the guest may ever have.
pub const CONTAINER_MAX_VCPU_NUM: &str = "container.max_vcpu_num";
/// Whether a container ends by itself after a time.
pub const CONTAINER_AUTO_CLOSE: &str = "container.auto_close";
/// That time: `30s`, `5m`, `60` (seconds), `0` for never.
pub const CONTAINER_AUTO_CLOSE_TIMEOUT: &str = "container.auto_close_timeout";
/// Everything that comes before a guest is made is done, and then no guest is made, bool.
pub const CONTAINER_VERIFY_ONLY: &str = "container.verify_only";
/// The network that the guest gets: [`POD_NETWORK`], or none without it.
pub const CONTAINER_NETWORK: &str = "container.network";
/// The one value of [`CONTAINER_NETWORK`]: the pod's own interface.
pub const POD_NETWORK: &str = "pod";
/// The pedestal; see [`crate::firmware::Pedestal`].
pub const PED_PEDESTAL: &str = "ped.pedestal";
/// The pedestal's own file, as client.conf's `PedestalConf`.
pub const PED_CONF: &str = "ped.conf";
/// The board; see [`crate::board`].
pub const BOARD: &str = "board";
/// Pin vCPU i to core i of the cpuset, bool.
pub const RUNTIME_VCPU_PCPU_BINDING: &str = "runtime.vcpu_pcpu_binding";
/// Pin vCPUs at all, bool.
pub const RUNTIME_ENABLE_VCPUS_PINNING: &str = "runtime.enable_vcpus_pinning";
/// Refuse live changes of resources, bool.
pub const RUNTIME_STATIC_RESOURCE: &str = "runtime.static_resource";
/// Back guest memory with huge pages, bool.
pub const RUNTIME_HUGEPAGE_ENABLE: &str = "runtime.hugepage_enable";
/// Keep guests off the cores of Dom0, bool.
pub const RUNTIME_EXCLUSIVE_DOM0_CPU: &str = "runtime.exclusive_dom0_cpu";
/// Make no network namespace, bool.
pub const RUNTIME_DISABLE_NEW_NETNS: &str = "runtime.disable_new_netns";
/// Give a debugger access to the guest, as client.conf's `Debug`, bool.
pub const RUNTIME_DEBUG: &str = "runtime.debug";
/// Size of the console's pipes, bytes.
pub const RUNTIME_PIPE_SIZE: &str = "runtime.pipe_size";
/// Begins the keys that state what a guest is compatible with: `compatibility.<name>`, a version string.
pub const COMPATIBILITY_PREFIX: &str = "compatibility.";
/// A configuration file of the node to use instead of `micrun.conf`.
pub const CONFIG_PATH: &str = "config_path";

/// Begins the names that address one container of a pod.
pub const ADDRESS: &str = "c.";

/// Takes a name apart that addresses one container of a pod, `c.<container>/<name>`: users can annotate pods only.
pub fn addressed(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(ADDRESS)?.split_once('/')
}

/// One of our annotation keys, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// What follows the prefix: `container.os`.
    pub name: &'a str,
    /// Written with [`LEGACY_PREFIX`]: worth a warning.
    pub legacy: bool,
}

/// Takes the prefix off a key; None for a key that is not ours.
pub fn strip(key: &str) -> Option<Key<'_>> {
    let current = key.strip_prefix(PREFIX).map(|name| Key { name, legacy: false });
    current.or_else(|| key.strip_prefix(LEGACY_PREFIX).map(|name| Key { name, legacy: true }))
}

/// Puts the prefix in front of a name: the key as it stands in a manifest.
pub fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_both_spellings_of_the_prefix() {
        let current = strip("org.openeuler.micrun.container.os").unwrap();
        assert_eq!((current.name, current.legacy), (CONTAINER_OS, false));
        let old = strip("org.openeuler.micran.container.os").unwrap();
        assert_eq!((old.name, old.legacy), (CONTAINER_OS, true));
        assert_eq!(strip("org.openeuler.micrun"), None);
        assert_eq!(strip("org.opencontainers.image.title"), None);
        assert_eq!(strip(&key(BOARD)).unwrap().name, BOARD);
        assert_eq!(addressed("c.motor/container.os"), Some(("motor", "container.os")));
        assert_eq!((addressed("c.motor"), addressed("container.os")), (None, None));
    }
}
