//! A node with two root file systems, as products are updated: one disk with the EFI system partition, both slots and
//! the data partition, and a stick with bundles for it. What decides about a boot, and what makes a read-only root work,
//! are the files that a product's recipes install.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::base::{Base, link};
use super::bundle::{Content, Workshop};
use super::disk::{self, Addition, MKFS};
use super::initramfs;
use super::installed::INSTALLED_WITH_SLOTS;
use crate::unpacked::once;
use crate::{Workspace, packages, shell, step};

/// What makes this node one, as files: in the clone, laid over the root in this order.
const OVERLAYS: [&str; 2] = ["recipes-test/system/root", "recipes-test/system/slot-root"];

/// Where the boot loader's files are in meta-micrun.
const BOOT: &str = "recipes-bsp/grub/files";
/// RAUC's configuration, there.
const RAUC: &str = "dynamic-layers/rauc/recipes-core/rauc/files/system.conf";

/// The boards that the bundles of the tests are for.
pub const COMPATIBLE: &str = "micrun-qemu";

/// Units of Debian and of the tests that start with the node. Ours say themselves what wants them.
const ENABLED: [&str; 4] = [
    "multi-user.target.wants/containerd.service",
    "multi-user.target.wants/rauc-mark-good.service",
    "sysinit.target.wants/micrun-node-agent.service",
    "default.target",
];
const ENABLED_ON_XEN: [&str; 3] = [
    "multi-user.target.wants/xenstored.service",
    "multi-user.target.wants/xen-init-dom0.service",
    "multi-user.target.wants/xenconsoled.service",
];

/// What no slot needs: RAUC writes all of a slot, and the emulation is slow.
const PRUNED: [&str; 14] = [
    "boot",
    "usr/bin/containerd-shim",
    "usr/bin/containerd-shim-runc-v1",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/perl",
    "usr/bin/perl5.40.1",
    "usr/bin/python3.13",
    "usr/lib/grub",
    "usr/lib/klibc",
    "usr/lib/udev/hwdb.d",
    "usr/share/bash-completion",
    "usr/share/grub",
    "usr/share/i18n",
    "usr/src",
];

/// The rules of udev that name disks and start what waits for them. Each further file costs a second of emulation.
const UDEV_RULES: [&str; 6] = [
    "50-udev-default.rules",
    "55-dm.rules",
    "60-block.rules",
    "60-persistent-storage.rules",
    "80-drivers.rules",
    "99-systemd.rules",
];

/// In MiB, from the disk's beginning: where a partition begins, how long it is, what it is called. A slot is as long as
/// the largest image, which is cut to what it holds.
const ESP: (u64, u64) = (1, 64);
const SLOT: u64 = 320;
const DATA: u64 = 640;

/// The modules in a product's image of GRUB for arm64, of which nothing else is loaded: those of OpenEmbedded's recipe grub-efi,
/// with Xen, and those that our grub-efi-micrun.inc adds.
pub const GRUB_MODULES: [&str; 18] = [
    "boot",
    "linux",
    "ext2",
    "fat",
    "serial",
    "part_msdos",
    "part_gpt",
    "normal",
    "efi_gop",
    "iso9660",
    "configfile",
    "search",
    "loadenv",
    "test",
    "xen_boot",
    "echo",
    "reboot",
    "sleep",
];
/// What that image does first: it looks for its configuration.
pub const GRUB_START: &str = "search --file --set=root /EFI/BOOT/grub.cfg\nset prefix=($root)/EFI/BOOT\n";

const XEN_ARGS: &str = "dom0_mem=1024M dom0_max_vcpus=1 bootscrub=0 console=dtuart dtuart=/pl011@9000000";
const DOM0_ARGS: &str = "console=hvc0 panic=10 quiet systemd.show_status=0";
const LINUX_ARGS: &str = "console=ttyAMA0 panic=10 quiet systemd.show_status=0";

