//! The Debian packages that jobs need. What counts is the file a package gives, however it came here.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{note, shell, step};

/// Something a job needs from the machine.
#[derive(Debug)]
pub struct Need {
    /// The packages that give it, the preferred one first: Debian moved things between releases.
    packages: &'static [&'static str],
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    Program(&'static str),
    File(&'static str),
    /// A command line that ends with 0.
    Runs(&'static [&'static str]),
}

const fn program(package: &'static [&'static str], name: &'static str) -> Need {
    Need { packages: package, proof: Proof::Program(name) }
}

const fn file(package: &'static [&'static str], path: &'static str) -> Need {
    Need { packages: package, proof: Proof::File(path) }
}

/// Fetches, checks and unpacks packages of other Debian releases.
pub static RELEASES: [Need; 2] =
    [program(&["dpkg"], "dpkg-deb"), file(&["debian-archive-keyring"], crate::apt::KEYRING)];

/// Tells the Debian mirror where the machine's own apt cannot (Ubuntu).
pub static MIRROR: [Need; 1] = [program(&["debootstrap"], "debootstrap")];

/// Runs and builds the guests of the demo.
pub static DEMO: [Need; 4] = [
    program(&["make"], "make"),
    program(&["gcc-aarch64-linux-gnu"], "aarch64-linux-gnu-gcc"),
    program(&["qemu-system-arm"], "qemu-system-aarch64"),
    file(&["u-boot-qemu"], "/usr/lib/u-boot/qemu_arm64/uboot.elf"),
];

/// What the other guests of the tests need on top of [`DEMO`].
pub static GUESTS: [Need; 6] = [
    program(&["gcc-arm-none-eabi"], "arm-none-eabi-gcc"),
    program(&["gcc-i686-linux-gnu"], "i686-linux-gnu-gcc"),
    program(&["gcc-riscv64-linux-gnu"], "riscv64-linux-gnu-gcc"),
    program(&["qemu-system-riscv", "qemu-system-misc"], "qemu-system-riscv64"),
    program(&["qemu-system-x86"], "qemu-system-i386"),
    file(&["opensbi"], "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf"),
];

/// Makes networks to try guests on.
pub static NETWORK: [Need; 1] = [NETWORK_TOOLS];

/// Gives pods a network.
pub static PODS: [Need; 2] = [file(&["containernetworking-plugins"], crate::cri::PTP), NETWORK_TOOLS];

const NETWORK_TOOLS: Need = file(&["iproute2"], "/sbin/ip");

/// Makes images that the builder refuses to make, and is measured beside it.
pub static IMAGES: [Need; 1] = [program(&["umoci"], "umoci")];

/// Reads back what the builder wrote, makes images of its own, and is measured beside it.
pub static READERS: [Need; 2] = [program(&["skopeo"], "skopeo"), program(&["buildah"], "buildah")];

/// Makes keys and certificates.
pub static KEYS: [Need; 1] = [program(&["openssl"], "openssl")];

/// What the benchmarks compare with and measure with.
pub static BENCH: [Need; 4] = [
    program(&["runc"], "runc"),
    file(&["time"], "/usr/bin/time"),
    program(&["binutils"], "strip"),
    program(&["gcc"], "cc"),
];

/// Links programs for arm64 Linux; the compiler itself is unpacked, see [`crate::cross`].
pub static CROSS: [Need; 2] = [
    program(&["gcc-aarch64-linux-gnu"], "aarch64-linux-gnu-gcc"),
    file(&["libc6-dev-arm64-cross"], "/usr/aarch64-linux-gnu/include/stdio.h"),
];

/// Runs scripts in Python.
pub static PYTHON: [Need; 1] = [program(&["python3"], "python3")];

