//! Device tree overlays: dtc has nothing to say about them, and they apply to the tree of the board they are for, with the
//! result that the drivers look for. The board's tree is the one of Linux as Debian packages it; the vendor's kernel
//! has a tree of its own with the same nodes, which only a build of that kernel can show.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::apt::{self, PrivateApt};
use micrun_testkit::unpacked::once;
use micrun_testkit::{Workspace, note, packages, shell};

use super::Check;

/// The overlay for the mica daemon on a Raspberry Pi 4, and what puts it on the boot partition.
const OVERLAY: &str =
    "meta-micrun/dynamic-layers/raspberrypi/recipes-bsp/micrun-mcs-overlay/files/micrun-mcs.dts";
const CONFIGURATION: &str = "meta-micrun/conf/include/micrun-rpi-baremetal.inc";

/// Where the board's tree comes from, and its name there.
const SUITE: &str = "bookworm";
const KERNEL: &str = "linux-image-arm64";
const BOARD: &str = "broadcom/bcm2711-rpi-4-b.dtb";

/// RAM above the graphics processor's share that a board of 2 GiB has: less than that cannot run this.
const USABLE: Range<u64> = 0x4000_0000..0x8000_0000;

/// How much of the first region micad and mcs_km use: pools from its start, large messages up to here.
const SHARED: u64 = 0xf0_0000;

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "devicetree: overlays compile without a warning", run: compiles },
        Check { name: "devicetree: the Raspberry Pi's overlay applies to the board's tree", run: applies },
        Check { name: "devicetree: config.txt names the overlay that is deployed", run: is_named },
    ]
}

fn compiles(workspace: &Workspace) -> Result<()> {
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    compile(workspace, scratch.path()).map(drop)
}

fn applies(workspace: &Workspace) -> Result<()> {
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (base, overlay) = (board(workspace)?, compile(workspace, scratch.path())?);
    let tree = Tree(scratch.path().join("tree.dtb"));
    let mut apply = Command::new("fdtoverlay");
    shell::quietly(apply.arg("-i").arg(&base.0).arg("-o").arg(&tree.0).arg(overlay))?;
    ensure!(tree.faults()? == base.faults()?, "the overlay adds faults to the tree:\n{}", tree.faults()?);

    let node = "/mcs-remoteproc";
    let driver = tree.get(node, "compatible", "s")?;
    ensure!(driver == "oe,mcs_remoteproc", "{node} is for {driver:?}, which mcs_km does not look for");
    let reserved = tree.reserved()?;
    let mut regions: Vec<Range<u64>> = Vec::new();
    for phandle in tree.get(node, "memory-region", "x")?.split_whitespace() {
        let region = reserved.get(phandle).with_context(|| format!("no memory has the phandle {phandle}"))?;
        let is_free = |other: &Range<u64>| region.end <= other.start || other.end <= region.start;
        ensure!(
            USABLE.start <= region.start && region.end <= USABLE.end,
            "{region:x?} is not in {USABLE:x?}"
        );
        ensure!(regions.iter().all(is_free), "{region:x?} overlaps one of {regions:x?}");
        regions.push(region.clone());
    }
    ensure!(regions.len() == 2, "{node} has {} regions: one is shared, one is the firmware's", regions.len());
    let shared = regions[0].end - regions[0].start;
    ensure!(shared >= SHARED, "the first region has {shared:#x} bytes, micad uses {SHARED:#x}");
    note(format_args!("{node}: {regions:x?} on {}", tree.get("/", "model", "s")?));
    Ok(())
}

fn is_named(workspace: &Workspace) -> Result<()> {
    let path = workspace.root().join(CONFIGURATION);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = Path::new(OVERLAY).file_stem().unwrap_or_default().to_string_lossy();
    for wanted in [format!("dtoverlay={name}\""), format!("devicetree/{name}.dtbo;overlays/{name}.dtbo")] {
        ensure!(text.contains(&wanted), "{CONFIGURATION} has no {wanted}");
    }
    Ok(())
}

/// As the recipe does it, and any word of the compiler is an error.
fn compile(workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
    packages::ensure("compiling device trees", &[&packages::DEVICE_TREES])?;
    let out = folder.join("overlay.dtbo");
    let mut dtc = Command::new("dtc");
    dtc.args(["-@", "-I", "dts", "-O", "dtb", "-o"]).arg(&out).arg(workspace.root().join(OVERLAY));
    let output = shell::capture(&mut dtc)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "`{}` said:\n{said}", shell::line(&dtc));
    Ok(out)
}

/// The board's tree, from the kernel's package.
fn board(workspace: &Workspace) -> Result<Tree> {
    let folder = workspace.kit("devicetree")?.join(SUITE);
    let announce = || {
        packages::ensure("fetching a device tree", &[&packages::RELEASES])?;
        note(format_args!("fetching {KERNEL} of Debian {SUITE} for its device tree, 60 MB"));
        Ok(())
    };
    once(&folder, announce, |part| {
        let apt = PrivateApt::stable(&workspace.kit("apt")?.join("devicetree"), SUITE, &["arm64"])?;
        let depends = apt.depends(KERNEL)?;
        let kernel = depends.first().with_context(|| format!("{KERNEL} depends on no kernel"))?;
        let deb = apt.download(kernel, part)?;
        apt::unpack_only(&deb, &[&format!("usr/lib/{kernel}/{BOARD}")], part)?;
        fs::rename(part.join("usr/lib").join(kernel).join(BOARD), part.join("board.dtb"))
            .context("cannot move the device tree")?;
        fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))
    })?;
    Ok(Tree(folder.join("board.dtb")))
}

/// A compiled device tree.
struct Tree(PathBuf);

impl Tree {
    /// What dtc finds wrong with it, without the name of the file in front.
    fn faults(&self) -> Result<String> {
        let output = shell::capture(Command::new("dtc").args(["-I", "dtb", "-O", "null"]).arg(&self.0))?;
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(said.replace(&*self.0.to_string_lossy(), ""))
    }

    fn get(&self, node: &str, property: &str, kind: &str) -> Result<String> {
        let mut fdtget = Command::new("fdtget");
        Ok(shell::output(fdtget.args(["-t", kind]).arg(&self.0).args([node, property]))?.trim().to_owned())
    }

    /// The reserved memory that Linux must not map, by phandle.
    fn reserved(&self) -> Result<BTreeMap<String, Range<u64>>> {
        let list = |option: &str, node: &str| {
            shell::output(Command::new("fdtget").arg(option).arg(&self.0).arg(node))
        };
        let mut found = BTreeMap::new();
        for name in list("-l", "/reserved-memory")?.lines() {
            let node = format!("/reserved-memory/{name}");
            let properties = list("-p", &node)?;
            let has = |wanted: &str| properties.lines().any(|property| property == wanted);
            if has("no-map") && has("phandle") {
                let region =
                    region(&self.get(&node, "reg", "x")?).with_context(|| format!("reg of {node}"))?;
                found.insert(self.get(&node, "phandle", "x")?, region);
            }
        }
        Ok(found)
    }
}

/// Two cells of address and one of size, as the root of this board has them.
fn region(cells: &str) -> Result<Range<u64>> {
    let cells: Vec<u64> =
        cells.split_whitespace().map(|cell| u64::from_str_radix(cell, 16)).collect::<Result<_, _>>()?;
    let [high, low, size] = cells[..] else { anyhow::bail!("{cells:x?} are not three cells") };
    let start = high << 32 | low;
    Ok(start..start + size)
}
