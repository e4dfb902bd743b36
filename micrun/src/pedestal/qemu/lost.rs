//! Finds an emulator by its container's name alone: the tmpfs that is its root carries the name, and is mounted in no
//! other process's mount namespace.

use std::fs;
use std::io;

use crate::id::Key;
use crate::process::ProcessId;

/// What the kernel lists as the source of the root of a container's emulator. Ids have no character that
/// proc_pid_mountinfo(5) would escape.
pub fn root_name(key: &Key) -> String {
    format!("micrun:{key}")
}

/// Ends every emulator of this container.
///
/// # Errors
///
/// Where /proc cannot be read, or an emulator does not end.
pub fn kill_all(key: &Key) -> io::Result<()> {
    let name = root_name(key);
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Named first: what is read next is then this process's, or nobody's.
        let Ok(process) = ProcessId::of(pid) else { continue };
        let mounts = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        if is_root(&mounts, &name) {
            tracing::warn!(pid, root = name, "ending an emulator that nobody knows of");
            process.kill_and_wait()?;
        }
    }
    Ok(())
}

/// Whether the root, in a mountinfo, is the tmpfs of this name.
fn is_root(mounts: &str, name: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ');
        let at_root = fields.nth(4) == Some("/");
        // Optional fields end with a dash; file system type and source follow.
        let mut rest = fields.skip_while(|field| *field != "-").skip(1);
        at_root && rest.next() == Some("tmpfs") && rest.next() == Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    #[test]
    fn an_emulator_is_told_by_its_root() {
        let key = Key { namespace: Id::new("default").unwrap(), id: Id::new("a").unwrap() };
        let name = root_name(&key);
        let line = |at: &str, source: &str| {
            format!(
                "500 499 0:50 / {at} ro,nosuid,nodev,noexec,relatime master:1 - tmpfs {source} rw,size=64k"
            )
        };
        assert!(is_root(&line("/", "micrun:default/a"), &name));
        assert!(is_root(&format!("{}\n{}", line("/usr", "x"), line("/", "micrun:default/a")), &name));
        for other in [line("/mnt", "micrun:default/a"), line("/", "micrun:default/ab"), line("/", "tmpfs")] {
            assert!(!is_root(&other, &name), "{other}");
        }
        assert!(!is_root("", &name) && !is_root("micrun:default/a", &name));
    }
}
