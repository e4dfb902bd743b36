//! systemd's units, with `systemd-analyze verify`. They are looked at in a root of their own, since the programs that they
//! start are not those of this machine.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, shell, step};

use super::lint::tracked;

/// What a unit file's name ends with.
const KINDS: [&str; 4] = ["service", "mount", "path", "timer"];

/// Every tracked unit. The tool ends with 0 where it ignores a line that it does not know, so any word is a finding.
pub fn run(workspace: &Workspace) -> Result<()> {
    let root = tempfile::tempdir().context("cannot make a temporary folder")?;
    let root = root.path();
    let folder = root.join("etc/systemd/system");
    let mut names = Vec::new();
    for unit in tracked(workspace)?.iter().map(Path::new) {
        if unit.extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known)) {
            let path = workspace.root().join(unit);
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = unit.file_name().context("a unit has no name")?;
            write(&folder.join(name), &text, 0o644)?;
            for program in programs(&text) {
                write(&root.join(program), "", 0o755)?;
            }
            names.push(name.to_owned());
        }
    }
    names.extend(drop_ins(workspace, root, &folder)?);
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg(format!("--root={}", root.display()));
    verify.args(["--man=no", "--recursive-errors=no"]).args(names);
    step(shell::line(&verify));
    let output = shell::capture(&mut verify)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.trim().is_empty(), "systemd finds fault with a unit:\n{said}");
    Ok(())
}

/// Each tracked drop-in, with a service of its own to change: which unit it is for is said by the recipe that installs it. What is for
/// systemd itself ([Manager]) is not among them; the node's boot shows that.
fn drop_ins(workspace: &Workspace, root: &Path, folder: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for file in tracked(workspace)?.iter().filter(|file| file.ends_with(".conf")) {
        let text =
            std::fs::read(workspace.root().join(file)).with_context(|| format!("cannot read {file}"))?;
        let Ok(text) = String::from_utf8(text) else { continue };
        if !text.lines().any(|line| matches!(line, "[Unit]" | "[Service]")) {
            continue;
        }
        // Its message begins with the drop-in's own name.
        let name = format!("drop-in-{}.service", names.len());
        write(&folder.join(&name), "[Service]\nExecStart=/usr/bin/true\n", 0o644)?;
        write(&folder.join(format!("{name}.d")).join(file.replace('/', "-")), &text, 0o644)?;
        for program in programs(&text).chain(["usr/bin/true"]).filter(|program| !program.is_empty()) {
            write(&root.join(program), "", 0o755)?;
        }
        names.push(name.into());
    }
    Ok(names)
}

/// What it starts, relative to the root.
fn programs(unit: &str) -> impl Iterator<Item = &str> {
    let commands =
        unit.lines().filter(|line| line.starts_with("Exec")).filter_map(|line| line.split_once('='));
    let programs = commands.filter_map(|(_, command)| command.split_whitespace().next());
    programs.map(|program| program.trim_start_matches(['-', '@', ':', '+', '!']).trim_start_matches('/'))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let put = || {
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        std::fs::write(path, text)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    put().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_of_a_unit_are_found_behind_their_prefixes() {
        let unit =
            "[Service]\nExecStartPre=-/sbin/modprobe overlay\nExecStart=/usr/bin/micad\n# ExecStop=/bin/no\n";
        assert_eq!(programs(unit).collect::<Vec<_>>(), ["sbin/modprobe", "usr/bin/micad"]);
    }
}
