//! What the documents tell a user to type: every file in a `kas ...` line exists, and what is joined with colons resolves.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note};

use super::Resolver;
use crate::level1::Check;
use crate::tracked::{text, tracked};

pub fn checks() -> Vec<Check> {
    vec![Check { name: "kas: every combination that a document names resolves", run: documents }]
}

fn documents(workspace: &Workspace) -> Result<()> {
    let mut named = BTreeSet::new();
    for file in tracked(workspace)? {
        if file.ends_with(".md") || (file.starts_with("kas/") && file.ends_with(".yml")) {
            named
                .extend(combinations(&text(workspace, &file)?).map(|words| (words.to_owned(), file.clone())));
        }
    }
    let resolver = Resolver::new(workspace)?;
    let mut seen = BTreeSet::new();
    for (words, file) in &named {
        // An include alone is no build; that it exists is all that can be asked of it.
        for part in words.split(':') {
            ensure!(workspace.root().join(part).is_file(), "{file} names {part}, which does not exist");
        }
        let is_build = !words.starts_with("kas/include/") && !words.starts_with("kas/examples/");
        if is_build && seen.insert(words) {
            resolver.resolve(workspace.root(), words).with_context(|| format!("{file} names {words}"))?;
        }
    }
    ensure!(!seen.is_empty(), "no document says how to build anything");
    note(format_args!("{} combinations, in documents and kas files", seen.len()));
    Ok(())
}

/// Words that are kas files of ours, joined with colons.
fn combinations(text: &str) -> impl Iterator<Item = &str> {
    let is_outside = |c: char| !(c.is_ascii_alphanumeric() || "-_./:{},*".contains(c));
    let words = text.split(is_outside).map(|word| word.trim_end_matches(['.', ':', ',']));
    // A word with a pattern in it stands for several files.
    words.filter(|word| word.starts_with("kas/") && word.ends_with(".yml") && !word.contains(['{', ',', '*']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_commands_and_in_prose() {
        let text =
            "Run `kas build kas/a.yml:kas/include/b.yml`, then kas/c.yml. Not (kas/{a,b}.yml) or kas/*.yml";
        assert_eq!(combinations(text).collect::<Vec<_>>(), ["kas/a.yml:kas/include/b.yml", "kas/c.yml"]);
    }
}
