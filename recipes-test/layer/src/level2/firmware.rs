//! The class `micrun-firmware`, with the recipes of recipes-test that use it: firmware that is built with the build's own
//! compiler, with that of a multiconfig, and firmware that somebody else has built.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::apt::PrivateApt;
use micrun_testkit::product::cargo;
use micrun_testkit::{Workspace, note, packages, shell, step};

use super::Check;
use super::bitbake::{Bitbake, Kind};
use super::build;
use crate::clones::Clones;

/// The build directory.
const NAME: &str = "firmware";

/// A compiler for another core, as the build would make one.
const RISCV64: &str = r#"BBMULTICONFIG = "micrun-riscv64"
TARGET_PREFIX:riscv64 = "riscv64-linux-gnu-"
ASSUME_PROVIDED += "gcc-cross-riscv64 binutils-cross-riscv64"
HOSTTOOLS += "riscv64-linux-gnu-ar riscv64-linux-gnu-as riscv64-linux-gnu-cpp riscv64-linux-gnu-gcc"
HOSTTOOLS += "riscv64-linux-gnu-ld riscv64-linux-gnu-nm riscv64-linux-gnu-objcopy riscv64-linux-gnu-objdump"
HOSTTOOLS += "riscv64-linux-gnu-ranlib riscv64-linux-gnu-readelf riscv64-linux-gnu-strings riscv64-linux-gnu-strip""#;

/// The Debian release that the recipe of U-Boot takes it from, and the package.
const DEBIAN: (&str, &str) = ("bookworm", "u-boot-qemu");

/// A recipe, and what its variables tell the image builder.
struct Recipe {
    name: &'static str,
    version: &'static str,
    options: &'static [&'static str],
}

const RECIPES: [Recipe; 5] = [
    ours("test-firmware-qemu-arm64", &["--board", "qemu_arm64", "--rtos", "baremetal", "--set", "Memory=16"]),
    ours("test-firmware-xen-arm64", &["--board", "xen_arm64", "--rtos", "baremetal", "--set", "Memory=16"]),
    ours(
        "test-firmware-xen-arm64-vuart",
        &["--board", "xen_arm64_vuart", "--rtos", "baremetal", "--set", "Memory=16"],
    ),
    ours(
        "test-firmware-qemu-riscv64",
        &["--board", "qemu-riscv64", "--rtos", "baremetal", "--set", "Memory=16"],
    ),
    Recipe { name: "u-boot-guest-qemu-arm64", version: "2023.01", options: &["--board", "qemu_arm64"] },
];

