//! The boot scripts of boards without UEFI, run by U-Boot: Debian's build for the Raspberry Pi 3, on QEMU's, with an SD card as
//! `files/wic/micrun-raspberrypi.wks.in` describes it. Its environment is on the FAT partition, as on a product's; there are not
//! two copies of it, which only our own build has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::apt::{self, PrivateApt};
use micrun_testkit::unpacked::once;
use micrun_testkit::{Workspace, note, packages, shell};

use super::Check;
use crate::disk;
use crate::serial::Serial;

/// The scripts.
const SCRIPTS: &str = "meta-micrun/recipes-bsp/u-boot/files";
/// What they start here, and the device tree that they are given.
const STAND_INS: &str = "recipes-test/layer/u-boot";

/// Where U-Boot comes from.
const SUITE: &str = "bookworm";
const PACKAGE: &str = "u-boot-rpi";
const BINARY: &str = "usr/lib/u-boot/rpi_3/u-boot.bin";

/// What the scripts' placeholders become.
const ARGUMENTS: [(&str, &str); 3] = [
    ("@XEN_ARGS@", "console=dtuart dom0_mem=512M"),
    ("@DOM0_ARGS@", "console=hvc0 panic=10"),
    ("@KERNEL_ARGS@", "console=ttyS1,115200 panic=10"),
];

/// Of the card and its partitions, in MiB. QEMU takes cards whose size is a power of two.
const CARD: u64 = 128;
const PARTITION: u64 = 32;

pub fn checks() -> Vec<Check> {
    vec![
        Check {
            name: "u-boot: a slot is tried as often as it may, then the other, then all again",
            run: counts,
        },
        Check {
            name: "u-boot: a slot that was marked bad has no turn again, unless nothing else can be loaded",
            run: bad_slots,
        },
        Check {
            name: "u-boot: a slot that cannot be loaded is passed over, and Xen gets what it asks for",
            run: passes_over,
        },
    ]
}

/// Neither slot is ever marked good.
fn counts(workspace: &Workspace) -> Result<()> {
    let board = Board::new(workspace, &[("Image", "Linux of A")], &[("Image", "Linux of B")])?;
    let mut serial = board.start()?;
    // As RAUC leaves them when it has tried a slot twice.
    serial.stop_at_prompt(&["setenv BOOT_A_LEFT 1", "setenv BOOT_B_LEFT 1"])?;
    serial.expect("Slot A, rootfs.0: boots left, with this one: 1")?;
    serial.expect("STARTED Linux of A")?;
    let tree = serial.expect("ENDED Linux of A")?;
    let wanted = "firmware.says=hello root=PARTLABEL=rootfs.0 ro rootwait=60 rauc.slot=A fsck.repair=yes console=ttyS1,115200 panic=10";
    ensure!(tree.contains(wanted), "Linux is told something else than {wanted}: {tree}");
    serial.expect("Slot B, rootfs.1: boots left, with this one: 1")?;
    serial.expect("STARTED Linux of B")?;
    serial.expect("root=PARTLABEL=rootfs.1 ro rootwait=60 rauc.slot=B")?;
    serial.expect("No slot could be begun: all of them get their boots back")?;
    serial.expect("Slot A, rootfs.0: boots left, with this one: 3")?;
    serial.expect("STARTED Linux of A")?;
    Ok(())
}

/// As it is when one slot was left after three boots in vain, and the other was good.
fn bad_slots(workspace: &Workspace) -> Result<()> {
    let board = Board::new(workspace, &[("Image", "Linux of A")], &[("Image", "Linux of B")])?;
    let mut serial = board.start()?;
    serial.stop_at_prompt(&["setenv BOOT_ORDER A", "setenv BOOT_A_LEFT 1", "setenv BOOT_B_LEFT 0"])?;
    serial.expect("STARTED Linux of A")?;
    let again = serial.expect("STARTED Linux of A")?;
    ensure!(again.contains("all of them get their boots back"), "why did A have another turn? {again}");
    ensure!(!again.contains("Slot B"), "slot B is bad and had a turn: {again}");

    drop(serial);
    let board = Board::new(workspace, &[("Image", "Linux of A")], &[])?;
    let mut serial = board.start()?;
    serial.stop_at_prompt(&["setenv BOOT_ORDER B"])?;
    serial.expect("Slot B cannot be booted")?;
    serial.expect("STARTED Linux of A")?;

    drop(serial);
    let board = Board::new(workspace, &[], &[])?;
    let mut serial = board.start()?;
    serial.stop_at_prompt(&[])?;
    serial.expect("No slot can be booted. Once more in 10 seconds")?;
    serial.expect("resetting")?;
    serial.expect("No slot can be booted")?;
    Ok(())
}

/// Slot B is wanted, and empty; slot A has a hypervisor.
fn passes_over(workspace: &Workspace) -> Result<()> {
    let board = Board::new(workspace, &[("Image", "Dom0"), ("xen", "Xen")], &[])?;
    let mut serial = board.start()?;
    serial.stop_at_prompt(&["setenv BOOT_ORDER B A", "setenv BOOT_B_LEFT 3"])?;
    serial.expect("Slot B cannot be booted")?;
    serial.expect("Slot A, rootfs.0: boots left, with this one: 3")?;
    serial.expect("STARTED Xen")?;
    let tree = serial.expect("ENDED Xen")?;
    let dom0 = "firmware.says=hello root=PARTLABEL=rootfs.0 ro rootwait=60 rauc.slot=A fsck.repair=yes console=hvc0 panic=10";
    for wanted in [dom0, "console=dtuart dom0_mem=512M", "xen,multiboot-module", "xen,dom0-bootargs"] {
        ensure!(tree.contains(wanted), "Xen's device tree lacks {wanted}: {tree}");
    }
    ensure!(!serial.seen().contains("could not convert"), "U-Boot refused a value: {}", serial.seen());
    Ok(())
}

