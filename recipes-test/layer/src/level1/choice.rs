//! The slot that GRUB takes: `grub.cfg`, run by GRUB under UEFI in QEMU, with slots that say what was counted and restart, as
//! systems do that are never marked good.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::apt::{self, PrivateApt};
use micrun_testkit::node::FIRMWARE;
use micrun_testkit::node::base::{GRUB_PACKAGE, GRUB_SUITE};
use micrun_testkit::node::slots::{GRUB_MODULES, GRUB_START};
use micrun_testkit::unpacked::once;
use micrun_testkit::{Workspace, note, packages, shell};

use super::{Check, grub};
use crate::disk;
use crate::serial::Serial;

/// Of the disk and its partitions, in MiB.
const DISK: u64 = 128;
const PARTITION: u64 = 40;

/// Stands for a system. It is what a slot has in the place of its own `boot.cfg`.
const SYSTEM: &str = "echo STARTED $slot: $A_OK $A_TRY $B_OK $B_TRY.\nreboot\n";

/// GRUB's environment, of 1024 bytes.
const MEMORY: usize = 1024;

pub fn checks() -> Vec<Check> {
    vec![
        Check {
            name: "grub: a slot is tried as often as it may, then the other, then all again",
            run: counts,
        },
        Check { name: "grub: a slot that was marked bad has no turn again", run: bad_slot },
        Check { name: "grub: an environment that was cut off is taken from its copy", run: cut_off },
        Check { name: "grub: where nothing can be booted, the board starts again", run: nothing },
    ]
}

fn counts(workspace: &Workspace) -> Result<()> {
    let whole = memory("B A", "1 2 1 2");
    let board = Board::new(workspace, &whole, &whole, true)?;
    let mut serial = board.start()?;
    serial.expect("STARTED B: 1 2 1 3.")?;
    serial.expect("STARTED A: 1 3 1 3.")?;
    serial.expect("STARTED B: 1 0 1 1.")?;
    Ok(())
}

/// As `micrun-verdict good` leaves it: B was begun in vain, A was good. Then A has three short boots.
fn bad_slot(workspace: &Workspace) -> Result<()> {
    let whole = memory("B A", "1 2 0 0");
    let board = Board::new(workspace, &whole, &whole, true)?;
    let mut serial = board.start()?;
    serial.expect("STARTED A: 1 3 0 0.")?;
    serial.expect("STARTED A: 1 1 0 0.")?;
    ensure!(!serial.seen().contains("STARTED B"), "slot B is bad and had a turn: {}", serial.seen());
    Ok(())
}

fn cut_off(workspace: &Workspace) -> Result<()> {
    let board = Board::new(workspace, "", &memory("B A", "0 0 1 0"), true)?;
    let mut serial = board.start()?;
    serial.expect("STARTED B: 0 0 1 1.")?;
    serial.expect("STARTED B: 0 0 1 2.")?;
    Ok(())
}

fn nothing(workspace: &Workspace) -> Result<()> {
    let whole = memory("A B", "1 0 0 0");
    let board = Board::new(workspace, &whole, &whole, false)?;
    let mut serial = board.start()?;
    serial.expect("No slot can be booted. Once more in 10 seconds.")?;
    serial.expect("No slot can be booted. Once more in 10 seconds.")?;
    Ok(())
}

/// An environment with this order, and with these values of `A_OK`, `A_TRY`, `B_OK` and `B_TRY`.
fn memory(order: &str, values: &str) -> String {
    let names = ["A_OK", "A_TRY", "B_OK", "B_TRY"];
    let values: String =
        names.iter().zip(values.split(' ')).map(|(name, value)| format!("{name}={value}\n")).collect();
    let mut block = format!("# GRUB Environment Block\nORDER={order}\n{values}");
    block.extend(std::iter::repeat_n('#', MEMORY - block.len()));
    block
}

/// A board with its disk.
struct Board {
    folder: tempfile::TempDir,
}

impl Board {
    /// With these two files for GRUB's memory, and with systems in both slots or in none.
    fn new(workspace: &Workspace, grubenv: &str, copy: &str, systems: bool) -> Result<Self> {
        packages::ensure(
            "running GRUB's configuration",
            &[&packages::GRUB, &packages::GRUB_BOARD, &packages::RELEASES],
        )?;
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            fs::write(at(name), text).with_context(|| format!("cannot write {}", at(name).display()))
        };
        write("start.cfg", GRUB_START)?;
        write("grubenv", grubenv)?;
        write("grubenv.copy", copy)?;
        let mut mkimage = Command::new("grub-mkimage");
        mkimage.args(["-O", "arm64-efi", "-p", "/EFI/BOOT", "-d"]).arg(modules(workspace)?);
        mkimage.arg("-c").arg(at("start.cfg")).arg("-o").arg(at("grub.efi")).args(GRUB_MODULES);
        shell::quietly(&mut mkimage)?;
        let files = [
            (at("grub.efi"), "EFI/BOOT/BOOTAA64.EFI"),
            (workspace.root().join(grub::FOLDER).join("grub.cfg"), "EFI/BOOT/grub.cfg"),
            (at("grubenv"), "EFI/BOOT/grubenv"),
            (at("grubenv.copy"), "EFI/BOOT/grubenv.copy"),
        ];
        disk::fat(&at("esp.img"), PARTITION, &files)?;
        let boot = at("slot/boot");
        fs::create_dir_all(&boot).with_context(|| format!("cannot create {}", boot.display()))?;
        if systems {
            write("slot/boot/boot.cfg", SYSTEM)?;
        }
        disk::ext4(&at("slot.img"), PARTITION, &at("slot"))?;
        let partitions = [("esp", at("esp.img")), ("rootfs.0", at("slot.img")), ("rootfs.1", at("slot.img"))];
        disk::assemble(&at("disk.img"), DISK, PARTITION, &partitions)?;
        Ok(Self { folder })
    }

    fn start(&self) -> Result<Serial> {
        let mut qemu = Command::new("qemu-system-aarch64");
        qemu.args(["-M", "virt", "-cpu", "cortex-a57", "-m", "512", "-display", "none", "-monitor", "none"]);
        qemu.args(["-nodefaults", "-nic", "none", "-bios", FIRMWARE, "-serial", "stdio", "-drive"]);
        qemu.arg(format!(
            "if=none,id=disk,format=raw,file={}",
            self.folder.path().join("disk.img").display()
        ));
        Serial::start(qemu.args(["-device", "virtio-blk-device,drive=disk,bootindex=0"]))
    }
}

/// GRUB's modules; downloaded once.
fn modules(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.kit("grub")?.join(GRUB_SUITE);
    let announce = || {
        note(format_args!("fetching {GRUB_PACKAGE} of Debian {GRUB_SUITE}"));
        Ok(())
    };
    once(&folder, announce, |part: &Path| {
        let apt = PrivateApt::stable(&workspace.kit("apt")?.join("grub"), GRUB_SUITE, &["arm64"])?;
        let deb = apt.download(GRUB_PACKAGE, part)?;
        apt::unpack(&deb, part)?;
        fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))
    })?;
    Ok(folder.join("usr/lib/grub/arm64-efi"))
}
