//! What a trial left in Dom0: domains, mounts, processes, state, and what containerd still knows. One script looks at
//! all of it, since every program that starts costs an emulated tenth of a second.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use micrun_testkit::{Node, wait};

/// A line for everything that should come and go with a guest.
const LOOK: &str = r#"
xl list | awk 'NR > 1 { print "domain", $1 }'
awk '{ print "mount", $2 }' /proc/mounts
ps --ppid 2 -p 2 --deselect -o args= | grep -v -e '^ps ' -e '^sh -c' -e '^awk ' -e '^grep ' -e '^sed ' | sed 's/^/process /'
find /run/micrun /run/mica /run/containerd/s /tmp -mindepth 1 2>/dev/null | sed 's/^/file /'
for what in task container image; do ctr $what ls -q | sed "s/^/$what /"; done
ctr snapshot ls | awk 'NR > 1 { print "snapshot", $1 }'
"#;

/// Shims exit and containerd collects garbage a little after `ctr` came back; slowly, under emulation.
const SETTLE: Duration = Duration::from_secs(30);

/// What was there when the node had just started.
pub struct Leftovers(BTreeMap<String, usize>);

impl Leftovers {
    pub fn look(node: &Node) -> Result<Self> {
        let mut found = BTreeMap::new();
        let said = node.ask(&["sh", "-c", LOOK])?;
        ensure!(said.status.success(), "cannot look for leftovers: {}", said.stderr);
        for line in said.stdout.lines() {
            *found.entry(line.trim_end().to_owned()).or_default() += 1;
        }
        Ok(Self(found))
    }

    /// Fails with a list of what is there now and was not then.
    pub fn assert_nothing_new(&self, node: &Node) -> Result<()> {
        let mut new = Vec::new();
        let clean = wait::gently(SETTLE, "nothing to be left", || {
            let now = Self::look(node)?.0;
            let more = |(line, count): &(String, usize)| *count > self.0.get(line).copied().unwrap_or(0);
            new = now.into_iter().filter(more).map(|(line, _)| line).collect();
            Ok(new.is_empty().then_some(()))
        });
        match clean {
            Err(_) if !new.is_empty() => bail!("left in Dom0:\n  {}", new.join("\n  ")),
            Err(error) => Err(error),
            Ok(()) => {
                node.remark("Dom0 is as it was: no domain, mount, process, file, task, container, image or snapshot more");
                Ok(())
            }
        }
    }
}