/// A release of a product: what goes into a slot.
#[derive(Clone, Debug)]
pub struct Release {
    /// As bundles and `min-bundle-version` have it.
    pub version: &'static str,
    /// Whether there is a hypervisor below Linux.
    pub xen: bool,
    /// Our programs and the recipes' files.
    pub files: Vec<Addition>,
    /// Files of this release alone: their places in the root, and what they hold.
    pub texts: Vec<(&'static str, String)>,
}

/// What is made for a node: a disk with the first release in slot A, and a stick with bundles. Nobody writes to them.
#[derive(Clone, Debug)]
pub struct Factory(PathBuf);

/// A bundle on the stick.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its name there.
    pub name: &'static str,
    /// The version that it says it is.
    pub version: &'static str,
    /// What is in it.
    pub content: Content,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What can be wrong with a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Nothing.
    None,
    /// A key that the node does not know has signed it.
    Stranger,
    /// Its signature was cut off.
    Unsigned,
    /// A bit of its payload was changed after it had been signed.
    Tampered,
    /// It is for another board.
    OtherBoard,
}

impl Factory {
    /// Makes both, unless the same ones are there. As root: the files in the slots are root's.
    ///
    /// # Errors
    /// If something cannot be fetched, a file is missing, or there is no room.
    pub fn make(workspace: &Workspace, releases: &[Release], bundles: &[Bundle]) -> Result<Self> {
        let first = releases.first().context("a node without a release")?;
        packages::ensure(
            "assembling an arm64 node with two slots",
            &[&packages::NODE, &packages::SLOTS, &packages::RELEASES],
        )?;
        let line = Line { base: Base::get(workspace)?, workspace };
        let kind = if first.xen { "slots_xen" } else { "slots_linux" };
        let name = format!("{kind}-{:016x}", line.fingerprint(releases, bundles)?);
        let folder = workspace.kit("node")?;
        let factory = Self(folder.join(&name));
        let announce = || {
            step(format_args!("Assembling an arm64 node with two slots ({kind}), and bundles for it"));
            Ok(())
        };
        once(&factory.0, announce, |part| {
            disk::forget_others(&folder, &name)?;
            let workshop = Workshop::open(workspace, &part.join("keys"), &part.join("bundles"))?;
            for release in releases {
                line.slot(release, &workshop, part)?;
            }
            line.disk(first, part)?;
            for bundle in bundles {
                workshop.make(bundle, part)?;
            }
            let stick = part.join("stick.img");
            image(&part.join("bundles"), &stick, &["-L", "bundles", "-O", "^has_journal"], None)?;
            for done in ["bundles", "keys"] {
                let done = part.join(done);
                fs::remove_dir_all(&done).with_context(|| format!("cannot remove {}", done.display()))?;
            }
            for release in releases {
                let image = slot_image(part, release.version);
                fs::remove_file(&image).with_context(|| format!("cannot remove {}", image.display()))?;
            }
            Ok(())
        })?;
        Ok(factory)
    }

    /// The disk as it leaves the factory.
    pub fn disk(&self) -> PathBuf {
        self.0.join("disk.img")
    }

    /// An ext4 image, labelled `bundles`.
    pub fn stick(&self) -> PathBuf {
        self.0.join("stick.img")
    }
}

/// The image of a release's slot, while a factory is being made.
pub(super) fn slot_image(part: &Path, version: &str) -> PathBuf {
    part.join(format!("slot-{version}.img"))
}

/// Where the images are made.
struct Line<'a> {
    base: Base,
    workspace: &'a Workspace,
}

