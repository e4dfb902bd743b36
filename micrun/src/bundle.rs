//! What the engine hands over for a container: `config.json`, and a root file system to mount.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use containerd_shim::mount::mount_rootfs;
use micrun_image_spec::CLIENT_CONF_PATH;
use micrun_image_spec::annotation::PED_CONF;
use micrun_image_spec::client_conf::ClientConf;
use micrun_image_spec::digest::{HashingReader, Sha256Digest};
use micrun_image_spec::firmware::Pedestal;
use micrun_image_spec::rootfs_path::RootfsPath;
use oci_spec::runtime::{LinuxResources, Root};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cgroup::{CgroupPath, InvalidCgroupPath};
use crate::config::node::policy::Ask;
use crate::config::origin::Origin;
use crate::config::settings::{Denied, permit};
use crate::config::{Explanation, Merged, NodeConfig, Settings, SettingsError};
use crate::id::{Id, InvalidId};
use crate::namespace::{on_own_thread, with_private_mounts};
use crate::remedy::remedy;
use crate::resources::{Asked, AskedError};
use crate::sandbox::{CONTAINER_TYPE, Role, SANDBOX_ID};

/// Largest config.json that is read, bytes. Engines write some ten kilobytes.
const MAX_CONFIG_JSON: u64 = 16 * 1024 * 1024;

/// Largest firmware that is copied, bytes. The copy lies in /run, which is memory that the whole node shares;
/// firmware for the largest of today's boards is a tenth of this.
const MAX_FIRMWARE: u64 = 256 * 1024 * 1024;

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// An operating system call failed.
    #[error("{doing}: {source}{}", remedy(.source))]
    Io {
        /// What was being done, to which file.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// config.json is not an OCI runtime configuration.
    #[error("{}: not an OCI runtime configuration: {why}", .path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The pod's name cannot be one.
    #[error("the annotation {SANDBOX_ID}: {0}")]
    Pod(#[from] InvalidId),
    /// A sandbox is the pod that it names, and no other.
    #[error("the annotation {SANDBOX_ID} of a sandbox is {0}, and not its own id; leave it to CRI")]
    OtherPod(Id),
    /// Neither a sandbox nor a container.
    #[error("the annotation {CONTAINER_TYPE} is {0:?}, and neither sandbox nor container; leave it to CRI")]
    Role(String),
    /// CRI would take the network namespace of the sandbox's process, which is the node's own.
    #[error(
        "pods of RTOS guests have no Linux users of their own; leave hostUsers out of the pod, or set it to true"
    )]
    Users,
    /// The root file system could not be mounted.
    #[error("mounting the image: {0}")]
    Mount(String),
    /// The image lacks a file.
    #[error("the image has no {path}; {remedy}")]
    Missing {
        /// The file, in the image.
        path: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A path in the image is no plain file.
    #[error("{path} in the image is not a plain file; pack the image again")]
    NotAFile {
        /// The file, in the image.
        path: String,
    },
    /// What was unpacked has lost what was in it: containerd writes down that it unpacked an image, not what it unpacked.
    #[error(
        "{path} in the image is empty: what was unpacked is lost, as by a power cut; remove the image and all that was made of it, and pull it again"
    )]
    Empty {
        /// The file, in the image.
        path: String,
    },
    /// The firmware is too large to be one.
    #[error("{path} in the image has {size} bytes, and {MAX_FIRMWARE} are the most that is run; strip it")]
    TooLarge {
        /// The firmware, in the image.
        path: String,
        /// Its size, bytes.
        size: u64,
    },
    /// client.conf cannot be used.
    #[error("{CLIENT_CONF_PATH} in the image: {0}; correct it and pack the image again")]
    ClientConf(String),
    /// A value of client.conf or an annotation cannot be used.
    #[error("{0}; correct the annotation or pack the image again")]
    Settings(SettingsError),
    /// The node does not allow what is asked for.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A value of linux.resources cannot be used.
    #[error("{0}; correct it where the container is started")]
    Asked(#[from] AskedError),
    /// The container cannot be where the engine wants it.
    #[error(transparent)]
    Cgroup(#[from] InvalidCgroupPath),
    /// The firmware is not the one that was promised.
    #[error(
        "{path} in the image is {found}, but container.firmware_hash says {expected}; pack the image again or correct the annotation"
    )]
    WrongHash {
        /// The firmware, in the image.
        path: String,
        /// Its digest.
        found: Sha256Digest,
        /// What it was to be.
        expected: Sha256Digest,
    },
}

impl From<SettingsError> for BundleError {
    fn from(error: SettingsError) -> BundleError {
        match error {
            SettingsError::Denied(denied) => BundleError::Denied(denied),
            other => BundleError::Settings(other),
        }
    }
}

