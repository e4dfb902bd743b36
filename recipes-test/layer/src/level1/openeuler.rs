//! openEuler Embedded, whose build is its own: what it reads of ours says what it should, as far as that can be seen
//! without it. docs/openeuler.md tells what else was tried.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::Workspace;
use serde::Deserialize;

use super::Check;

/// The layer inside the layer.
const LAYER: &str = "meta-micrun/dynamic-layers/openeuler";
const FEATURE: &str = "oebuild/micrun-rs.yaml";

/// Where the feature expects this repository, below the folder of sources.
const REPOSITORY: &str = "micrun/";

/// The releases of OpenEmbedded that openEuler Embedded was and is built on.
const SERIES: [&str; 2] = ["kirkstone", "scarthgap"];

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "openeuler: the feature names what there is", run: feature },
        Check { name: "openeuler: the recipe is for older releases too, and one of ours", run: recipe },
    ]
}

/// What oebuild knows in a feature; it ignores what it does not know, and so a key that is misspelt.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    id: String,
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "prompt")]
    _prompt: String,
    machines: Vec<String>,
    dependencies: Vec<String>,
    #[serde(rename = "selects")]
    _selects: Vec<String>,
    config: Config,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    layers: Vec<String>,
    local_conf: Vec<String>,
}

fn feature(workspace: &Workspace) -> Result<()> {
    let path = workspace.root().join(LAYER).join(FEATURE);
    let feature: Feature =
        serde_yaml::from_str(&read(&path)?).with_context(|| format!("{FEATURE} is odd"))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    ensure!(feature.id == name, "oebuild wants the id {:?} in a file of that name", feature.id);
    ensure!(feature.dependencies.contains(&"mcs".to_owned()), "it does not depend on mcs");
    ensure!(!feature.machines.is_empty(), "it is for no machine, which oebuild takes for all");
    for layer in &feature.config.layers {
        let ours =
            layer.strip_prefix(REPOSITORY).with_context(|| format!("{layer} is not in {REPOSITORY}"))?;
        let conf = workspace.root().join(ours).join("conf/layer.conf");
        ensure!(conf.is_file(), "{layer} is no layer: there is no {}", conf.display());
    }
    let packages = packages(&read(&recipe_path(workspace))?)?;
    let mut installs = false;
    for line in &feature.config.local_conf {
        let (variable, value) = line.split_once(" = ").with_context(|| format!("{line:?} sets nothing"))?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.with_context(|| format!("the value in {line:?} is not quoted"))?;
        if variable == "IMAGE_INSTALL:append" {
            ensure!(value.starts_with(' '), "{line:?} lacks the blank in front");
            installs = true;
            for package in value.split_whitespace() {
                ensure!(packages.contains(package), "{package} is none of the packages {packages:?}");
            }
        }
        ensure!(
            variable != "MCS_FEATURES:append" || value.split_whitespace().all(|word| word != "micrun"),
            "{line:?} would build openEuler's own program as well"
        );
    }
    ensure!(installs, "it installs nothing");
    Ok(())
}

fn recipe(workspace: &Workspace) -> Result<()> {
    let conf = read(&workspace.root().join(LAYER).join("conf/layer.conf"))?;
    let series = value(&conf, "LAYERSERIES_COMPAT_micrun-openeuler")?;
    ensure!(series.split_whitespace().eq(SERIES), "it is for {series:?}, not for {SERIES:?}");
    let path = recipe_path(workspace);
    let text = read(&path)?;
    // The variable is newer than those, and the folder is another one without it.
    ensure!(!text.contains("${UNPACKDIR}"), "{} uses UNPACKDIR", path.display());
    let conflicts = value(&text, "RCONFLICTS:${PN}")?;
    ensure!(conflicts == "micrun", "it conflicts with {conflicts:?}, not with openEuler's micrun");
    Ok(())
}

fn recipe_path(workspace: &Workspace) -> std::path::PathBuf {
    let name = concat!("recipes-mcs/micrun-rs/micrun-rs_", env!("CARGO_PKG_VERSION"), ".bb");
    workspace.root().join(LAYER).join(name)
}

/// The names that the recipe's packages will have.
fn packages(recipe: &str) -> Result<BTreeSet<String>> {
    let packages = value(recipe, "PACKAGES")?.replace("${PN}", "micrun-rs");
    Ok(packages.split_whitespace().map(str::to_owned).collect())
}

/// What a variable is set to, on one line.
fn value<'a>(text: &'a str, variable: &str) -> Result<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix(" = \""));
    line.and_then(|line| line.strip_suffix('"')).with_context(|| format!("{variable} is not set"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
