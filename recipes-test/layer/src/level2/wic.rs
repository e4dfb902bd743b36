//! Disks made by wic itself, with stand-ins for what a build would put on them. wic is a recipe of its own by now, whose source no
//! clone holds; openembedded-core's history has the wic that became it, with the same rules.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note, packages, shell};

use super::Check;
use crate::clones::Clones;

const LAYOUTS: &str = "meta-micrun/files/wic";

/// What a build would have made, as the layouts' templates and the images' variables name it.
const IMAGE: &str = "image";
const BOOT_FILES: &str = "grub.cfg;EFI/BOOT/grub.cfg grubenv;EFI/BOOT/grubenv";

/// The partitions of every disk.
const NAMES: [&str; 4] = ["esp", "rootfs.0", "rootfs.1", "data"];

/// What wic calls.
const TOOLS: [&str; 7] = ["dumpe2fs", "e2fsck", "fsck.ext4", "mkdosfs", "mkfs.ext4", "parted", "resize2fs"];

pub fn checks() -> Vec<Check> {
    vec![Check { name: "wic makes each disk", run: disks }]
}

fn disks(workspace: &Workspace, clones: &Clones) -> Result<()> {
    packages::ensure("making disks with wic", &[&packages::WIC])?;
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let wic = Wic::unpack(clones, scratch.path())?;
    let folder = workspace.root().join(LAYOUTS);
    let mut count = 0;
    for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
        let template = entry.context("cannot read the layouts")?.path();
        let disk = wic.create(&template)?;
        let table = table(&disk)?;
        ensure!(table == NAMES, "{} has the partitions {table:?}", template.display());
        let config =
            shell::output(Command::new("mdir").args(["-b", "-i"]).arg(first(&disk)).arg("::EFI/BOOT"))?;
        ensure!(config.contains("grub.cfg"), "the first partition lacks its files: {config}");
        note(format_args!("{}: {}", template.display(), table.join(", ")));
        count += 1;
    }
    ensure!(count > 0, "there is no layout in {LAYOUTS}");
    Ok(())
}

/// wic, and a folder that it finds everything in.
struct Wic {
    folder: PathBuf,
    path: String,
}