/// What bitbake and openembedded-core ask of a machine, and what the tests of the layer build with in its place.
pub static BITBAKE: [Need; 20] = [
    program(&["bzip2"], "bzip2"),
    program(&["chrpath"], "chrpath"),
    program(&["cpio"], "cpio"),
    program(&["diffstat"], "diffstat"),
    program(&["file"], "file"),
    program(&["g++"], "g++"),
    program(&["g++-aarch64-linux-gnu"], "aarch64-linux-gnu-g++"),
    program(&["gawk"], "gawk"),
    program(&["git"], "git"),
    program(&["rpcsvc-proto"], "rpcgen"),
    program(&["lz4"], "lz4"),
    program(&["make"], "make"),
    program(&["patch"], "patch"),
    program(&["pseudo"], "pseudo"),
    program(&["quilt"], "quilt"),
    program(&["wget"], "wget"),
    program(&["xz-utils"], "xz"),
    program(&["zstd"], "zstd"),
    file(&["python3"], "/usr/bin/python3"),
    Need {
        packages: &["locales-all"],
        proof: Proof::Runs(&["sh", "-c", "locale -a | grep -qix en_US.utf8"]),
    },
];

/// Runs a program for arm64 Linux that needs no more than a libc.
pub static USER_EMULATION: [Need; 2] = [
    program(&["qemu-user"], "qemu-aarch64"),
    file(&["libc6-arm64-cross"], "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1"),
];

/// Assembles and boots the arm64 node.
pub static NODE: [Need; 6] = [
    program(&["qemu-system-arm"], "qemu-system-aarch64"),
    file(&["qemu-efi-aarch64"], crate::node::FIRMWARE),
    file(&["e2fsprogs"], crate::node::disk::MKFS),
    file(&["kmod"], crate::node::base::DEPMOD),
    program(&["cpio"], "cpio"),
    program(&["xz-utils"], "xz"),
];

/// Checks what GRUB reads.
pub static GRUB: [Need; 1] = [program(&["grub-common"], "grub-script-check")];

/// Writes U-Boot's environment from Linux.
pub static U_BOOT_ENV: [Need; 1] = [program(&["libubootenv-tool"], "fw_setenv")];

/// Makes a disk that GRUB boots from, and starts it.
pub static GRUB_BOARD: [Need; 6] = [
    file(&["fdisk"], SFDISK),
    file(&["dosfstools"], MKFS_FAT),
    file(&["e2fsprogs"], MKFS_EXT4),
    program(&["mtools"], "mcopy"),
    program(&["qemu-system-arm"], "qemu-system-aarch64"),
    file(&["qemu-efi-aarch64"], crate::node::FIRMWARE),
];

/// Makes a disk with two slots, and bundles for it.
pub static SLOTS: [Need; 6] = [
    file(&["fdisk"], crate::node::slots::SFDISK),
    file(&["dosfstools"], crate::node::slots::MKFS_VFAT),
    program(&["mtools"], "mcopy"),
    program(&["grub-common"], "grub-mkimage"),
    program(&["squashfs-tools"], "mksquashfs"),
    program(&["openssl"], "openssl"),
];

/// Makes and signs bundles.
pub static BUNDLES: [Need; 2] =
    [program(&["squashfs-tools"], "mksquashfs"), program(&["openssl"], "openssl")];

/// Compiles libFuzzer, which is C++.
pub static FUZZ: [Need; 1] = [program(&["g++"], "c++")];

/// What the lints of shell scripts, units and licences need.
pub static LINT: [Need; 3] = [
    program(&["shellcheck"], "shellcheck"),
    program(&["systemd"], "systemd-analyze"),
    program(&["git"], "git"),
];

/// Compiles and applies device trees.
pub static DEVICE_TREES: [Need; 2] =
    [program(&["device-tree-compiler"], "dtc"), program(&["device-tree-compiler"], "fdtoverlay")];

/// What kas calls.
pub static KAS: [Need; 1] = [program(&["git"], "git")];

/// Where util-linux, dosfstools and e2fsprogs have them, which is not in every user's PATH.
pub const SFDISK: &str = "/sbin/sfdisk";
/// See [`SFDISK`].
pub const MKFS_FAT: &str = "/sbin/mkfs.vfat";
/// See [`SFDISK`].
pub const MKFS_EXT4: &str = crate::node::disk::MKFS;

/// Makes a card with U-Boot's scripts on it, and boots it.
pub static U_BOOT: [Need; 8] = [
    program(&["u-boot-tools"], "mkimage"),
    program(&["mtools"], "mcopy"),
    program(&["device-tree-compiler"], "dtc"),
    program(&["gcc-aarch64-linux-gnu"], "aarch64-linux-gnu-gcc"),
    program(&["qemu-system-arm"], "qemu-system-aarch64"),
    file(&["fdisk"], SFDISK),
    file(&["dosfstools"], MKFS_FAT),
    file(&["e2fsprogs"], MKFS_EXT4),
];