impl Line<'_> {
    fn layer(&self, file: &str) -> PathBuf {
        self.workspace.root().join("meta-micrun").join(file)
    }

    /// All files of a release but those that are made.
    fn files(&self, release: &Release) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut files = Vec::new();
        for overlay in OVERLAYS {
            files.extend(disk::overlay(&self.workspace.root().join(overlay))?);
        }
        if !release.xen {
            files.retain(|(_, to)| !to.ends_with("modules-load.d/xen.conf"));
        }
        files.extend(INSTALLED_WITH_SLOTS.map(|(from, to)| (self.layer(from), PathBuf::from(to))));
        files.extend(release.files.iter().map(|file| (file.from.clone(), PathBuf::from(&file.to))));
        Ok(files)
    }

    /// Changes with everything that goes in.
    fn fingerprint(&self, releases: &[Release], bundles: &[Bundle]) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        (self.base.root(), initramfs::script(), ENABLED, ENABLED_ON_XEN, disk::MASKED, PRUNED)
            .hash(&mut hasher);
        (SLOT, DATA, GRUB_MODULES, GRUB_START, XEN_ARGS, DOM0_ARGS, LINUX_ARGS).hash(&mut hasher);
        let made = ["grub.cfg", "boot-args.cfg.in", "grubenv.in"].map(|file| format!("{BOOT}/{file}"));
        let made = made.iter().map(String::as_str).chain([RAUC, super::bundle::KEYS]);
        let made: Vec<_> = made.map(|file| (self.layer(file), PathBuf::new())).collect();
        disk::hash_files(&made, &mut hasher)?;
        for release in releases {
            (release.version, release.xen, &release.texts).hash(&mut hasher);
            disk::hash_files(&self.files(release)?, &mut hasher)?;
        }
        for bundle in bundles {
            format!("{bundle:?}").hash(&mut hasher);
            disk::hash_files(&bundle.content.files(), &mut hasher)?;
        }
        Ok(hasher.finish())
    }

    /// Makes the image of a release.
    fn slot(&self, release: &Release, workshop: &Workshop<'_>, part: &Path) -> Result<()> {
        let tree = part.join("tree");
        let doing = || format!("cannot make the root of {}", release.version);
        disk::lay(&self.base, &self.files(release)?, &tree)?;
        prune(&tree)?;
        self.boot_files(release, part, &tree.join("boot"))?;
        let rauc = tree.join("usr/lib/rauc");
        fs::create_dir_all(&rauc).with_context(doing)?;
        let words =
            [("@COMPATIBLE@", COMPATIBLE), ("@VERSION@", release.version), ("@KEYRING@", "ca.cert.pem")];
        fs::write(rauc.join("system.conf"), self.filled(RAUC, &words)?).with_context(doing)?;
        fs::copy(workshop.keyring(), rauc.join("ca.cert.pem")).with_context(doing)?;
        for (to, text) in &release.texts {
            let to = tree.join(to);
            fs::create_dir_all(to.parent().with_context(doing)?).with_context(doing)?;
            // Not through a hard link into the base.
            let _ = fs::remove_file(&to);
            fs::write(&to, text).with_context(doing)?;
        }
        for folder in ["data", "etc/mica", "media"] {
            fs::create_dir_all(tree.join(folder)).with_context(doing)?;
        }
        self.units(release, &tree)?;
        // The node's id comes from the boot loader.
        let id = tree.join("etc/machine-id");
        let _ = fs::remove_file(&id);
        fs::write(&id, "").with_context(doing)?;
        image(&tree, &slot_image(part, release.version), &["-O", "^has_journal"], None)?;
        fs::remove_dir_all(&tree).with_context(doing)
    }

    fn units(&self, release: &Release, tree: &Path) -> Result<()> {
        disk::link_units(tree, &ENABLED)?;
        if release.xen {
            disk::link_units(tree, &ENABLED_ON_XEN)?;
        }
        for (_, unit) in self.files(release)? {
            if unit.parent().is_some_and(|folder| folder.ends_with("lib/systemd/system")) {
                enable(tree, &unit)?;
            }
        }
        // micad is a product's choice; here it is not chosen.
        let micad = tree.join("etc/systemd/system/multi-user.target.wants/micad.service");
        if micad.symlink_metadata().is_ok() {
            fs::remove_file(&micad).with_context(|| format!("cannot remove {}", micad.display()))?;
        }
        disk::mask_units(tree, &disk::MASKED)
    }

    /// What GRUB loads from a slot.
    fn boot_files(&self, release: &Release, part: &Path, boot: &Path) -> Result<()> {
        let doing = || format!("cannot fill {}", boot.display());
        fs::create_dir_all(boot.join("efi")).with_context(doing)?;
        fs::copy(self.layer(&format!("{BOOT}/boot.cfg")), boot.join("boot.cfg")).with_context(doing)?;
        let words = [("@XEN_ARGS@", XEN_ARGS), ("@DOM0_ARGS@", DOM0_ARGS), ("@KERNEL_ARGS@", LINUX_ARGS)];
        let arguments = self.filled(&format!("{BOOT}/boot-args.cfg.in"), &words)?;
        fs::write(boot.join("boot-args.cfg"), arguments).with_context(doing)?;
        fs::copy(self.base.kernel()?, boot.join("Image")).with_context(doing)?;
        if release.xen {
            fs::copy(self.base.xen()?, boot.join("xen")).with_context(doing)?;
        }
        initramfs::make(&self.base, &part.join("initramfs"), &boot.join("initrd"))
    }

    /// A template of the layer, filled in.
    fn filled(&self, file: &str, words: &[(&str, &str)]) -> Result<String> {
        let path = self.layer(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(words.iter().fold(text, |text, (word, value)| text.replace(word, value)))
    }

    /// Makes the disk with a release in slot A.
    fn disk(&self, release: &Release, part: &Path) -> Result<()> {
        let disk = part.join("disk.img");
        let doing = || format!("cannot make {}", disk.display());
        let slots = [ESP.0 + ESP.1, ESP.0 + ESP.1 + SLOT];
        let data = slots[1] + SLOT;
        let file = fs::File::create(&disk).with_context(doing)?;
        file.set_len((data + DATA + 1) << 20).with_context(doing)?;
        let table = format!(
            "label: gpt\n\
             start={}MiB, size={}MiB, type=uefi, name=esp\n\
             start={}MiB, size={SLOT}MiB, type=linux, name=rootfs.0\n\
             start={}MiB, size={SLOT}MiB, type=linux, name=rootfs.1\n\
             start={data}MiB, size={DATA}MiB, type=linux, name=data\n",
            ESP.0, ESP.1, slots[0], slots[1]
        );
        let script = part.join("table");
        fs::write(&script, table).with_context(doing)?;
        let mut sfdisk = Command::new("sh");
        sfdisk.args(["-c", "exec \"$0\" --quiet --no-reread \"$1\" < \"$2\"", SFDISK]);
        shell::quietly(sfdisk.args([&disk, &script]))?;
        fs::remove_file(&script).with_context(doing)?;
        self.esp(part, &disk)?;
        place(&slot_image(part, release.version), &disk, slots[0])?;
        let empty = part.join("empty");
        fs::create_dir(&empty).with_context(doing)?;
        let image_of_data = part.join("data.img");
        image(&empty, &image_of_data, &["-E", "lazy_itable_init=1"], Some(DATA))?;
        place(&image_of_data, &disk, data)?;
        fs::remove_dir(&empty).with_context(doing)?;
        fs::remove_file(&image_of_data).with_context(doing)
    }

    /// The EFI system partition: GRUB, how it chooses a slot, and what it remembers.
    fn esp(&self, part: &Path, disk: &Path) -> Result<()> {
        let doing = || format!("cannot make the EFI system partition in {}", disk.display());
        let (start, grub, env) = (part.join("start.cfg"), part.join("grub.efi"), part.join("grubenv"));
        fs::write(&start, GRUB_START).with_context(doing)?;
        let mut mkimage = Command::new("grub-mkimage");
        mkimage.args(["-O", "arm64-efi", "-p", "/EFI/BOOT", "-d"]).arg(self.base.grub());
        mkimage.arg("-c").arg(&start).arg("-o").arg(&grub).args(GRUB_MODULES);
        shell::quietly(&mut mkimage)?;
        // As grub-editenv has it: 1024 bytes, the rest is "#".
        let mut block = self.filled(&format!("{BOOT}/grubenv.in"), &[])?;
        block.extend(std::iter::repeat_n('#', 1024_usize.saturating_sub(block.len())));
        fs::write(&env, block).with_context(doing)?;
        let esp = part.join("esp.img");
        let mut mkfs = Command::new(MKFS_VFAT);
        mkfs.args(["-C", "-F", "32", "-n", "ESP"]).arg(&esp).arg((ESP.1 * 1024).to_string());
        shell::quietly(&mut mkfs)?;
        shell::quietly(Command::new("mmd").arg("-i").arg(&esp).args(["::/EFI", "::/EFI/BOOT"]))?;
        let configuration = self.layer(&format!("{BOOT}/grub.cfg"));
        for (from, to) in [
            (&grub, "BOOTAA64.EFI"),
            (&configuration, "grub.cfg"),
            (&env, "grubenv"),
            // GRUB writes it, and can only do so in place.
            (&env, "grubenv.copy"),
        ] {
            let to = format!("::/EFI/BOOT/{to}");
            shell::quietly(Command::new("mcopy").arg("-i").arg(&esp).arg(from).arg(to))?;
        }
        place(&esp, disk, ESP.0)?;
        [start, grub, env, esp].iter().try_for_each(|file| fs::remove_file(file).with_context(doing))
    }
}

