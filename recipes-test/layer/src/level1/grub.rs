//! What GRUB reads: its own parser takes it, OpenEmbedded's image of GRUB has every command of it, and the environment
//! that a node leaves the factory with is one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, packages, shell};

use super::Check;

pub const FOLDER: &str = "meta-micrun/recipes-bsp/grub/files";
const SCRIPTS: [&str; 3] = ["grub.cfg", "boot.cfg", "boot-args.cfg.in"];

/// Commands of the modules normal, test, loadenv, configfile, linux, boot and xen_boot, which the recipe grub-efi puts, with few
/// others, into its image for arm64, and of those that our grub-efi-micrun.inc adds. A disk image carries no other modules.
const COMMANDS: [&str; 13] = [
    "[",
    "boot",
    "echo",
    "initrd",
    "linux",
    "load_env",
    "reboot",
    "save_env",
    "set",
    "sleep",
    "source",
    "xen_hypervisor",
    "xen_module",
];

/// GRUB's shell.
const KEYWORDS: [&str; 10] = ["do", "done", "elif", "else", "fi", "for", "function", "if", "then", "}"];

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "GRUB's configuration is what GRUB understands", run: scripts },
        Check { name: "GRUB's configuration uses commands of OpenEmbedded's GRUB only", run: commands },
        Check { name: "GRUB's first environment names both slots", run: environment },
    ]
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root().join(FOLDER)
}

fn scripts(workspace: &Workspace) -> Result<()> {
    packages::ensure("checking GRUB's configuration", &[&packages::GRUB])?;
    for script in SCRIPTS {
        shell::quietly(Command::new("grub-script-check").arg(folder(workspace).join(script)))?;
    }
    Ok(())
}

fn commands(workspace: &Workspace) -> Result<()> {
    let added = workspace.root().join("meta-micrun/recipes-bsp/grub/grub-efi-micrun.inc");
    let added = fs::read_to_string(&added).with_context(|| format!("cannot read {}", added.display()))?;
    ensure!(
        added.contains("\" echo reboot sleep\""),
        "the list of commands here is for other modules: {added}"
    );
    for script in SCRIPTS {
        let path = folder(workspace).join(script);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let functions: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("function ")).collect();
        for command in text.lines().flat_map(used) {
            let own = functions.iter().any(|function| function.split(' ').next() == Some(command));
            ensure!(
                own || COMMANDS.contains(&command),
                "{script} uses {command}, which no module in the image has"
            );
        }
    }
    Ok(())
}

/// The commands in a line: what follows its beginning, a semicolon or a keyword.
fn used(line: &str) -> Vec<&str> {
    let line = line.split_once('#').map_or(line, |(before, _)| before);
    let mut found = Vec::new();
    for part in line.split(';') {
        let words = part.split_whitespace();
        let word = words.clone().find(|word| !KEYWORDS.contains(word));
        // `for NAME in …` and `function NAME {` begin with a keyword and hold no command.
        if !matches!(words.clone().next(), Some("for" | "function")) {
            found.extend(word);
        }
    }
    found
}

fn environment(workspace: &Workspace) -> Result<()> {
    packages::ensure("checking GRUB's environment", &[&packages::GRUB])?;
    let path = folder(workspace).join("grubenv.in");
    let mut block = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(block.len() < 1024, "an environment has 1024 bytes");
    block.extend(std::iter::repeat_n('#', 1024 - block.len()));
    let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    fs::write(file.path(), block).context("cannot write a temporary file")?;
    let list = shell::output(Command::new("grub-editenv").arg(file.path()).arg("list"))?;
    let wanted = "ORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n";
    ensure!(list == wanted, "slot A should be the good one, and slot B empty: {list}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_behind_keywords_and_semicolons() {
        assert_eq!(
            used("  if [ \"$a\" = 1 ]; then set a=2; elif [ x ]; then boot; fi  # boot"),
            ["[", "set", "[", "boot"]
        );
        assert!(used("for name in a b; do").is_empty());
        assert!(used("function begin {").is_empty());
        assert!(used("# linux").is_empty());
    }
}
