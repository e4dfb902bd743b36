//! Licences: every file of the layers says its own, and a recipe that names ours has its checksum right.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note, shell};

use super::Check;
use crate::recipes::{LAYERS, Recipe, recipes};
use crate::tracked::tracked;

/// Files in which nothing can be said beside their content, or which a tool writes.
const SILENT: [&str; 8] = [".md", ".json", ".lock.yml", ".patch", ".pem", ".example", ".txt", "-crates.inc"];
/// What `recipes-test/` holds beside the layer.
const LAYER_PARTS: [&str; 5] = ["/conf/", "/classes", "/recipes-", "/dynamic-layers/", "/files/"];

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "licences: each file of the layers names its own", run: headers },
        Check { name: "licences: recipes that ship our licence have its checksum", run: checksums },
    ]
}

fn headers(workspace: &Workspace) -> Result<()> {
    let is_layer = |file: &String| {
        let in_layer = LAYERS.iter().any(|layer| {
            file.strip_prefix(layer)
                .is_some_and(|rest| LAYER_PARTS.iter().any(|part| format!("/{rest}").contains(part)))
        });
        (in_layer || file.starts_with("kas/")) && !SILENT.iter().any(|end| file.ends_with(end))
    };
    let files: Vec<String> = tracked(workspace)?.into_iter().filter(is_layer).collect();
    let mut without = Vec::new();
    for file in &files {
        let bytes =
            std::fs::read(workspace.root().join(file)).with_context(|| format!("cannot read {file}"))?;
        let text = String::from_utf8_lossy(&bytes);
        if !text.lines().take(5).any(|line| line.contains("SPDX-License-Identifier: ")) {
            without.push(file.as_str());
        }
    }
    ensure!(
        without.is_empty(),
        "no SPDX-License-Identifier in the first lines of\n  {}",
        without.join("\n  ")
    );
    note(format_args!("{} files", files.len()));
    Ok(())
}

fn checksums(workspace: &Workspace) -> Result<()> {
    let sum = shell::output(Command::new("md5sum").arg(workspace.root().join("LICENSE")))?;
    let ours = sum.split_whitespace().next().context("md5sum said nothing")?;
    let mut seen = 0;
    for recipe in recipes(workspace)? {
        for (file, sum) in recipe.licence_files() {
            let is_common = file.contains("COMMON_LICENSE_DIR");
            if recipe.is_ours() && file.rsplit('/').next() == Some("LICENSE") && !is_common {
                ensure!(sum == ours, "{}: {file} has the checksum {ours}, not {sum}", recipe.path);
                seen += 1;
            }
        }
    }
    note(format_args!("{seen} recipes; those of common licences are level 2's"));
    Ok(())
}

impl Recipe {
    /// Each `file://FILE;md5=SUM`.
    pub fn licence_files(&self) -> impl Iterator<Item = (&str, &str)> {
        let words = self.code().flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'".contains(c)));
        let files = words.filter_map(|word| word.strip_prefix("file://")?.split_once(";md5="));
        files.map(|(file, sum)| (file, sum.split(';').next().unwrap_or(sum)))
    }

    /// Whether what it builds is under our licence.
    fn is_ours(&self) -> bool {
        self.code().any(|line| line.starts_with("LICENSE") && line.contains("MulanPSL-2.0"))
    }
}
