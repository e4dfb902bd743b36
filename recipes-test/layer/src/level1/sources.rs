//! What recipes take from beside them is there. A fetcher would notice, but where nothing is fetched nothing notices.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note};

use super::Check;
use crate::recipes::{Recipe, recipes};

pub fn checks() -> Vec<Check> {
    vec![Check { name: "recipes: each file:// source lies beside its recipe", run: sources }]
}

fn sources(workspace: &Workspace) -> Result<()> {
    let mut found = 0;
    let mut beyond = Vec::new();
    for recipe in recipes(workspace)? {
        for source in recipe.local_sources() {
            let source = recipe.expand(source);
            if source.contains("${") {
                beyond.push(format!("{}: {source}", recipe.path));
                continue;
            }
            let folder = workspace.root().join(recipe.folder());
            let is_here = is_below(&folder, &source)?
                || recipe.further_folders(&folder).any(|it| it.join(&source).exists());
            ensure!(is_here, "{} names file://{source}, which is where it does not look", recipe.path);
            found += 1;
        }
    }
    note(format_args!("{found} files and folders"));
    for source in beyond {
        note(format_args!("left to bitbake, whose variables it needs: {source}"));
    }
    Ok(())
}

/// Whether a folder beside the recipe has it, or one of an override in that.
fn is_below(folder: &Path, source: &str) -> Result<bool> {
    if Path::new(source).is_absolute() {
        return Ok(Path::new(source).exists());
    }
    let mut folders = subfolders(folder)?;
    for one in folders.clone() {
        folders.extend(subfolders(&one)?);
    }
    Ok(folders.iter().any(|folder| folder.join(source).exists()))
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect())
}

impl Recipe {
    /// Where else it looks: what it adds to FILESEXTRAPATHS from its own folder on.
    fn further_folders(&self, folder: &Path) -> impl Iterator<Item = PathBuf> {
        let added = self.code().filter(|line| line.starts_with("FILESEXTRAPATHS"));
        let words =
            added.flat_map(|line| line.split(['"', ':'])).filter_map(|word| word.strip_prefix("${THISDIR}/"));
        words.map(|word| folder.join(self.expand(word)))
    }

    /// What it names with `file://`, without the parameters after it. A licence file is found among what is fetched.
    fn local_sources(&self) -> impl Iterator<Item = &str> {
        let words = self.code().flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'".contains(c)));
        let local = words.filter_map(|word| word.strip_prefix("file://"));
        local.filter(|source| !source.contains(";md5=")).filter_map(|source| source.split(';').next())
    }
}
