//! The commands of a node: BusyBox, as OpenEmbedded configures it, has fewer than a desk.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Workspace, note};

use super::Check;
use crate::clones::Clones;
use crate::tracked::{text, tracked};

/// Below openembedded-core.
const CONFIG: &str = "meta/recipes-core/busybox/busybox/defconfig";

/// Fewer commands than this that are left out, and the file is not what it was.
const LEAST: usize = 50;

pub fn checks() -> Vec<Check> {
    vec![Check { name: "scripts of a node use no command that BusyBox lacks there", run: commands }]
}

fn commands(workspace: &Workspace, clones: &Clones) -> Result<()> {
    let config = clones.layer("openembedded-core").join(CONFIG);
    let config =
        std::fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let lacking = lacking(&config);
    ensure!(lacking.len() > LEAST, "{CONFIG} leaves out {} commands only", lacking.len());
    let mut count = 0;
    for path in tracked(workspace)?.iter().filter(|path| path.starts_with("meta-micrun/recipes-")) {
        let script = text(workspace, path)?;
        if script.starts_with("#!/bin/sh\n") {
            let used = words(&script).find(|word| lacking.contains(*word));
            ensure!(
                used.is_none(),
                "{path} calls {}, which BusyBox lacks on a node",
                used.unwrap_or_default()
            );
            count += 1;
        }
    }
    ensure!(count > 0, "the layer has no scripts");
    note(format_args!("{count} scripts, {} commands that they must not call", lacking.len()));
    Ok(())
}

/// `# CONFIG_TIMEOUT is not set`: no `timeout`. What has an underscore is an option of a command, or of all.
fn lacking(config: &str) -> BTreeSet<String> {
    let names = config.lines().filter_map(|line| line.strip_prefix("# CONFIG_")?.strip_suffix(" is not set"));
    names.filter(|name| !name.contains('_')).map(str::to_ascii_lowercase).collect()
}

/// Whatever stands by itself where a command may, be it one or not: comments and what is quoted are left out.
fn words(script: &str) -> impl Iterator<Item = &str> {
    let code = script.lines().map(|line| line.split_once(" #").map_or(line, |(code, _)| code));
    let code = code.filter(|line| !line.trim_start().starts_with('#'));
    let bare = code.flat_map(|line| line.split(['"', '\'']).step_by(2));
    bare.flat_map(|part| part.split(|c: char| c.is_whitespace() || "();|&{}`".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_wherever_they_stand() {
        let script = "#!/bin/sh\n# timeout of it\nif a; then eventually 20 timeout 20 xl list || fault \"the timeout\"; fi\n";
        let found: Vec<&str> = words(script).filter(|word| *word == "timeout").collect();
        assert_eq!(found, ["timeout"]);
        let config = "CONFIG_SYNC=y\n# CONFIG_TIMEOUT is not set\n# CONFIG_FEATURE_SYNC_FANCY is not set\n";
        assert_eq!(lacking(config), BTreeSet::from(["timeout".to_owned()]));
    }
}
