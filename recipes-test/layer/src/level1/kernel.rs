//! The kernel's options in our fragments. A dry run reads none of them, and a kernel's build drops what it does not know
//! without an error. Their names are looked up in the configuration of Debian's arm64 kernel, which lists everything that it could
//! have; whether a given value takes effect, only a build can tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use micrun_testkit::apt::{self, PrivateApt};
use micrun_testkit::unpacked::once;
use micrun_testkit::{Workspace, note, packages, shell};

use super::Check;

/// Where the fragments are, and what lists them.
const FOLDER: &str = "meta-micrun/recipes-kernel/linux/micrun";
const LIST: &str = "meta-micrun/recipes-kernel/linux/micrun-kernel.inc";

/// The kernel whose names count: 6.12, between those that the layer builds, 6.6 and 6.18.
const SUITE: &str = "trixie";
const PACKAGE: &str = "linux-config-6.12";
const CONFIGURATION: &str = "usr/src/linux-config-6.12/config.arm64_none_arm64.xz";

/// Options that later kernels have, with the first of them.
const LATER: [(&str, &str); 1] = [("CONFIG_NETFILTER_XTABLES_LEGACY", "6.17")];

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "kernel: every option is one of Linux's, and set once", run: options },
        Check { name: "kernel: the recipes use every fragment", run: used },
    ]
}

fn options(workspace: &Workspace) -> Result<()> {
    let known = known(workspace)?;
    let mut set: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in fragments(workspace)? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for (number, line) in text.lines().enumerate() {
            let at = || format!("{}:{}", file.display(), number + 1);
            let Some(option) = option(line).with_context(at)? else { continue };
            let is_later = LATER.iter().any(|(later, _)| *later == option);
            ensure!(is_later || known.contains(&option), "{}: {PACKAGE} knows no {option}", at());
            if let Some(other) = set.insert(option.clone(), file.clone()) {
                bail!("{}: {option} is already set in {}", at(), other.display());
            }
        }
    }
    note(format_args!("{} options, names as in {PACKAGE}", set.len()));
    ensure!(!set.is_empty(), "no fragment in {FOLDER} sets anything");
    Ok(())
}

fn used(workspace: &Workspace) -> Result<()> {
    let list = workspace.root().join(LIST);
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    for file in fragments(workspace)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(text.contains(&format!("file://{name}")), "{} does not name {name}", list.display());
    }
    Ok(())
}

fn fragments(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = workspace.root().join(FOLDER);
    let entries = folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("cannot read {}", folder.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "cfg"));
    files.sort();
    Ok(files)
}

/// What a line sets.
fn option(line: &str) -> Result<Option<String>> {
    let line = line.trim();
    let unset = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set"));
    if let Some(name) = unset.filter(|name| name.starts_with("CONFIG_")) {
        return Ok(Some(name.to_owned()));
    }
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').with_context(|| format!("{line:?} sets nothing"))?;
    ensure!(name.starts_with("CONFIG_"), "{name:?} is no option");
    let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    let plain = matches!(value, "y" | "m" | "n") || value.parse::<u64>().is_ok() || value.starts_with("0x");
    ensure!(quoted || plain, "{value:?} is no value");
    Ok(Some(name.to_owned()))
}

/// The names of all options that a kernel's configuration has, set or not.
struct Known(String);

impl Known {
    fn contains(&self, option: &str) -> bool {
        let (set, unset) = (format!("{option}="), format!("# {option} is not set"));
        self.0.lines().any(|line| line.starts_with(&set) || line == unset)
    }
}

fn known(workspace: &Workspace) -> Result<Known> {
    let folder = workspace.kit("kernel-options")?.join(PACKAGE);
    let announce = || {
        packages::ensure("fetching a kernel's options", &[&packages::RELEASES])?;
        note(format_args!("fetching {PACKAGE} of Debian {SUITE}"));
        Ok(())
    };
    once(&folder, announce, |part| {
        let apt = PrivateApt::stable(&workspace.kit("apt")?.join("kernel-options"), SUITE, &["arm64"])?;
        let deb = apt.download(PACKAGE, part)?;
        apt::unpack_only(&deb, &[CONFIGURATION], part)?;
        fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))
    })?;
    text(&folder.join(CONFIGURATION))
}

fn text(compressed: &Path) -> Result<Known> {
    Ok(Known(shell::output(Command::new("xz").args(["-dc"]).arg(compressed))?))
}
