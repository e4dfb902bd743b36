//! What Debian gives the node: its root without anything of ours, and the programs that boot it. Nothing of it is run
//! while it is put together, so it needs no emulation.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::apt::{self, PrivateApt};
use crate::unpacked::once;
use crate::{Workspace, note, shell};

/// The release that the node runs: the oldest stable one whose Xen runs under QEMU's Arm.
pub const SUITE: &str = "trixie";
const PACKAGES: [&str; 26] = [
    "bash",
    "busybox-static",
    "containerd",
    "coreutils",
    "dash",
    "dbus",
    "dosfstools",
    "e2fsprogs",
    "findutils",
    "grep",
    "grub-common",
    "gzip",
    "iproute2",
    "kmod",
    "linux-image-cloud-arm64",
    "mount",
    "procps",
    "rauc",
    "rauc-service",
    "runc",
    "sed",
    "systemd",
    "tar",
    "udev",
    "util-linux",
    "xen-system-arm64",
];

/// GRUB's suite. trixie's 2.12 cannot load Xen on this firmware: "cannot load image".
pub const GRUB_SUITE: &str = "bookworm";
/// Its modules.
pub const GRUB_PACKAGE: &str = "grub-efi-arm64-bin";

/// What no test looks at: half of the root.
const PRUNED: [&str; 9] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/perl",
    "usr/share/perl5",
    "usr/share/zoneinfo",
    "usr/lib/python3",
    "usr/lib/python3.13",
    "usr/lib/aarch64-linux-gnu/perl-base",
];

/// The modules that the node loads, and those that they need.
const MODULES: [&str; 30] = [
    "arch/arm64/crypto/sha2-ce",
    "arch/arm64/crypto/sha256-arm64",
    "drivers/block/loop",
    "drivers/block/virtio_blk",
    "drivers/md/dm-bufio",
    "drivers/md/dm-mod",
    "drivers/md/dm-verity",
    "drivers/net/veth",
    "drivers/net/xen-netback/xen-netback",
    "drivers/virtio/virtio_mmio",
    "drivers/watchdog/softdog",
    "drivers/watchdog/xen_wdt",
    "drivers/xen/xen-privcmd",
    "drivers/xen/xenfs/xenfs",
    "drivers/xen/xen-evtchn",
    "drivers/xen/xen-gntdev",
    "drivers/xen/xen-gntalloc",
    "fs/fat/fat",
    "fs/fat/vfat",
    "fs/nls/nls_ascii",
    "fs/nls/nls_cp437",
    "fs/overlayfs/overlay",
    "fs/squashfs/squashfs",
    "lib/reed_solomon/reed_solomon",
    "net/802/stp",
    "net/bridge/bridge",
    "net/llc/llc",
    "net/sched/act_mirred",
    "net/sched/cls_u32",
    "net/sched/sch_ingress",
];

/// Where kmod has it, which is not in every user's PATH.
pub const DEPMOD: &str = "/sbin/depmod";

/// A folder with all of it.
#[derive(Debug)]
pub struct Base(PathBuf);

impl Base {
    /// Fetches and unpacks it, once for this list of packages. As root: the files are root's.
    ///
    /// # Errors
    /// If a package is missing, or there is no room.
    pub fn get(workspace: &Workspace) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        (SUITE, PACKAGES, GRUB_SUITE, PRUNED, MODULES).hash(&mut hasher);
        let base = Self(workspace.kit("node")?.join(format!("base-{:016x}", hasher.finish())));
        let announce = || {
            note(format_args!(
                "fetching Debian {SUITE} for arm64: Xen, containerd, systemd, RAUC, a kernel; 104 MB"
            ));
            Ok(())
        };
        let apt = workspace.kit("apt")?;
        once(&base.0, announce, |part| {
            root(&apt.join("node"), &part.join("root"))?;
            let grub = PrivateApt::stable(&apt.join("grub"), GRUB_SUITE, &["arm64"])?;
            apt::unpack(&grub.download(GRUB_PACKAGE, part)?, part)
        })?;
        Ok(base)
    }

    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// The kernel: an arm64 Image.
    ///
    /// # Errors
    /// If the package had none.
    pub fn kernel(&self) -> Result<PathBuf> {
        only(&self.root().join("boot"), "vmlinuz-", "")
    }

    /// One of the modules that the node loads, compressed with xz.
    ///
    /// # Errors
    /// If the package had none.
    pub fn module(&self, name: &str) -> Result<PathBuf> {
        let kernel = only(&self.root().join("usr/lib/modules"), "", "")?.join("kernel");
        Ok(kernel.join(format!("{name}.ko.xz")))
    }

    /// The hypervisor.
    ///
    /// # Errors
    /// If the package had none.
    pub fn xen(&self) -> Result<PathBuf> {
        only(&self.root().join("boot"), "xen-", "-arm64")
    }

    /// GRUB's modules, and `monolithic/grubaa64.efi` among them.
    pub fn grub(&self) -> PathBuf {
        self.0.join("usr/lib/grub/arm64-efi")
    }
}

fn root(apt: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("usr")).with_context(|| format!("cannot create {}", root.display()))?;
    for folder in ["bin", "sbin", "lib"] {
        let merged = root.join("usr").join(folder);
        fs::create_dir(&merged).with_context(|| format!("cannot create {}", merged.display()))?;
        link(&format!("usr/{folder}"), &root.join(folder))?;
    }
    PrivateApt::stable(apt, SUITE, &["arm64"])?.unpack_all(&PACKAGES, &[], root)?;
    for folder in PRUNED.map(|folder| root.join(folder)).iter().filter(|folder| folder.exists()) {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    modules(root)?;
    // What the packages' own scripts would have done.
    link("dash", &root.join("usr/bin/sh"))?;
    link("mawk", &root.join("usr/bin/awk"))?;
    link("../lib/systemd/systemd", &root.join("usr/sbin/init"))?;
    link("../run", &root.join("var/run"))?;
    link("../run/lock", &root.join("var/lock"))
}

/// Leaves only [`MODULES`], which saves a third of the root and most of depmod's time.
fn modules(root: &Path) -> Result<()> {
    let all = only(&root.join("usr/lib/modules"), "", "")?;
    let (kernel, kept) = (all.join("kernel"), all.join("kept"));
    for module in MODULES {
        let file = format!("{module}.ko.xz");
        let (from, to) = (kernel.join(&file), kept.join(&file));
        let doing = || format!("cannot move {}", from.display());
        fs::create_dir_all(to.parent().with_context(doing)?).with_context(doing)?;
        fs::rename(&from, &to).with_context(doing)?;
    }
    fs::remove_dir_all(&kernel).with_context(|| format!("cannot remove {}", kernel.display()))?;
    fs::rename(&kept, &kernel).with_context(|| format!("cannot rename {}", kept.display()))?;
    let version = all.file_name().unwrap_or_default();
    shell::quietly(Command::new(DEPMOD).arg("-b").arg(root).arg(version))
}

/// The one entry of a folder whose name begins and ends so.
fn only(folder: &Path, start: &str, end: &str) -> Result<PathBuf> {
    let entries = folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(start) && name.ends_with(end) {
            return Ok(path);
        }
    }
    anyhow::bail!("{} holds no {start}*{end}", folder.display())
}

/// Makes a symbolic link, in place of whatever is there.
pub fn link(target: &str, path: &Path) -> Result<()> {
    let doing = || format!("cannot link {} to {target}", path.display());
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir(path).with_context(doing)?,
        Ok(_) => fs::remove_file(path).with_context(doing)?,
        Err(_) => {}
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(doing)?;
    }
    symlink(target, path).with_context(doing)
}
