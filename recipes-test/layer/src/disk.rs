//! Disks for boards in QEMU: file systems of files, and a table of partitions over them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::{packages, shell};

const MIB: u64 = 1024 * 1024;

/// Makes an ext4 image of so many MiB with what is in a folder.
pub fn ext4(image: &Path, size: u64, tree: &Path) -> Result<()> {
    let mut mkfs = Command::new(packages::MKFS_EXT4);
    shell::quietly(mkfs.args(["-q", "-d"]).args([tree, image]).arg(format!("{size}M")))
}

/// Makes a FAT image of so many MiB with files, at their places in it; folders on the way are made.
pub fn fat(image: &Path, size: u64, files: &[(PathBuf, &str)]) -> Result<()> {
    empty(image, size)?;
    shell::quietly(Command::new(packages::MKFS_FAT).arg(image))?;
    let mut made = Vec::new();
    for (from, to) in files {
        for (end, _) in to.match_indices('/') {
            let folder = &to[..end];
            if !made.contains(&folder) {
                let mut mmd = Command::new("mmd");
                shell::quietly(mmd.arg("-i").arg(image).arg(format!("::/{folder}")))?;
                made.push(folder);
            }
        }
        let mut mcopy = Command::new("mcopy");
        shell::quietly(mcopy.arg("-i").arg(image).arg(from).arg(format!("::/{to}")))?;
    }
    Ok(())
}

/// Makes a disk of so many MiB whose partitions, all of one size in MiB, have these names and hold these images.
pub fn assemble(disk: &Path, size: u64, partition: u64, partitions: &[(&str, PathBuf)]) -> Result<()> {
    empty(disk, size)?;
    let table: String =
        partitions.iter().map(|(name, _)| format!("size={partition}MiB,name={name}\n")).collect();
    // It takes the table from its input, which the shell has for it.
    let mut sfdisk = Command::new("sh");
    sfdisk.args(["-c", "printf '%s' \"$1\" | \"$2\" -q \"$3\"", "sh"]).arg(format!("label: gpt\n{table}"));
    shell::quietly(sfdisk.arg(packages::SFDISK).arg(disk))?;
    for (number, (_, image)) in partitions.iter().enumerate() {
        // sfdisk starts at the first MiB.
        let start = 1 + u64::try_from(number)? * partition;
        let mut dd = Command::new("dd");
        dd.arg(format!("if={}", image.display())).arg(format!("of={}", disk.display()));
        shell::quietly(dd.args(["conv=notrunc", "bs=1M"]).arg(format!("seek={start}")))?;
    }
    Ok(())
}

/// An empty file of so many MiB.
fn empty(path: &Path, size: u64) -> Result<()> {
    let file = fs::File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    file.set_len(size * MIB).with_context(|| format!("cannot size {}", path.display()))
}
