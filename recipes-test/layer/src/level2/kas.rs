//! The way of an integrator: kas fetches the layers at the locked commits and runs bitbake. What is fetched comes from the clones
//! instead of from servers, and nothing is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use micrun_testkit::{Workspace, note, packages, shell, wheel};

use super::Check;
use super::bitbake::{Bitbake, Kind, Said};
use crate::clones::Clones;
use crate::level1::kas::{Resolver, copy_product};

/// The reference.
const REFERENCE: &str = "kas/qemu-aarch64-xen.yml";
/// The machine's own Python: somebody else than the caller runs kas.
const PYTHON: &str = "/usr/bin/python3";
/// What a machine without a network and without a prebuilt libc needs to be told.
const OFFLINE: &str = r#"header: {version: 14}
local_conf_header:
  offline: |
    CONNECTIVITY_CHECK_URIS = ""
    INHERIT:remove = "uninative"
    BB_HASHSERVE = ""
    BB_SIGNATURE_HANDLER = "OEBasicHash"
"#;
pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "kas: the reference's layers and settings are those that it says", run: reference },
        Check { name: "kas: a product's recipes have the product's values", run: product },
        Check {
            name: "kas: bitbake reads every recipe of the reference, and plans its image and bundle",
            run: parse,
        },
    ]
}

/// What the board's file says arrives.
fn reference(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let kas = Kas::new(workspace, clones, "kas-reference")?;
    let folder = kas.bitbake.product();
    fs::write(folder.join("offline.yml"), OFFLINE).context("cannot write offline.yml")?;
    let files = format!("{REFERENCE}:offline.yml");
    kas.variables(&folder, &files, "meta-micrun/recipes-core/images/micrun-image.bb")?.are(&[
        ("DISTRO", "micrun"),
        ("MACHINE", "qemuarm64"),
        // What the one command that boots it goes by.
        ("QB_DEFAULT_FSTYPE", "wic"),
        ("QB_DEFAULT_KERNEL", "none"),
        ("QB_DEFAULT_BIOS", "QEMU_EFI.fd"),
        ("PREFERRED_PROVIDER_virtual/bootloader", "edk2-firmware"),
        ("QB_MACHINE", "-machine virt,virtualization=on,gic-version=3,acpi=off"),
        ("EFI_PROVIDER", "grub-efi"),
        ("IMAGE_FSTYPES", "ext4 wic"),
    ])
}

/// The copy of the example that level 1 resolves, and what becomes of its recipes.
fn product(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let kas = Kas::new(workspace, clones, "kas-product")?;
    let folder = kas.bitbake.dir().join("repository");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // A repository of its own: kas takes the next one above for the product's.
    shell::quietly(Command::new("git").args(["init", "--quiet"]).arg(&folder))?;
    let files = copy_product(workspace, &folder, &kas.bitbake.product())?;
    fs::write(folder.join("offline.yml"), OFFLINE).context("cannot write offline.yml")?;
    let files = format!("{files}:offline.yml");
    let image = kas.variables(&folder, &files, "meta-gateway/recipes-core/images/gateway-image.bb")?;
    image.are(&[("DISTRO", "gateway"), ("MACHINE", "qemuarm64")])?;
    let installed = image.value("IMAGE_INSTALL")?;
    for package in ["packagegroup-micrun", "motor-control"] {
        ensure!(installed.split_whitespace().any(|word| word == package), "no {package} in {installed}");
    }
    let bundle = kas.variables(&folder, &files, "meta-gateway/recipes-core/bundles/gateway-bundle.bb")?;
    bundle.are(&[
        ("RAUC_SLOT_rootfs", "gateway-image"),
        ("RAUC_BUNDLE_COMPATIBLE", "gateway-qemuarm64"),
        ("RAUC_BUNDLE_VERSION", "1.0.0"),
        ("RAUC_KEY_FILE", KEY),
        ("RAUC_PKCS11_MODULE", MODULE),
    ])?;
    let tools = bundle.value("DEPENDS")?;
    ensure!(tools.contains("libp11-native"), "nothing reaches the key on its token: DEPENDS is {tools}");
    let trust = kas.bitbake.dir().join("meta-rauc/recipes-core/rauc/rauc-conf.bb");
    let trust = kas.variables(&folder, &files, &trust.display().to_string())?;
    let paths = trust.value("FILESEXTRAPATHS")?;
    ensure!(!paths.contains("micrun-dev-keys"), "its nodes would trust our keys for a desk: {paths}");
    kas.variables(&folder, &files, "meta-gateway/recipes-firmware/motor-control/motor-control_1.4.0.bb")?
        .are(&[("MICRUN_FIRMWARE_BOARD", "xen_arm64")])
}

