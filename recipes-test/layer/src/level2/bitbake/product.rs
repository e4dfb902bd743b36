//! A copy of this clone, as it is now, committed or not, in a repository of its own that bitbake's user owns: externalsrc
//! wants to write there, and a release is a tag that this clone may not have yet.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::{Workspace, shell};

use super::user::User;

/// Brings the copy up to date. Files that are the same stay untouched, with their times.
pub fn copy(workspace: &Workspace, user: User, to: &Path) -> Result<()> {
    let mut list = Command::new("git");
    list.args(["-c", "safe.directory=*", "-C"]).arg(workspace.root());
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = shell::output(&mut list).context("cannot list the files of this clone")?;
    let mut wanted = BTreeSet::new();
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let from = workspace.root().join(name);
        // Deleted, but not yet committed.
        if from.symlink_metadata().is_ok() {
            wanted.insert(PathBuf::from(name));
            update(&from, &to.join(name), to, user)
                .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        }
    }
    remove_others(to, to, &wanted).with_context(|| format!("cannot tidy {}", to.display()))?;
    commit(user, to)
}

fn update(from: &Path, file: &Path, root: &Path, user: User) -> Result<()> {
    let (new, old) = (fs::metadata(from)?, fs::metadata(file).ok());
    let same = old.is_some_and(|old| old.len() == new.len() && old.permissions() == new.permissions());
    if same && fs::read(from)? == fs::read(file)? {
        return Ok(());
    }
    let folder = file.parent().context("it has no folder")?;
    fs::create_dir_all(folder)?;
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(root)) {
        user.owns(folder)?;
    }
    fs::copy(from, file)?;
    user.owns(file)
}

/// Files that are not wanted any more, and the folders that this leaves empty.
fn remove_others(folder: &Path, root: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?;
        if name == Path::new(".git") {
            continue;
        }
        // Not what a link leads to: externalsrc may have left some.
        if path.is_dir() && !path.is_symlink() {
            remove_others(&path, root, wanted)?;
            if fs::read_dir(&path)?.next().is_none() {
                fs::remove_dir(&path)?;
            }
        } else if !wanted.contains(name) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn commit(user: User, root: &Path) -> Result<()> {
    user.owns(root)?;
    let git = |arguments: &[&str]| git(user, root, arguments);
    if !root.join(".git").is_dir() {
        git(&["init", "--quiet", "--initial-branch=main"])?;
    }
    git(&["add", "--all"])?;
    if !git(&["status", "--porcelain"])?.is_empty() {
        git(&["commit", "--quiet", "--message", "The files as they are"])?;
    }
    Ok(())
}

/// Gives what is committed there a tag, and returns its commit.
pub fn tag(user: User, root: &Path, name: &str) -> Result<String> {
    git(user, root, &["tag", "--force", "--annotate", "--message", name, name])?;
    Ok(git(user, root, &["rev-parse", "HEAD"])?.trim().to_owned())
}

fn git(user: User, root: &Path, arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=tests", "-c", "user.email=tests@localhost", "-C"]).arg(root);
    git.args(arguments).env("HOME", root.parent().unwrap_or(root));
    user.runs(&mut git);
    shell::output(&mut git)
}