impl Wic {
    fn unpack(clones: &Clones, folder: &Path) -> Result<Self> {
        let core = clones.layer("openembedded-core");
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "safe.directory=*", "-C"]).arg(&core).args(arguments);
            git
        };
        let newest =
            shell::output(&mut git(&["log", "-1", "--format=%H", "--", "scripts/lib/wic/ksparser.py"]))?;
        ensure!(
            !newest.trim().is_empty(),
            "{} has no history that holds wic: clone it without --depth",
            core.display()
        );
        let before = format!("{}^", newest.trim());
        let archive = folder.join("wic.tar");
        let mut pack = git(&["archive", "-o"]);
        shell::quietly(pack.arg(&archive).args([&before, "scripts/wic", "scripts/lib"]))?;
        shell::quietly(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(folder))?;
        let library = [core.join("meta/lib"), clones.layer("bitbake").join("lib")];
        let path = library.map(|path| path.display().to_string()).join(":");
        let wic = Self { folder: folder.to_owned(), path };
        wic.tools()?;
        wic.artifacts()?;
        Ok(wic)
    }

    /// The folder of tools that a build would have made.
    fn tools(&self) -> Result<()> {
        let bin = self.folder.join("native/usr/sbin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
        for tool in TOOLS {
            symlink(Path::new("/sbin").join(tool), bin.join(tool)).context("cannot link a tool")?;
        }
        for tool in ["mcopy", "mmd", "mdir", "mdel", "dd"] {
            symlink(Path::new("/usr/bin").join(tool), bin.join(tool)).context("cannot link a tool")?;
        }
        // Debian's does not know the option, whose value is what it does anyway.
        let sfdisk = bin.join("sfdisk");
        let text = format!(
            "#!/bin/sh\n[ \"$1 $2\" = '--sector-size 512' ] && shift 2\nexec {} \"$@\"\n",
            packages::SFDISK
        );
        fs::write(&sfdisk, text)
            .and_then(|()| fs::set_permissions(&sfdisk, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", sfdisk.display()))
    }

    /// What a build would have deployed.
    fn artifacts(&self) -> Result<()> {
        let deploy = self.folder.join("deploy");
        fs::create_dir_all(&deploy).with_context(|| format!("cannot create {}", deploy.display()))?;
        for name in ["grub.cfg", "grubenv"] {
            fs::write(deploy.join(name), name).with_context(|| format!("cannot write {name}"))?;
        }
        let mut mkfs = Command::new(packages::MKFS_EXT4);
        shell::quietly(mkfs.arg("-q").arg(deploy.join(format!("{IMAGE}.ext4"))).arg("16M"))?;
        let at = |name: &str| self.folder.join(name).display().to_string();
        let variables = BTreeMap::from([
            ("DEPLOY_DIR_IMAGE", at("deploy")),
            ("IMAGE_BASENAME", IMAGE.to_owned()),
            ("IMAGE_BOOT_FILES", BOOT_FILES.to_owned()),
            ("IMAGE_ROOTFS", at("rootfs")),
            ("RECIPE_SYSROOT_NATIVE", at("native")),
        ]);
        let lines: String = variables.iter().map(|(name, value)| format!("{name}=\"{value}\"\n")).collect();
        fs::create_dir_all(self.folder.join("rootfs")).context("cannot create a root file system")?;
        fs::write(self.folder.join(format!("{IMAGE}.env")), lines).context("cannot write wic's variables")
    }

    /// The disk of a layout, with small partitions.
    fn create(&self, template: &Path) -> Result<PathBuf> {
        let text =
            fs::read_to_string(template).with_context(|| format!("cannot read {}", template.display()))?;
        let text = ["BOOT", "SLOT", "DATA"]
            .iter()
            .fold(text, |text, name| text.replace(&format!("${{MICRUN_{name}_SIZE}}"), "64"));
        let text = text.replace("${IMGDEPLOYDIR}", &self.folder.join("deploy").display().to_string());
        let text = text.replace("${IMAGE_LINK_NAME}", IMAGE);
        ensure!(!text.contains("${"), "{} has variables that nobody sets: {text}", template.display());
        let name = template.file_stem().context("a layout without a name")?;
        let (layout, out) = (self.folder.join(name), self.folder.join(name).with_extension("out"));
        fs::write(&layout, text).with_context(|| format!("cannot write {}", layout.display()))?;
        let mut wic = Command::new("python3");
        wic.arg(self.folder.join("scripts/wic")).arg("create").arg(&layout).args([
            "-e",
            IMAGE,
            "--no-fstab-update",
        ]);
        wic.arg("--vars").arg(&self.folder).arg("-n").arg(self.folder.join("native")).arg("-o").arg(&out);
        wic.arg("-w").arg(out.with_extension("work")).current_dir(&self.folder);
        wic.env("PYTHONPATH", &self.path).env("BUILDDIR", &self.folder).env("BBPATH", &self.folder);
        wic.env("PATH", format!("/usr/sbin:/sbin:{}", std::env::var("PATH").unwrap_or_default()));
        shell::quietly(&mut wic)?;
        let mut left =
            out.read_dir().context("wic left nothing")?.filter_map(|entry| Some(entry.ok()?.path()));
        let disk = left.find(|path| path.extension().is_some_and(|end| end == "direct"));
        disk.with_context(|| format!("wic left no disk in {}", out.display()))
    }
}

/// The names of a disk's partitions.
fn table(disk: &Path) -> Result<Vec<String>> {
    let dump = shell::output(Command::new(packages::SFDISK).arg("--dump").arg(disk))?;
    let name = |line: &str| Some(line.split_once("name=\"")?.1.split_once('"')?.0.to_owned());
    Ok(dump.lines().filter_map(name).collect())
}

/// How mtools call the first partition: wic aligned it to 4 MiB.
fn first(disk: &Path) -> String {
    format!("{}@@4M", disk.display())
}