/// Everything, which takes long.
fn parse(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let kas = Kas::new(workspace, clones, "kas-reference")?;
    let folder = kas.bitbake.product();
    fs::write(folder.join("offline.yml"), OFFLINE).context("cannot write offline.yml")?;
    let said = kas.shell(
        &folder,
        &format!("{REFERENCE}:offline.yml"),
        "bitbake -p && bitbake -n micrun-image micrun-bundle",
    )?;
    // What was read before, and has not changed since, is loaded instead.
    let is_count = |line: &&str| {
        line.starts_with("Parsing of ")
            || line.starts_with("Loaded ")
            || line.starts_with("NOTE: Tasks Summary: ")
    };
    let counts: Vec<&str> = said.text.lines().filter(is_count).collect();
    let planned = counts.iter().any(|line| line.contains("Tasks Summary") && line.contains("all succeeded"));
    ensure!(planned, "bitbake planned nothing; see {}", said.log.display());
    let failed = counts.iter().find(|line| line.starts_with("Parsing of ") && !line.ends_with(" 0 errors."));
    ensure!(failed.is_none(), "{}; see {}", failed.unwrap_or(&""), said.log.display());
    for line in counts {
        note(line);
    }
    Ok(())
}

/// What signs, in the environment of whoever builds.
const KEY: &str = "pkcs11:token=release;object=gateway?pin-source=file:/run/secrets/pin";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// kas, as the user that runs bitbake.
struct Kas {
    program: PathBuf,
    bitbake: Bitbake,
    references: PathBuf,
}

impl Kas {
    fn new(workspace: &Workspace, clones: &Clones, name: &str) -> Result<Self> {
        packages::ensure("kas", &[&packages::WHEELS, &packages::KAS])?;
        let bitbake = Bitbake::new(workspace, clones, name, Kind::Whole)?;
        let program = wheel::KAS.install(PYTHON, bitbake.common())?;
        bitbake.user().reads(&program)?;
        let references = bitbake.common().join("references");
        let kas = Self { program, bitbake, references };
        kas.refer(workspace, clones)?;
        Ok(kas)
    }

    /// Gives kas the clones under the names that it looks for, without copying them: it then fetches nothing.
    fn refer(&self, workspace: &Workspace, clones: &Clones) -> Result<()> {
        let user = self.bitbake.user();
        fs::create_dir_all(&self.references).context("cannot create a folder for kas")?;
        user.owns(&self.references)?;
        let config = Resolver::new(workspace)?.resolve(workspace.root(), REFERENCE)?;
        for (name, repo) in config["repos"].as_object().context("there are no repositories")? {
            let Some(url) = repo["url"].as_str() else { continue };
            let commit = config["overrides"]["repos"][name]["commit"].as_str().unwrap_or_default();
            let reference = self.references.join(url.trim_start_matches("https://").replace('/', "."));
            let git = |arguments: &[&str], at: &Path| {
                let mut git = Command::new("git");
                git.arg("-C").arg(at).args(arguments).env("HOME", self.bitbake.common().join("home"));
                user.runs(&mut git);
                shell::output(&mut git)
            };
            if !reference.is_dir() {
                let (from, to) = (clones.layer(name), reference.display().to_string());
                git(
                    &["clone", "--quiet", "--bare", "--shared", &from.display().to_string(), &to],
                    &self.references,
                )?;
            }
            if git(&["cat-file", "-e", commit], &reference).is_err() {
                bail!(
                    "the clone of {name} lacks commit {commit}, which kas/include/base.lock.yml names: fetch it there"
                );
            }
        }
        Ok(())
    }

    /// Runs a command in the environment that kas makes.
    fn shell(&self, folder: &Path, files: &str, line: &str) -> Result<Said> {
        let common = self.bitbake.common();
        let mut kas = Command::new("sh");
        kas.args(["-c", "umask 022; cd \"$1\" && shift && exec \"$@\"", "sh"]).arg(folder).arg(&self.program);
        kas.args(["--no-color", "shell", files, "-c", line]).env_clear();
        kas.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("LANG", "en_US.UTF-8");
        kas.env("HOME", common.join("home")).env("GITCONFIG_FILE", common.join("home/.gitconfig"));
        kas.env("KAS_WORK_DIR", self.bitbake.dir()).env("KAS_REPO_REF_DIR", &self.references);
        kas.env("DL_DIR", common.join("downloads"))
            .env("GATEWAY_SIGNING_KEY", KEY)
            .env("RAUC_PKCS11_MODULE", MODULE);
        let said = self.bitbake.watch(kas, "kas", &["shell", files, line])?;
        ensure!(said.success, "`kas shell {files} -c '{line}'` failed; its log is {}", said.log.display());
        Ok(said)
    }

    /// All variables of a recipe, which is a file in that folder. No other recipe is read, so this is quick.
    fn variables(&self, folder: &Path, files: &str, recipe: &str) -> Result<Variables> {
        let said = self.shell(folder, files, &format!("bitbake -e -b {}", folder.join(recipe).display()))?;
        Ok(Variables { recipe: recipe.to_owned(), text: said.text })
    }
}

/// What `bitbake -e` prints.
struct Variables {
    recipe: String,
    text: String,
}

impl Variables {
    fn value(&self, name: &str) -> Result<&str> {
        let start = format!("{name}=\"");
        let line = self.text.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('"'));
        line.map(str::trim).with_context(|| format!("{} does not set {name}", self.recipe))
    }

    fn are(&self, wanted: &[(&str, &str)]) -> Result<()> {
        for (name, value) in wanted {
            let found = self.value(name)?;
            ensure!(found == *value, "{}: {name} is {found}, not {value}", self.recipe);
        }
        note(format_args!("{}: {} values", self.recipe, wanted.len()));
        Ok(())
    }
}