impl From<io::Error> for BundleError {
    fn from(source: io::Error) -> BundleError {
        BundleError::Io { doing: "reading the image".to_owned(), source }
    }
}

fn failed<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> BundleError {
    move |source| BundleError::Io { doing: doing.into(), source: source.into() }
}

/// What is read of config.json. oci-spec's own type also checks what only a Linux process has, with a regular
/// expression: half a megabyte of code in every `start`.
#[derive(Deserialize)]
struct ConfigJson {
    #[serde(rename = "ociVersion")]
    _oci_version: IgnoredAny,
    root: Option<Root>,
    annotations: Option<HashMap<String, String>>,
    linux: Option<Linux>,
    process: Option<Process>,
    hooks: Option<HashMap<String, Vec<IgnoredAny>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    resources: Option<LinuxResources>,
    cgroups_path: Option<String>,
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    oom_score_adj: Option<IgnoredAny>,
}

/// A bundle directory and what its config.json says.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The directory.
    pub path: PathBuf,
    annotations: HashMap<String, String>,
    asked: Asked,
    cgroup: Option<CgroupPath>,
    network: Option<PathBuf>,
    root: PathBuf,
    role: Role,
    /// Whether the engine wants Linux users that are the container's own.
    own_users: bool,
}

/// A mount that the engine asks for.
#[derive(Clone, Debug)]
pub struct Mount {
    /// File system type.
    pub kind: String,
    /// What to mount.
    pub source: String,
    /// Options, flags and data alike.
    pub options: Vec<String>,
    /// Below the root file system; empty for the root itself.
    pub target: String,
}

/// What the image asks for; its files are in the container's own directory now.
#[derive(Clone, Debug)]
pub struct Image {
    /// What node, client.conf and annotations say, merged.
    pub settings: Settings,
    /// What the node says about this container.
    pub config: NodeConfig,
    /// Where each value came from.
    pub explanation: Explanation,
    /// The copy of the firmware.
    pub firmware: PathBuf,
    /// The copy of the pedestal's own file, where the pedestal has one.
    pub pedestal_conf: Option<PathBuf>,
    /// What the engine asks for.
    pub asked: Asked,
}

