//! Checksums of licences that OpenEmbedded ships, as recipes of ours name them. bitbake looks at them in do_populate_lic only.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note, shell};

use super::Check;
use crate::clones::Clones;
use crate::recipes::recipes;

pub fn checks() -> Vec<Check> {
    vec![Check { name: "licences: checksums of OpenEmbedded's common licences", run: checksums }]
}

fn checksums(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let core = clones.layer("openembedded-core");
    let mut seen = 0;
    for recipe in recipes(workspace)? {
        for (file, sum) in recipe.licence_files() {
            let common = file
                .strip_prefix("${COMMON_LICENSE_DIR}/")
                .map(|name| format!("meta/files/common-licenses/{name}"));
            let core_own = file.strip_prefix("${COREBASE}/").map(str::to_owned);
            let Some(name) = common.or(core_own) else { continue };
            let said = shell::output(Command::new("md5sum").arg(core.join(&name)))
                .with_context(|| format!("{} names {file}", recipe.path))?;
            ensure!(said.starts_with(sum), "{}: {file} has the checksum {said}, not {sum}", recipe.path);
            seen += 1;
        }
    }
    note(format_args!("{seen} checksums"));
    Ok(())
}
