//! The node's disks: a root file system with our programs, units and configuration in it, and what UEFI boots.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::base::{Base, link};
use super::initramfs;
use crate::unpacked::once;
use crate::{Workspace, packages, shell, step};

/// What makes this node one, as files: in the clone, laid over the root.
const OVERLAY: &str = "recipes-test/system/root";

/// Units that start with the node. The packages' scripts would have done that, or the image recipe of a product.
const ENABLED: [&str; 7] = [
    "multi-user.target.wants/containerd.service",
    "multi-user.target.wants/micrun-import.service",
    "multi-user.target.wants/xenstored.service",
    "multi-user.target.wants/xen-init-dom0.service",
    "multi-user.target.wants/xenconsoled.service",
    "sysinit.target.wants/micrun-node-agent.service",
    "default.target",
];

/// Units that every node of the tests does without, since each costs emulated seconds: nobody logs in.
pub(super) const MASKED: [&str; 14] = [
    "dpkg-db-backup.timer",
    "getty.target",
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-logind.service",
    "systemd-random-seed.service",
    "systemd-tmpfiles-clean.timer",
    "xen.service",
    "xendomains.service",
];

/// Units that only a node with slots needs: no hardware comes or goes here, and nobody updates it.
const SLOTS_ONLY: [&str; 6] = [
    "dbus.service",
    "dbus.socket",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
];

/// Sparse: what the tests write into it goes into memory and is gone at the end.
const ROOT_SIZE: &str = "1536M";

/// Debian's GRUB looks for its configuration and its modules here.
const GRUB_HOME: &str = "EFI/debian";
const GRUB_MODULES: [&str; 4] = ["xen_boot", "fdt", "linux", "boot"];

/// Dom0 gets one CPU: with more, the emulation takes two to four times as long. The second gigabyte is the guests'.
const GRUB_CONFIGURATION: &str = "\
set timeout=0
insmod xen_boot
xen_hypervisor /xen dom0_mem=1024M dom0_max_vcpus=1 bootscrub=0 console=dtuart dtuart=/pl011@9000000
xen_module /vmlinuz console=hvc0 panic=5 quiet systemd.show_status=0
xen_module --nounzip /initrd
boot
";

/// A file of ours in the node.
#[derive(Clone, Debug)]
pub struct Addition {
    /// Where it is here.
    pub from: PathBuf,
    /// Where it is there, such as `usr/bin/micrun`.
    pub to: String,
}

/// The disks of a node that has not been booted yet. Nothing writes to them.
#[derive(Clone, Debug)]
pub struct Disks(PathBuf);

