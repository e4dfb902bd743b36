//! QEMU with the node's disks. It lives in a namespace of its own, so that it ends with this program, however that ends.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::agent::Agent;
use super::disk::Disks;
use super::initramfs::ROOT_SERIAL;
use crate::namespace::Namespace;
use crate::wait;

/// UEFI for QEMU's Arm board.
pub const FIRMWARE: &str = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";

/// The agent's port; its unit names it, too.
const PORT: &str = "org.openeuler.micrun.node";

/// From power on to the agent's first word: 15 s on an idle machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// From whatever makes it restart until it does: a boot and a health check that waits, on a busy machine.
const END: Duration = Duration::from_secs(600);

/// How much of the serial log a failure shows.
const SHOWN: usize = 8 << 10;

/// The virtual machine.
#[derive(Debug)]
pub struct Machine {
    qemu: Child,
    _namespace: Namespace,
}

impl Machine {
    /// Switches it on, which is a command of [`with_disks`] or [`with_slots`], and waits for the agent.
    ///
    /// # Errors
    /// If QEMU does not start, or the agent is not heard of, with the end of the serial log.
    pub fn start(mut command: Command, serial: &Path) -> Result<(Self, Agent)> {
        let namespace = Namespace::new("micrun-node")?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut qemu = namespace.spawn(&mut command)?;
        let (input, output) = (qemu.stdin.take(), qemu.stdout.take());
        let machine = Self { qemu, _namespace: namespace };
        let (input, output) = input.zip(output).context("QEMU has no pipes")?;
        let (sender, agent) = mpsc::channel();
        thread::spawn(move || sender.send(Agent::meet(output, input)));
        match agent.recv_timeout(PATIENCE) {
            Ok(Ok(agent)) => Ok((machine, agent)),
            Ok(Err(error)) => {
                bail!("the node did not boot: {error:#}. Its console:\n{}", end_of(serial))
            }
            Err(_) => bail!(
                "the node did not boot within {} s. Its console:\n{}",
                PATIENCE.as_secs(),
                end_of(serial)
            ),
        }
    }

    /// Waits until it switches itself off: a restart does that, too.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait_for_end(&mut self) -> Result<()> {
        wait::within(END, "the node to restart or to switch itself off", || Ok(self.qemu.try_wait()?))
            .map(drop)
    }
}

/// The last that the serial console said.
fn end_of(serial: &Path) -> String {
    let log = std::fs::read(serial).unwrap_or_default();
    let end = log.get(log.len().saturating_sub(SHOWN)..).unwrap_or_default();
    String::from_utf8_lossy(end).replace('\r', "")
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what we want.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A node of [`Disks`]. Nothing is written to them.
pub fn with_disks(disks: &Disks, serial: &Path) -> Command {
    let mut qemu = qemu(serial);
    qemu.arg("-drive")
        .arg(format!("if=none,id=esp,format=raw,readonly=on,file=fat:{}", disks.esp().display()));
    qemu.args(["-device", "virtio-blk-device,drive=esp,bootindex=0"]);
    qemu.arg("-drive").arg(format!("if=none,id=root,format=raw,snapshot=on,file={}", disks.root().display()));
    qemu.arg("-device").arg(format!("virtio-blk-device,drive=root,serial={ROOT_SERIAL}"));
    qemu
}

/// A node with slots: one disk, and a stick that it only reads. What the node has written to the disk is there after QEMU
/// was killed; what Linux still kept in its memory is lost, as it is when the power goes. `cache=unsafe`: the machine under
/// QEMU does not fail, so nobody has to wait for its disk.
pub fn with_slots(disk: &Path, stick: &Path, serial: &Path) -> Command {
    let mut qemu = qemu(serial);
    qemu.arg("-drive").arg(format!("if=none,id=disk,format=raw,cache=unsafe,file={}", disk.display()));
    qemu.args(["-device", "virtio-blk-device,drive=disk,bootindex=0"]);
    qemu.arg("-drive").arg(format!("if=none,id=stick,format=raw,readonly=on,file={}", stick.display()));
    qemu.args(["-device", "virtio-blk-device,drive=stick"]);
    qemu
}

/// The agent's port is QEMU's own stdin and stdout. No device is on a PCI bus: `initramfs` says why. There is no network.
fn qemu(serial: &Path) -> Command {
    let mut qemu = Command::new("qemu-system-aarch64");
    // Xen takes the device tree, so there must be no ACPI.
    qemu.args(["-M", "virt,virtualization=on,gic-version=3,acpi=off", "-cpu", "cortex-a57"]);
    // A second emulated CPU makes everything slower.
    qemu.args(["-smp", "1", "-m", "2G", "-nodefaults", "-nic", "none", "-no-reboot", "-display", "none"]);
    qemu.arg("-serial").arg(format!("file:{}", serial.display()));
    qemu.args(["-bios", FIRMWARE]);
    qemu.args(["-chardev", "stdio,id=agent,signal=off", "-device", "virtio-serial-device"]);
    qemu.arg("-device").arg(format!("virtserialport,chardev=agent,name={PORT}"));
    qemu
}
