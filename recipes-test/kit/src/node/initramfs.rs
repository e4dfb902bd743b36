//! The first root of Dom0: it loads what reaches the disk and goes on to the real one. Debian's kernel has drivers for
//! NVMe and PCI built in, but QEMU's NVMe can hold its interrupt too long for Linux under Xen, which then gives that
//! interrupt up; virtio without PCI does not, and is two modules.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::base::Base;
use crate::shell;

/// What QEMU calls the disk with the root file system.
pub const ROOT_SERIAL: &str = "root";

/// In this order.
const MODULES: [&str; 2] = ["drivers/virtio/virtio_mmio", "drivers/block/virtio_blk"];

/// The program of the first root. The real one is the partition that the command line names, or else the disk with our
/// serial number.
pub fn script() -> String {
    let load: String =
        MODULES.iter().map(|module| format!("insmod /{}.ko\n", name(module))).collect::<Vec<_>>().concat();
    format!(
        "#!/bin/busybox sh\n\
         export PATH=/bin\n\
         /bin/busybox --install /bin\n\
         mount -t devtmpfs dev /dev\n\
         mount -t sysfs sys /sys\n\
         mount -t proc proc /proc\n\
         {load}\
         wanted='^{ROOT_SERIAL}$' among='/sys/block/vd*/serial' how=rw,noatime\n\
         for word in $(cat /proc/cmdline); do\n\
         case $word in\n\
         root=PARTLABEL=*) wanted=\"^PARTNAME=${{word#root=PARTLABEL=}}\\$\" among='/sys/block/vd*/vd*/uevent' ;;\n\
         ro) how=ro ;;\n\
         esac\n\
         done\n\
         until disk=$(grep -l \"$wanted\" $among 2>/dev/null); do usleep 20000; done\n\
         disk=${{disk%/*}}\n\
         mount -t ext4 -o $how \"/dev/${{disk##*/}}\" /root\n\
         umount /sys /proc\n\
         mount -o move /dev /root/dev\n\
         exec switch_root /root /usr/sbin/init\n"
    )
}

/// Makes it, as a cpio archive.
///
/// # Errors
/// If the base lacks a module or busybox, or there is no room.
pub fn make(base: &Base, scratch: &Path, archive: &Path) -> Result<()> {
    let doing = || format!("cannot make {}", archive.display());
    for folder in ["bin", "dev", "proc", "sys", "root"] {
        fs::create_dir_all(scratch.join(folder)).with_context(doing)?;
    }
    fs::copy(base.root().join("usr/bin/busybox"), scratch.join("bin/busybox")).with_context(doing)?;
    for module in MODULES {
        let to = File::create(scratch.join(format!("{}.ko", name(module)))).with_context(doing)?;
        shell::quietly(Command::new("xz").arg("-dc").arg(base.module(module)?).stdout(to))?;
    }
    let init = scratch.join("init");
    fs::write(&init, script()).with_context(doing)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).with_context(doing)?;
    let mut cpio = Command::new("sh");
    cpio.args(["-c", "find . | cpio --create --quiet --format=newc --owner=+0:+0 --file=\"$1\"", "sh"]);
    shell::quietly(cpio.arg(archive).current_dir(scratch))?;
    fs::remove_dir_all(scratch).with_context(doing)
}

fn name(module: &str) -> &str {
    module.rsplit('/').next().unwrap_or(module)
}