impl Bundle {
    /// Reads `config.json`.
    ///
    /// # Errors
    ///
    /// A missing, oversized or invalid file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Bundle, BundleError> {
        let path = path.into();
        let config = path.join("config.json");
        let mut text = Vec::new();
        let file = File::open(&config).map_err(failed(format!("opening {}", config.display())))?;
        file.take(MAX_CONFIG_JSON)
            .read_to_end(&mut text)
            .map_err(failed(format!("reading {}", config.display())))?;
        let spec: ConfigJson = serde_json::from_slice(&text)
            .map_err(|error| BundleError::Spec { path: config, why: error.to_string() })?;
        tell_what_is_passed_over(&spec);
        let linux = spec.linux.unwrap_or_default();
        let cgroup = linux.cgroups_path.filter(|path| !path.is_empty());
        let cgroup = cgroup.map(|path| path.parse()).transpose()?;
        let namespaces = linux.namespaces.unwrap_or_default();
        let network = namespaces.iter().find(|namespace| namespace.kind == "network");
        let network = network.and_then(|namespace| namespace.path.clone());
        let network = network.filter(|path| !path.as_os_str().is_empty());
        let asked = linux.resources;
        let asked = asked.as_ref().map(Asked::from_oci).transpose()?.unwrap_or_default();
        let root = spec.root.map_or_else(|| PathBuf::from("rootfs"), |root| root.path().clone());
        let annotations = spec.annotations.unwrap_or_default();
        let role = annotations.get(CONTAINER_TYPE).map(String::as_str);
        let role = Role::of(role).ok_or_else(|| BundleError::Role(role.unwrap_or_default().to_owned()))?;
        let own_users = namespaces.iter().any(|namespace| namespace.kind == "user");
        Ok(Bundle { root: path.join(root), annotations, asked, cgroup, network, path, role, own_users })
    }

    /// Where the engine wants the container's processes to be counted and limited.
    pub fn cgroup(&self) -> Option<&CgroupPath> {
        self.cgroup.as_ref()
    }

    /// The network namespace that the engine has for the container; `None` for one to be made, or the node's own.
    pub fn network(&self) -> Option<&Path> {
        self.network.as_deref()
    }

    /// The pod that the bundle's container belongs to; the container's own id where it belongs to none.
    ///
    /// # Errors
    ///
    /// An annotation that names a pod as no pod can be named.
    pub fn pod(&self, own: &Id) -> Result<Id, BundleError> {
        match self.annotations.get(SANDBOX_ID) {
            Some(pod) => Ok(Id::new(pod.as_str())?),
            None => Ok(own.clone()),
        }
    }

    /// Whether this is the sandbox of a pod: there is nothing to run.
    ///
    /// # Errors
    ///
    /// A sandbox that is not its own pod's, or one that CRI would do harm with.
    pub fn is_sandbox(&self, own: &Id) -> Result<bool, BundleError> {
        if self.role != Role::Sandbox {
            return Ok(false);
        }
        let pod = self.pod(own)?;
        match pod == *own {
            false => Err(BundleError::OtherPod(pod)),
            true if self.own_users => Err(BundleError::Users),
            true => Ok(true),
        }
    }

    /// What the engine asks for.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// What node, image and annotations say, where the root file system is in place: what Create would decide.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with files or values.
    pub fn merge(&self, node: &NodeConfig) -> Result<Merged, BundleError> {
        merge_image(&self.root, node, &self.annotations)
    }

    /// Mounts the image where nobody else sees it, reads what it asks for and copies the firmware and the
    /// pedestal's own file into `dir`, hashing the firmware on the way.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with mounts, files or values.
    pub async fn read_image(
        &self,
        mounts: Vec<Mount>,
        dir: &Path,
        node: &NodeConfig,
    ) -> Result<Image, BundleError> {
        let (root, annotations, asked) = (self.root.clone(), self.annotations.clone(), self.asked.clone());
        let (firmware, has_mounts) = (dir.join("firmware.elf"), !mounts.is_empty());
        let (pedestal_conf, node) = (dir.join("pedestal.conf"), node.clone());
        let read = move || {
            mount(&mounts, &root)?;
            crash_point!(CreateMounted);
            let image = Rootfs::open(&root)?;
            let merged = Settings::merge(&node, &image.client_conf(&annotations)?, &annotations)?;
            image.copy_firmware(&merged.settings, &firmware)?;
            let pedestal_conf = image.copy_pedestal_conf(&merged, &pedestal_conf)?.then_some(pedestal_conf);
            crash_point!(CreateCopied);
            let asked = merged.counting(asked);
            let Merged { settings, config, explanation } = merged;
            Ok(Image { settings, config, explanation, firmware, pedestal_conf, asked })
        };
        if has_mounts { with_private_mounts(read).await } else { on_own_thread(read).await }
    }
}

/// What a guest has no use for is passed over, and said once.
fn tell_what_is_passed_over(spec: &ConfigJson) {
    if spec.hooks.iter().flat_map(HashMap::values).any(|hooks| !hooks.is_empty()) {
        tracing::warn!(
            "OCI hooks are skipped: they would be run for the shim, and configure the node's own network"
        );
    }
    let resources = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    let memory = resources.and_then(|resources| resources.memory().as_ref());
    let limits = resources.and_then(|resources| resources.hugepage_limits().as_ref());
    let process = spec.process.as_ref();
    let passed_over: Vec<&str> = [
        ("memory.swap", memory.is_some_and(|memory| memory.swap().is_some())),
        ("oomScoreAdj", process.is_some_and(|process| process.oom_score_adj.is_some())),
        ("hugepageLimits", limits.is_some_and(|limits| !limits.is_empty())),
        ("pids", resources.is_some_and(|resources| resources.pids().is_some())),
    ]
    .into_iter()
    .filter_map(|(name, is_there)| is_there.then_some(name))
    .collect();
    if !passed_over.is_empty() {
        tracing::debug!(passed_over = passed_over.join(", "), "guests have no use for these of config.json");
    }
}

fn mount(mounts: &[Mount], root: &Path) -> Result<(), BundleError> {
    if !mounts.is_empty() {
        fs::create_dir_all(root).map_err(failed(format!("making {}", root.display())))?;
    }
    for Mount { kind, source, options, target } in mounts {
        let some = |text: &'_ String| Some(text.clone()).filter(|text| !text.is_empty());
        let target = root.join(target.trim_start_matches('/'));
        mount_rootfs(some(kind).as_deref(), some(source).as_deref(), options, target)
            .map_err(|error| BundleError::Mount(error.to_string()))?;
    }
    Ok(())
}

/// What node, image and annotations say, of an image with this root.
///
/// # Errors
///
/// Whatever is wrong with files or values.
pub fn merge_image(
    root: &Path,
    node: &NodeConfig,
    annotations: &HashMap<String, String>,
) -> Result<Merged, BundleError> {
    let conf = Rootfs::open(root)?.client_conf(annotations)?;
    Ok(Settings::merge(node, &conf, annotations)?)
}