impl Disks {
    /// Puts them together, unless the same ones are there. As root: the files are root's.
    ///
    /// # Errors
    /// If something cannot be fetched, a file is missing, or there is no room.
    pub fn assemble(workspace: &Workspace, additions: &[Addition]) -> Result<Self> {
        packages::ensure("assembling an arm64 node", &[&packages::NODE, &packages::RELEASES])?;
        let base = Base::get(workspace)?;
        let mut files = overlay(&workspace.root().join(OVERLAY))?;
        files.extend(additions.iter().map(|file| (file.from.clone(), PathBuf::from(&file.to))));
        let name = format!("disks-{:016x}", fingerprint(&base, &files)?);
        let folder = workspace.kit("node")?;
        let disks = Self(folder.join(&name));
        let announce = || {
            step("Assembling the arm64 node: Debian's Xen, kernel and containerd, our programs and units");
            Ok(())
        };
        once(&disks.0, announce, |part| {
            forget_others(&folder, &name)?;
            let tree = part.join("tree");
            root(&base, &files, &tree)?;
            let mut mkfs = Command::new(MKFS);
            mkfs.args(["-q", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d"]);
            shell::quietly(mkfs.args([&tree, &part.join("root.img")]).arg(ROOT_SIZE))?;
            fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
            esp(&base, &part.join("esp"))?;
            initramfs::make(&base, &part.join("initramfs"), &part.join("esp/initrd"))
        })?;
        Ok(disks)
    }

    /// The root file system, ext4.
    pub fn root(&self) -> PathBuf {
        self.0.join("root.img")
    }

    /// The EFI system partition: a folder, which QEMU shows as FAT.
    pub fn esp(&self) -> PathBuf {
        self.0.join("esp")
    }
}

/// Where e2fsprogs has it, which is not in every user's PATH.
pub const MKFS: &str = "/sbin/mkfs.ext4";

/// The files below a folder, with their paths in it.
pub(super) fn overlay(folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(dir) = folders.pop() {
        let doing = || format!("cannot read {}", dir.display());
        for entry in dir.read_dir().with_context(doing)? {
            let path = entry.with_context(doing)?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(folder).with_context(doing)?.to_owned();
                files.push((path, inside));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Changes with everything that goes into the disks.
fn fingerprint(base: &Base, files: &[(PathBuf, PathBuf)]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    (
        base.root(),
        initramfs::script(),
        ENABLED,
        MASKED,
        SLOTS_ONLY,
        ROOT_SIZE,
        GRUB_CONFIGURATION,
        GRUB_MODULES,
    )
        .hash(&mut hasher);
    hash_files(files, &mut hasher)?;
    Ok(hasher.finish())
}

/// Their places and what they hold.
pub(super) fn hash_files(files: &[(PathBuf, PathBuf)], hasher: &mut DefaultHasher) -> Result<()> {
    for (from, to) in files {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        (to, bytes).hash(hasher);
    }
    Ok(())
}

/// Removes the disks of other inputs: each set has a quarter of a gigabyte. Only under the lock of `once`: what another thread
/// is making lies there, too.
pub(super) fn forget_others(folder: &Path, name: &str) -> Result<()> {
    let kind = name.split_inclusive('-').next().unwrap_or(name);
    let doing = || format!("cannot tidy {}", folder.display());
    for entry in folder.read_dir().with_context(doing)? {
        let path = entry.with_context(doing)?.path();
        let other = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if other.starts_with(kind) && !other.starts_with(name) {
            fs::remove_dir_all(&path).with_context(doing)?;
        }
    }
    Ok(())
}

fn root(base: &Base, files: &[(PathBuf, PathBuf)], tree: &Path) -> Result<()> {
    lay(base, files, tree)?;
    link_units(tree, &ENABLED)?;
    mask_units(tree, &MASKED)?;
    mask_units(tree, &SLOTS_ONLY)
}

/// The base with files laid over it. systemd takes it for a root that it has seen before.
pub(super) fn lay(base: &Base, files: &[(PathBuf, PathBuf)], tree: &Path) -> Result<()> {
    // Hard links: nothing below changes a file in place.
    shell::quietly(Command::new("cp").arg("-al").args([&base.root(), tree]))?;
    for (from, to) in files {
        let to = tree.join(to);
        let doing = || format!("cannot copy {} to {}", from.display(), to.display());
        fs::create_dir_all(to.parent().with_context(doing)?).with_context(doing)?;
        if to.symlink_metadata().is_ok() {
            fs::remove_file(&to).with_context(doing)?;
        }
        fs::copy(from, &to).with_context(doing)?;
    }
    // Not a first boot: whatever systemd would do for that is done.
    for stamp in ["etc/.updated", "var/.updated"] {
        fs::write(tree.join(stamp), "").with_context(|| format!("cannot write {stamp}"))?;
    }
    Ok(())
}

/// Makes units start: `TARGET.wants/UNIT`, or `default.target`.
pub(super) fn link_units(tree: &Path, links: &[&str]) -> Result<()> {
    let units = tree.join("etc/systemd/system");
    for unit in links {
        let name = unit.rsplit('/').next().unwrap_or(unit);
        let ours = units.join(name).exists();
        let target = match name {
            "default.target" => "/usr/lib/systemd/system/multi-user.target".to_owned(),
            _ if ours => format!("/etc/systemd/system/{name}"),
            _ => format!("/usr/lib/systemd/system/{name}"),
        };
        link(&target, &units.join(unit))?;
    }
    Ok(())
}

/// Makes units never start.
pub(super) fn mask_units(tree: &Path, units: &[&str]) -> Result<()> {
    units.iter().try_for_each(|unit| link("/dev/null", &tree.join("etc/systemd/system").join(unit)))
}

fn esp(base: &Base, esp: &Path) -> Result<()> {
    let home = esp.join(GRUB_HOME);
    let modules = home.join("arm64-efi");
    let mut copies = vec![
        (base.grub().join("monolithic/grubaa64.efi"), esp.join("EFI/BOOT/BOOTAA64.EFI")),
        (base.kernel()?, esp.join("vmlinuz")),
        (base.xen()?, esp.join("xen")),
    ];
    let names = GRUB_MODULES.map(|name| format!("{name}.mod"));
    for name in names.iter().map(String::as_str).chain(["command.lst", "moddep.lst"]) {
        copies.push((base.grub().join(name), modules.join(name)));
    }
    for (from, to) in copies {
        let doing = || format!("cannot copy {} to {}", from.display(), to.display());
        fs::create_dir_all(to.parent().with_context(doing)?).with_context(doing)?;
        fs::copy(&from, &to).with_context(doing)?;
    }
    let configuration = home.join("grub.cfg");
    fs::write(&configuration, GRUB_CONFIGURATION)
        .with_context(|| format!("cannot write {}", configuration.display()))
}