const fn ours(name: &'static str, options: &'static [&'static str]) -> Recipe {
    Recipe { name, version: "0.1.0", options }
}

pub fn checks() -> Vec<Check> {
    vec![
        Check {
            name: "firmware recipes package the archive alone, and it is the one packed by hand",
            run: builds,
        },
        Check { name: "firmware built in another folder gives the same archive", run: elsewhere },
        Check { name: "firmware that cannot run fails its build with the builder's finding", run: refusals },
        Check { name: "firmware is a package of its own in the bill of materials", run: materials },
        Check { name: "micad-sim builds for arm64, from this clone", run: simulator },
    ]
}

/// With a folder for its results that is empty, since Debian's pseudo does not forgive a second build in the first one's.
/// The image builder is the release's, which is built once for all of them.
fn bitbake(workspace: &Workspace, clones: &Clones, tmp: &str) -> Result<(Bitbake, PathBuf)> {
    packages::ensure("firmware for other cores", &[&packages::DEMO, &packages::GUESTS])?;
    let bitbake = build::from_tag(Bitbake::new(workspace, clones, NAME, Kind::Aarch64)?.set(RISCV64))?;
    let folder = bitbake.dir().to_owned();
    for old in [folder.join(tmp), folder.join("tmp-micrun-riscv64")] {
        if old.exists() {
            fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    let bitbake = bitbake.set(&format!("TMPDIR = \"${{TOPDIR}}/{tmp}\""));
    Ok((bitbake, folder.join(tmp)))
}

fn builds(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let (bitbake, tmp) = bitbake(workspace, clones, "tmp")?;
    download(workspace)?;
    let names: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
    bitbake.run(&names)?;
    let builder = builder(workspace)?;
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    for recipe in &RECIPES {
        package_holds_the_archive_alone(&tmp, recipe)?;
        let by_hand = scratch.path().join("by-hand.tar");
        let digest = pack(&builder, &deployed(&tmp, recipe.name, "elf"), recipe, &by_hand)?;
        let built = deployed(&tmp, recipe.name, "oci.tar");
        ensure!(read(&built)? == read(&by_hand)?, "{} differs from what the builder packs", built.display());
        let noted = read(&deployed(&tmp, recipe.name, "digest"))?;
        ensure!(noted.trim_ascii() == digest.as_bytes(), "{} was noted with another digest", recipe.name);
        note(format_args!("{} {digest}", recipe.name));
    }
    Ok(())
}

/// The second one declares a guest, too, which is no part of the image.
fn elsewhere(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let recipe = &RECIPES[1];
    // Any file will do: nobody reads it here.
    let guest = "${S}/VERSION";
    let declares = format!("MICRUN_GUEST:pn-{} = \"{guest}\"", recipe.name);
    let mut archives = Vec::new();
    for (tmp, line) in [("tmp", ""), ("tmp-in-a-folder-with-a-longer-name", declares.as_str())] {
        let (bitbake, tmp) = bitbake(workspace, clones, tmp)?;
        // From its sources, not from what another build has left.
        bitbake.set(line).run(&["-C", "unpack", recipe.name])?;
        archives.push(read(&deployed(&tmp, recipe.name, "oci.tar"))?);
        let held = files_of(&tmp.join("deploy/deb/qemuarm64"), recipe.name)?;
        let declared = format!("./usr/share/micrun/guests.d/{}.toml", recipe.name);
        ensure!(held.contains(&declared) != line.is_empty(), "the package holds {held:?}");
    }
    ensure!(archives[0] == archives[1], "{} depends on where it is built", recipe.name);
    Ok(())
}

/// A board with another core, a program for Linux, a file that is not there; and an error that the recipe allows.
fn refusals(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let recipe = "test-firmware-xen-arm64";
    let said = |setting: &str| -> Result<(bool, String)> {
        let (bitbake, _) = bitbake(workspace, clones, "tmp")?;
        let said = bitbake.set(setting).attempt("bitbake", &["-f", "-c", "micrun_check", recipe])?;
        Ok((said.success, said.text))
    };
    let variable = |name: &str, value: &str| format!("{name}:pn-{recipe} = \"{value}\"");
    for (setting, finding) in [
        (variable("MICRUN_FIRMWARE_BOARD", "qemu_cortex_m3"), "do_micrun_check: MIC706: "),
        (variable("MICRUN_FIRMWARE", "/bin/true"), "do_micrun_check: MIC201: "),
        (variable("MICRUN_FIRMWARE", "${B}/missing.elf"), "there is no such file"),
    ] {
        let (success, text) = said(&setting)?;
        ensure!(
            !success && text.contains(finding),
            "with {setting} the build should fail with {finding}:\n{text}"
        );
    }
    let allowed =
        [variable("MICRUN_FIRMWARE", "/bin/true"), variable("MICRUN_FIRMWARE_ALLOW", "MIC201")].join("\n");
    let (_, text) = said(&allowed)?;
    ensure!(
        text.lines().any(|line| line.starts_with("WARNING: ") && line.contains("MIC201")),
        "an error that is allowed should be a warning:\n{text}"
    );
    Ok(())
}

/// SPDX 3, as `create-spdx` writes it.
fn materials(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let (bitbake, tmp) = bitbake(workspace, clones, "tmp")?;
    let recipe = &RECIPES[1];
    bitbake.run(&["-c", "create_package_spdx", recipe.name])?;
    let document =
        tmp.join(format!("deploy/spdx/3.0.1/qemuarm64/packages/package-{}.spdx.json", recipe.name));
    let text = String::from_utf8(read(&document)?).context("it is no text")?;
    for wanted in ["\"firmware\"", "cpe:2.3:*:*:micrun-test-firmware:0.1.0:", "usr/share/micrun/images/"] {
        ensure!(text.contains(wanted), "{} does not hold {wanted}", document.display());
    }
    Ok(())
}

fn simulator(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let bitbake = build::development(workspace, clones)?;
    bitbake.run(&["micad-sim"])?;
    let wanted = BTreeSet::from(["./usr/bin/micad-sim".to_owned()]);
    let held = files_of(&bitbake.dir().join("tmp/deploy/deb/cortexa57"), "micad-sim")?;
    ensure!(held == wanted, "the package micad-sim holds {held:?}");
    Ok(())
}

/// The recipe's own file, where bitbake looks before it would ask the network.
fn download(workspace: &Workspace) -> Result<()> {
    let (suite, package) = DEBIAN;
    step(format_args!("Downloading {package} of {suite}"));
    let apt = PrivateApt::stable(&workspace.kit("apt")?.join("firmware"), suite, &["amd64"])?;
    apt.download(package, &workspace.kit("oe")?.join("downloads")).map(drop)
}

/// The builder of this workspace; bitbake's was built with another compiler.
fn builder(workspace: &Workspace) -> Result<PathBuf> {
    step("Building the image builder, to pack by hand");
    shell::run(cargo(workspace).args(["build", "--quiet", "-p", "micrun-image-builder"]))?;
    Ok(workspace.target().join("debug/micrun-image-builder"))
}

/// Packs as somebody does who knows nothing of bitbake, and returns the image's digest.
fn pack(builder: &Path, elf: &Path, recipe: &Recipe, archive: &Path) -> Result<String> {
    let tag = format!("localhost/{}:{}", recipe.name, recipe.version);
    let mut pack = Command::new(builder);
    pack.arg("pack").arg(elf).args(recipe.options).args(["--tag", &tag, "--platform", "linux/arm64"]);
    pack.args(["--sbom", "generate", "--output"]).arg(archive);
    pack.env_remove("SOURCE_DATE_EPOCH");
    let said = shell::output(&mut pack)?;
    let digest = said.lines().find_map(|line| line.trim_start().strip_prefix("digest"));
    Ok(digest.with_context(|| format!("the builder told no digest:\n{said}"))?.trim().to_owned())
}

fn package_holds_the_archive_alone(tmp: &Path, recipe: &Recipe) -> Result<()> {
    let held = files_of(&tmp.join("deploy/deb/qemuarm64"), recipe.name)?;
    let wanted = BTreeSet::from([format!("./usr/share/micrun/images/{}.tar", recipe.name)]);
    ensure!(held == wanted, "the package {} holds {held:?} instead of {wanted:?}", recipe.name);
    Ok(())
}

/// What the package of this name puts on a node, without folders.
fn files_of(packages: &Path, name: &str) -> Result<BTreeSet<String>> {
    let looking = || format!("cannot look into {}", packages.display());
    let mut held = BTreeSet::new();
    for entry in packages.read_dir().with_context(looking)? {
        let path = entry.with_context(looking)?.path();
        if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}_"))) {
            let files = shell::output(Command::new("dpkg-deb").arg("-c").arg(&path))?;
            let files = files.lines().filter(|line| !line.starts_with('d'));
            held.extend(files.filter_map(|line| line.split_whitespace().last()).map(str::to_owned));
        }
    }
    Ok(held)
}

fn deployed(tmp: &Path, name: &str, extension: &str) -> PathBuf {
    tmp.join(format!("deploy/images/qemuarm64/{name}.{extension}"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