/// A board with its card.
struct Board {
    folder: tempfile::TempDir,
    binary: PathBuf,
}

impl Board {
    /// With these files in /boot of A and B, and what they say when they are started. A slot without any is empty.
    fn new(workspace: &Workspace, a: &[(&str, &str)], b: &[(&str, &str)]) -> Result<Self> {
        packages::ensure("running U-Boot's scripts", &[&packages::U_BOOT, &packages::RELEASES])?;
        let board = Self {
            folder: tempfile::tempdir().context("cannot make a temporary folder")?,
            binary: binary(workspace)?,
        };
        let at = |name: &str| board.folder.path().join(name);
        let mut dtc = Command::new("dtc");
        dtc.args(["-q", "-I", "dts", "-O", "dtb", "-o"]).arg(at("board.dtb"));
        shell::quietly(dtc.arg(workspace.root().join(STAND_INS).join("board.dts")))?;
        board.scripts(&workspace.root().join(SCRIPTS))?;
        for (name, files) in [("a", a), ("b", b)] {
            board.slot(&workspace.root().join(STAND_INS), name, files)?;
        }
        disk::fat(&at("boot.img"), PARTITION, &[(at("boot.scr"), "boot.scr")])?;
        let partitions = [("esp", at("boot.img")), ("rootfs.0", at("a.img")), ("rootfs.1", at("b.img"))];
        disk::assemble(&at("card.img"), CARD, PARTITION, &partitions)?;
        Ok(board)
    }

    fn scripts(&self, from: &Path) -> Result<()> {
        let slot = from.join("slot.cmd.in");
        let mut text =
            fs::read_to_string(&slot).with_context(|| format!("cannot read {}", slot.display()))?;
        for (placeholder, value) in ARGUMENTS {
            ensure!(text.contains(placeholder), "{} has no {placeholder}", slot.display());
            text = text.replace(placeholder, value);
        }
        let slot = self.folder.path().join("slot.cmd");
        fs::write(&slot, text).with_context(|| format!("cannot write {}", slot.display()))?;
        for (source, name) in [(from.join("boot.cmd"), "boot.scr"), (slot, "slot.scr")] {
            let mut mkimage = Command::new("mkimage");
            mkimage.args(["-A", "arm64", "-T", "script", "-C", "none", "-n", name, "-d"]).arg(source);
            shell::quietly(mkimage.arg(self.folder.path().join(name)))?;
        }
        Ok(())
    }

    fn slot(&self, sources: &Path, name: &str, files: &[(&str, &str)]) -> Result<()> {
        let (tree, image) = (self.folder.path().join(name), self.folder.path().join(format!("{name}.img")));
        let boot = tree.join("boot");
        fs::create_dir_all(&boot).with_context(|| format!("cannot create {}", boot.display()))?;
        for (file, says) in files {
            compile(sources, says, &boot.join(file))?;
            fs::copy(self.folder.path().join("slot.scr"), boot.join("slot.scr"))
                .with_context(|| format!("cannot fill {}", boot.display()))?;
        }
        disk::ext4(&image, PARTITION, &tree)
    }

    fn start(&self) -> Result<Serial> {
        let mut qemu = Command::new("qemu-system-aarch64");
        qemu.args(["-M", "raspi3b", "-display", "none", "-monitor", "none", "-kernel"]).arg(&self.binary);
        qemu.arg("-dtb").arg(self.folder.path().join("board.dtb"));
        let card = self.folder.path().join("card.img");
        qemu.arg("-drive").arg(format!("if=sd,format=raw,file={}", card.display()));
        // The second serial port is the one that a Pi's U-Boot uses.
        Serial::start(qemu.args(["-serial", "null", "-serial", "stdio"]))
    }
}

/// Compiles what stands for a kernel.
fn compile(sources: &Path, says: &str, to: &Path) -> Result<()> {
    let elf = to.with_extension("elf");
    let mut gcc = Command::new("aarch64-linux-gnu-gcc");
    gcc.args([
        "-Os",
        "-ffreestanding",
        "-nostdlib",
        "-static",
        "-fno-pic",
        "-mgeneral-regs-only",
        "-mstrict-align",
    ]);
    gcc.args(["-Wall", "-Werror", "-Wl,--build-id=none"]).arg(format!("-DNAME=\"{says}\""));
    gcc.arg(format!("-Wl,-T,{}", sources.join("kernel.ld").display()));
    shell::quietly(gcc.arg("-o").arg(&elf).arg(sources.join("kernel.c")))?;
    let mut objcopy = Command::new("aarch64-linux-gnu-objcopy");
    shell::quietly(objcopy.args(["-O", "binary"]).arg(&elf).arg(to))?;
    fs::remove_file(&elf).with_context(|| format!("cannot remove {}", elf.display()))
}

/// U-Boot; downloaded once.
fn binary(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.kit("u-boot")?.join(SUITE);
    let announce = || {
        note(format_args!("fetching {PACKAGE} of Debian {SUITE}"));
        Ok(())
    };
    once(&folder, announce, |part| {
        let apt = PrivateApt::stable(&workspace.kit("apt")?.join("devicetree"), SUITE, &["arm64"])?;
        let deb = apt.download(PACKAGE, part)?;
        apt::unpack_only(&deb, &[BINARY], part)?;
        fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))
    })?;
    Ok(folder.join(BINARY))
}