/// What wic makes disks with.
pub static WIC: [Need; 5] = [
    program(&["mtools"], "mcopy"),
    file(&["parted"], "/sbin/parted"),
    file(&["fdisk"], SFDISK),
    file(&["dosfstools"], MKFS_FAT),
    file(&["e2fsprogs"], MKFS_EXT4),
];

/// Builds what the documentation tells firmware projects to copy.
pub static INTEGRATE: [Need; 1] = [program(&["cmake"], "cmake")];

/// Installs programs from the Python package index into folders of their own.
pub static WHEELS: [Need; 1] =
    [Need { packages: &["python3-venv"], proof: Proof::Runs(&["python3", "-c", "import venv, ensurepip"]) }];

impl Need {
    fn is_met(&self) -> bool {
        match self.proof {
            Proof::Program(name) => shell::which(name).is_some(),
            Proof::File(path) => Path::new(path).exists(),
            Proof::Runs(line) => {
                shell::capture(Command::new(line[0]).args(&line[1..])).is_ok_and(|out| out.status.success())
            }
        }
    }

    /// The first of its packages that this machine's apt can install; the last one where apt knows none.
    fn package(&self) -> &'static str {
        let known = |name: &&str| {
            shell::output(Command::new("apt-cache").args(["show", "--no-all-versions", *name])).is_ok()
        };
        match self.packages {
            [only] => only,
            several => several.iter().find(|name| known(name)).unwrap_or(&several[several.len() - 1]),
        }
    }
}

/// Makes sure that everything is here: installs what is missing with apt, as root or through sudo.
///
/// # Errors
/// Where that is not possible, an error that lists exactly the packages to install.
pub fn ensure(job: &str, needs: &[&[Need]]) -> Result<()> {
    let missing = || needs.iter().copied().flatten().filter(|need| !need.is_met());
    if missing().next().is_none() {
        return Ok(());
    }
    if shell::which("apt-get").is_none() {
        let all: Vec<&str> = missing().map(|need| need.packages[need.packages.len() - 1]).collect();
        bail!(
            "programs are missing for {job}, and this machine has no apt-get to install them with. Debian calls the \
             packages: {}",
            all.join(" ")
        );
    }
    let Some(mut update) = apt_get() else {
        let all: Vec<&str> = missing().map(Need::package).collect();
        bail!(
            "packages are missing for {job}, and this is not root, nor is there sudo. As root: apt-get install {}",
            all.join(" ")
        );
    };
    step(format_args!("Reading the package lists (apt-get update): packages are missing for {job}"));
    shell::quietly(update.arg("update"))
        .context("cannot read the package lists: check the network and /etc/apt/sources.list*")?;
    let mut packages: Vec<&str> = missing().map(Need::package).collect();
    packages.dedup();
    install(job, &packages)?;
    match missing().next() {
        None => Ok(()),
        Some(need) => {
            bail!("{:?} is still missing for {job} after installing {}", need.proof, packages.join(" "))
        }
    }
}

fn install(job: &str, packages: &[&str]) -> Result<()> {
    step(format_args!("Installing for {job}: {}", packages.join(" ")));
    let Some(mut install) = apt_get() else { bail!("there is no way to become root") };
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    shell::quietly(&mut install)?;
    note("installed");
    Ok(())
}

/// `apt-get` that asks nothing and waits for another apt, and whose dpkg tells its errors where errors are read; with sudo
/// where this is not root.
fn apt_get() -> Option<Command> {
    let mut command = if is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new(shell::which("sudo")?);
        sudo.arg("env");
        sudo
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command.args(["-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Use-Pty=0"]);
    Some(command)
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_needs_no_installation() {
        static SHELL: [Need; 2] = [program(&["dash"], "sh"), file(&["base-files"], "/etc/os-release")];
        ensure("a shell", &[&SHELL]).unwrap();
    }

    #[test]
    fn a_file_that_is_missing_is_not_met() {
        assert!(!file(&["none"], "/nowhere/at/all").is_met());
        assert!(!Need { packages: &["none"], proof: Proof::Runs(&["false"]) }.is_met());
    }
}
