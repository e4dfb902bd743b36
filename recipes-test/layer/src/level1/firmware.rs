//! Recipes of firmware, and the cases that run on an image with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, packages, shell};

use super::Check;

/// Reads a module as Python does, and writes no bytecode beside it.
const COMPILE: &str = "import sys\nfor name in sys.argv[1:]: compile(open(name).read(), name, 'exec')";

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "recipes of the test firmware have its version", run: versions },
        Check { name: "cases of OpenEmbedded's test framework are Python", run: cases },
        Check { name: "the multiconfig's firmware goes where its user looks for it", run: multiconfig },
    ]
}

/// A recipe's version is in its file's name, the firmware says its own.
fn versions(workspace: &Workspace) -> Result<()> {
    let tests = workspace.root().join("recipes-test");
    let version = read(&tests.join("firmware/VERSION"))?;
    let recipes = files(&tests.join("recipes-firmware/test-firmware"), "bb")?;
    ensure!(!recipes.is_empty(), "there is no recipe of the test firmware");
    for recipe in recipes {
        let stem = recipe.file_stem().unwrap_or_default().to_string_lossy();
        ensure!(
            stem.ends_with(&format!("_{}", version.trim())),
            "{} is not of version {}",
            recipe.display(),
            version.trim()
        );
    }
    let image = read(&tests.join("recipes-core/images/micrun-image-test.bb"))?;
    let tried = value(&image, "MICRUN_TEST_FIRMWARE_VERSION")?;
    ensure!(tried == version.trim(), "micrun-image-test tries version {tried} of the test firmware");
    Ok(())
}

fn cases(workspace: &Workspace) -> Result<()> {
    packages::ensure("reading Python", &[&packages::PYTHON])?;
    let tests = workspace.root().join("recipes-test");
    let mut modules = files(&tests.join("lib/oeqa/runtime/cases"), "py")?;
    ensure!(!modules.is_empty(), "there is no case");
    modules.push(tests.join("system/oeqa/run.py"));
    shell::quietly(Command::new("python3").args(["-c", COMPILE]).args(modules))
}

/// The folder is named in the multiconfig and, since nothing else tells it, in the recipe that takes the file from there.
fn multiconfig(workspace: &Workspace) -> Result<()> {
    let tests = workspace.root().join("recipes-test");
    let conf = read(&tests.join("conf/multiconfig/micrun-riscv64.conf"))?;
    let version = read(&tests.join("firmware/VERSION"))?;
    let recipe = format!("recipes-firmware/test-firmware/test-firmware-qemu-riscv64_{}.bb", version.trim());
    let recipe = read(&tests.join(recipe))?;
    let (tmp, machine) = (value(&conf, "TMPDIR")?, value(&conf, "MACHINE")?);
    let wanted = format!("{tmp}/deploy/images/{machine}/");
    let looked = value(&recipe, "MICRUN_FIRMWARE")?;
    ensure!(looked.starts_with(&wanted), "the recipe looks for {looked}, but it is deployed to {wanted}");
    Ok(())
}

/// The value of a line `NAME = "value"`.
fn value<'a>(text: &'a str, name: &str) -> Result<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
    line.and_then(|rest| rest.strip_suffix('"')).with_context(|| format!("nothing sets {name}"))
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let looking = || format!("cannot look into {}", folder.display());
    let mut found = Vec::new();
    for entry in folder.read_dir().with_context(looking)? {
        let path = entry.with_context(looking)?.path();
        if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