/// An image's files. No path and no link in it leads out of it.
struct Rootfs {
    root: OwnedFd,
}

impl Rootfs {
    fn open(root: &Path) -> Result<Rootfs, BundleError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, root, flags, Mode::empty())
            .map_err(failed(format!("opening {}", root.display())))?;
        Ok(Rootfs { root })
    }

    /// Opens a plain file. Its kind is looked at before it is opened: opening a device can do things.
    fn file(&self, path: &str, remedy: &'static str) -> Result<(File, u64), BundleError> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let node = match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                return Err(BundleError::Missing { path: path.to_owned(), remedy });
            }
            other => other.map_err(failed(format!("opening {path} in the image")))?,
        };
        let stat = rustix::fs::fstat(&node).map_err(failed(format!("reading {path} in the image")))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(BundleError::NotAFile { path: path.to_owned() });
        }
        if stat.st_size == 0 {
            return Err(BundleError::Empty { path: path.to_owned() });
        }
        // A magic link: this very file, whatever the path leads to by now.
        let file = File::open(format!("/proc/self/fd/{}", node.as_raw_fd()))
            .map_err(failed(format!("opening {path} in the image")))?;
        Ok((file, u64::try_from(stat.st_size).unwrap_or(u64::MAX)))
    }

    fn client_conf(&self, annotations: &HashMap<String, String>) -> Result<ClientConf, BundleError> {
        let remedy = match annotations.contains_key(CONTAINER_TYPE) {
            true => {
                "it is no RTOS image: give Linux containers, init containers and sidecars too, a pod of their own \
                 without runtimeClassName, and pack firmware with micrun-image-builder"
            }
            false => "it is not a MicRun image: pack the firmware with micrun-image-builder",
        };
        let (file, _) = self.file(CLIENT_CONF_PATH, remedy)?;
        let mut text = Vec::new();
        // One byte more than a valid file has, so that a longer one is refused and not cut.
        file.take(ClientConf::MAX_BYTES as u64 + 1)
            .read_to_end(&mut text)
            .map_err(failed(format!("reading {CLIENT_CONF_PATH} in the image")))?;
        ClientConf::from_bytes(&text).map_err(|error| BundleError::ClientConf(error.to_string()))
    }

    fn copy_firmware(&self, settings: &Settings, to: &Path) -> Result<(), BundleError> {
        let path = &settings.firmware_path;
        let found = self.copy(path, to, "correct container.firmware_path or pack the image again")?;
        match settings.firmware_hash {
            Some(expected) if expected != found => {
                Err(BundleError::WrongHash { path: path.to_string(), found, expected })
            }
            _ => Ok(()),
        }
    }

    /// Whether there is one to copy. The pedestals of this machine itself have none, whatever client.conf says.
    fn copy_pedestal_conf(&self, merged: &Merged, to: &Path) -> Result<bool, BundleError> {
        let settings = &merged.settings;
        let Some(path) = settings.pedestal_conf.as_ref().filter(|_| has_own_file(settings.pedestal)) else {
            return Ok(false);
        };
        let digest =
            self.copy(path, to, "pack the firmware for this pedestal: micrun-image-builder pack --pedestal")?;
        let asker = merged.explanation.get(PED_CONF).map_or(Origin::Default, |file| file.origin.clone());
        // A cell says which of the machine's memory and devices the guest gets. A boot image is firmware.
        if settings.pedestal == Pedestal::Jailhouse || matches!(asker, Origin::Annotation { .. }) {
            let value = format!("{path}, {digest}");
            permit(&merged.config.policy, &Ask::PedConf(path.as_str(), &digest), &value, &asker)?;
        }
        Ok(true)
    }

    fn copy(&self, path: &RootfsPath, to: &Path, remedy: &'static str) -> Result<Sha256Digest, BundleError> {
        let (file, size) = self.file(path.as_str(), remedy)?;
        if size > MAX_FIRMWARE {
            return Err(BundleError::TooLarge { path: path.to_string(), size });
        }
        let doing = || failed::<io::Error>(format!("copying {path} to {}", to.display()));
        let mut copy = File::create_new(to).map_err(doing())?;
        let mut reader = HashingReader::new(file.take(size));
        io::copy(&mut reader, &mut copy).map_err(doing())?;
        // Its folder is closed to others; the guest's own user reads it through a mount.
        copy.set_permissions(Permissions::from_mode(0o444)).map_err(doing())?;
        Ok(reader.finish().1)
    }
}

fn has_own_file(pedestal: Pedestal) -> bool {
    pedestal.boots_raw_image() || pedestal == Pedestal::Jailhouse
}