/// Where fdisk and dosfstools have them, which is not in every user's PATH.
pub const SFDISK: &str = "/sbin/sfdisk";
/// See [`SFDISK`].
pub const MKFS_VFAT: &str = "/sbin/mkfs.vfat";

/// Takes what is not needed out of a root.
fn prune(tree: &Path) -> Result<()> {
    let mut needless: Vec<PathBuf> = PRUNED.iter().map(|path| tree.join(path)).collect();
    // Device trees of boards are in a folder with the kernel's version in its name.
    needless.extend(entries(&tree.join("usr/lib"), |name| name.starts_with("linux-image-"))?);
    needless.extend(entries(&tree.join("usr/lib/udev/rules.d"), |name| !UDEV_RULES.contains(&name))?);
    for path in needless {
        let doing = || format!("cannot remove {}", path.display());
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path).with_context(doing)?,
            Ok(_) => fs::remove_file(&path).with_context(doing)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// The entries of a folder with such a name.
fn entries(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let doing = || format!("cannot read {}", folder.display());
    let mut found = Vec::new();
    for entry in folder.read_dir().with_context(doing)? {
        let entry = entry.with_context(doing)?;
        found.extend(wanted(&entry.file_name().to_string_lossy()).then(|| entry.path()));
    }
    Ok(found)
}

/// Links a unit to where its `[Install]` section wants it.
fn enable(tree: &Path, unit: &Path) -> Result<()> {
    let name = unit.file_name().unwrap_or_default().to_string_lossy();
    let file = tree.join(unit);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    for line in text.lines() {
        let (kind, targets) = match line.split_once('=') {
            Some(("WantedBy", targets)) => ("wants", targets),
            Some(("RequiredBy", targets)) => ("requires", targets),
            _ => continue,
        };
        for target in targets.split_whitespace() {
            let path = tree.join(format!("etc/systemd/system/{target}.{kind}/{name}"));
            link(&format!("/{}", unit.display()), &path)?;
        }
    }
    Ok(())
}

/// Makes an ext4 image of a folder: of a size in MiB, or as small as can be.
fn image(tree: &Path, image: &Path, options: &[&str], size: Option<u64>) -> Result<()> {
    let size = match size {
        Some(size) => size,
        None => room(tree)?,
    };
    let mut mkfs = Command::new(MKFS);
    mkfs.args(["-q", "-m", "0", "-b", "4096"]).args(options).arg("-d").args([tree, image]);
    shell::quietly(mkfs.arg(format!("{size}M")))
}

/// What a folder needs as ext4, in MiB: its blocks, its inodes of 256 bytes (one for 16 KiB of the image), and some more.
fn room(tree: &Path) -> Result<u64> {
    let said = shell::output(Command::new("du").args(["--summarize", "--block-size=1M"]).arg(tree))?;
    let used = said.split_whitespace().next().unwrap_or_default();
    let used: u64 = used.parse().with_context(|| format!("du said {said:?}"))?;
    Ok(used + used / 20 + 16)
}

/// Copies an image into the disk without its holes.
fn place(image: &Path, disk: &Path, start: u64) -> Result<()> {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", image.display())).arg(format!("of={}", disk.display()));
    dd.args(["bs=1M", "conv=sparse,notrunc", "status=none"]).arg(format!("seek={start}"));
    shell::quietly(&mut dd)
}
