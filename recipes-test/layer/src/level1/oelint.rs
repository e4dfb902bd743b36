//! OpenEmbedded's style guide, as `oelint-adv` knows it. What does not fit is named in `oelint.cfg`, with a reason.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note, packages, shell, wheel};
use serde_json::json;

use super::Check;
use crate::recipes::LAYERS;
use crate::tracked::{text, tracked};

/// What it is told.
const CONFIG: &str = "recipes-test/layer/oelint.cfg";

/// Variables and tasks that it has not heard of, and that none of our classes and configurations sets.
const FOREIGN: [&str; 12] = [
    // openembedded-core
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS",
    "CARGO_PROFILE_RELEASE_LTO",
    "GRUB_BUILDIN",
    "IMAGE_TYPEDEP",
    "KERNEL_INCLUDE",
    "do_image_wic",
    // meta-rauc
    "RAUC_BUNDLE_FORMAT",
    "RAUC_BUNDLE_SLOTS",
    "RAUC_SLOT_rootfs",
    "do_bundle",
    // yocto-meta-openeuler
    "OPENEULER_FETCH",
    // recipes-test: what its runtime cases read
    "MICRUN_TEST_GUEST",
];

pub fn checks() -> Vec<Check> {
    vec![Check { name: "recipes: oelint-adv finds nothing", run: lint }]
}

fn lint(workspace: &Workspace) -> Result<()> {
    packages::ensure("oelint-adv", &[&packages::WHEELS])?;
    let ours = |file: &String| LAYERS.iter().any(|layer| file.starts_with(layer));
    let files: Vec<String> = tracked(workspace)?.into_iter().filter(ours).collect();
    let recipes: Vec<&String> = files.iter().filter(|file| is(file, &[".bb", ".bbappend"])).collect();
    note(format_args!("{} recipes and appends", recipes.len()));
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let known = temporary.path().join("known.json");
    let names: Vec<String> = known_variables(workspace, &files)?.into_iter().collect();
    std::fs::write(&known, json!({"variables": {"known": names}}).to_string())
        .with_context(|| format!("cannot write {}", known.display()))?;
    let mut lint = Command::new(wheel::OELINT.ensure(workspace)?);
    lint.current_dir(workspace.root()).env("OELINT_CONFIG", workspace.root().join(CONFIG));
    lint.args(["--quiet", "--relpaths", "--release", "wrynose", "--constantmods"]);
    lint.arg(format!("+{}", known.display())).arg("--").args(recipes);
    let output = shell::capture(&mut lint)?;
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    let is_clean = output.status.success() && said.trim().is_empty();
    ensure!(is_clean, "{CONFIG} says what is excepted and why\n{}", said.trim());
    Ok(())
}

/// Variables that are ours to set: those that a class or a configuration sets, and those that recipes give a value unless somebody
/// else does. One that is set elsewhere, and nowhere known, is misspelt.
fn known_variables(workspace: &Workspace, files: &[String]) -> Result<BTreeSet<String>> {
    let mut known: BTreeSet<String> = FOREIGN.iter().map(|&name| name.to_owned()).collect();
    let is_settings = |file: &&String| {
        is(file, &[".bb", ".bbappend", ".inc", ".bbclass"])
            || (is(file, &[".conf"]) && file.contains("/conf/"))
    };
    for file in files.iter().filter(is_settings) {
        let is_recipe = file.contains("/recipes-");
        for line in text(workspace, file)?.lines() {
            known.extend(assigned(line, is_recipe).map(str::to_owned));
        }
    }
    Ok(known)
}

/// The variable that a line sets; in a recipe only if it does so weakly.
fn assigned(line: &str, only_weakly: bool) -> Option<&str> {
    let (left, _) = line.split_once('=')?;
    let is_weak = left.ends_with('?');
    let name = left.split([':', '[', ' ', '?']).next()?;
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    (is_name && (is_weak || !only_weakly)).then_some(name)
}

fn is(file: &str, kinds: &[&str]) -> bool {
    kinds.iter().any(|kind| file.ends_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_makes_a_variable_known_only_with_a_weak_value() {
        assert_eq!(assigned("MICRUN_GIT ?= \"git://example.org\"", true), Some("MICRUN_GIT"));
        assert_eq!(assigned("MICRUN_FIRMWAER = \"a.elf\"", true), None);
        assert_eq!(assigned("MICRUN_MODE:rpi = \"x=y\"", false), Some("MICRUN_MODE"));
        assert_eq!(assigned("    install -d x=y", false), None);
    }
}
