//! The directories of cgroups: made from the top down, marked as ours, removed from the bottom up.
//!
//! A directory above a container's own may be an engine's, or one that the first container of ours made and the last one
//! has to remove. Those are marked with an extended attribute: nothing else is needed to know them again, however many
//! shims were killed in between, and nobody else's is ever removed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::XattrFlags;

use super::CgroupError;
use super::mounts::Controller;

/// The mark. Only root reads and writes `trusted` attributes (xattr(7)).
const MARK: &str = "trusted.micrun";

/// How long the kernel may take to let go of a cgroup whose last process has ended.
const RELEASE: Duration = Duration::from_secs(2);

/// Makes a cgroup's directory and those above it, below `root`. `prepare` is called for each of them, from the top down,
/// whether it is new or not.
pub fn make(
    root: &Path,
    path: &Path,
    mut prepare: impl FnMut(&Path) -> Result<(), CgroupError>,
) -> Result<(), CgroupError> {
    'again: loop {
        for dir in below(root, path) {
            match fs::create_dir(&dir) {
                // Refused only by a kernel or a file system without such marks: then a directory may be left behind.
                Ok(()) => drop(rustix::fs::setxattr(&dir, MARK, b"1", XattrFlags::empty())),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // The last container of another shim took it away in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound && dir.parent() != Some(root) => {
                    continue 'again;
                }
                Err(error) => return Err(CgroupError::io("making", &dir)(error)),
            }
            match prepare(&dir) {
                Err(CgroupError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && !dir.is_dir() =>
                {
                    continue 'again;
                }
                other => other?,
            }
        }
        return Ok(());
    }
}

/// Removes a cgroup and, of those above it, what is ours and empty. None there is fine.
pub fn remove(root: &Path, path: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + RELEASE;
    while let Err(error) = fs::remove_dir(path) {
        match error.kind() {
            io::ErrorKind::NotFound => break,
            io::ErrorKind::ResourceBusy if Instant::now() < deadline => sleep(Duration::from_millis(5)),
            _ => return Err(CgroupError::io("removing", path)(error)),
        }
    }
    for dir in path.ancestors().skip(1).take_while(|dir| *dir != root && dir.starts_with(root)) {
        // Another container is in it, or it is gone.
        if !is_ours(dir) || fs::remove_dir(dir).is_err() {
            break;
        }
    }
    Ok(())
}

/// Whether a shim made it.
pub fn is_ours(dir: &Path) -> bool {
    rustix::fs::getxattr(dir, MARK, &mut [0; 8]).is_ok()
}

/// How many processes are in it; 0 where it does not exist.
pub fn processes(dir: &Path) -> Result<usize, CgroupError> {
    let file = dir.join("cgroup.procs");
    match read(&file) {
        Ok(text) => Ok(text.lines().count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(CgroupError::io("reading", &file)(error)),
    }
}

/// The most that is read of a file, bytes. The longest is memory.stat, with some five thousand.
const MAX_FILE: u64 = 64 * 1024;

/// Reads a file of a cgroup.
pub fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes to a file of a cgroup. The kernel makes those, nobody else.
pub fn put(file: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(file)?.write_all(text.as_bytes())
}

/// Version 1: a new cpuset has no core and no memory node, and nothing can run in it. It gets those of the one above.
pub fn fill_cpuset(dir: &Path) -> Result<(), CgroupError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let file = dir.join(name);
        let doing = CgroupError::io("filling", &file);
        let fill = || {
            if read(&file)?.trim().is_empty() {
                let above = dir.parent().unwrap_or(dir).join(name);
                put(&file, read(&above)?.trim())?;
            }
            Ok(())
        };
        fill().map_err(doing)?;
    }
    Ok(())
}

/// Version 2: gives the cgroups in `dir` these controllers, as far as it has them itself. What it has not is found out by
/// whoever needs it.
pub fn enable(dir: &Path, wanted: &[Controller]) {
    let list = |name: &str| read(&dir.join(name)).unwrap_or_default();
    let (there, enabled) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
    let has = |list: &str, one: Controller| list.split_whitespace().any(|name| name == one.name());
    // One by one: a write fails for all that it names.
    for controller in wanted.iter().filter(|one| has(&there, **one) && !has(&enabled, **one)) {
        if let Err(error) = put(&dir.join("cgroup.subtree_control"), &format!("+{}", controller.name())) {
            tracing::debug!(dir = %dir.display(), controller = controller.name(), %error, "not enabled");
        }
    }
}

/// Version 2: whether a cgroup has a controller.
pub fn has(dir: &Path, controller: Controller) -> bool {
    let list = read(&dir.join("cgroup.controllers")).unwrap_or_default();
    list.split_whitespace().any(|name| name == controller.name())
}

/// The directories from the one below `root` to `path`.
fn below(root: &Path, path: &Path) -> Vec<PathBuf> {
    let above: Vec<&Path> =
        path.ancestors().take_while(|dir| *dir != root && dir.starts_with(root)).collect();
    above.into_iter().rev().map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &Path) -> Result<(), CgroupError> {
        Ok(())
    }

    #[test]
    fn what_is_ours_goes_with_its_last_container_and_what_is_others_stays() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path();
        fs::create_dir(top.join("theirs")).unwrap();
        let (a, b) = (top.join("theirs/ours/a"), top.join("theirs/ours/b"));
        make(top, &a, nothing).unwrap();
        make(top, &b, nothing).unwrap();
        assert!(is_ours(&a) && is_ours(&top.join("theirs/ours")) && !is_ours(&top.join("theirs")));
        remove(top, &a).unwrap();
        assert!(b.is_dir());
        remove(top, &b).unwrap();
        remove(top, &b).unwrap();
        assert!(!top.join("theirs/ours").exists() && top.join("theirs").is_dir());
    }

    #[test]
    fn each_directory_is_prepared_from_the_top_down_also_those_that_were_there() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        let mut seen = Vec::new();
        let prepare = |dir: &Path| {
            seen.push(dir.strip_prefix(root.path()).unwrap().to_owned());
            Ok(())
        };
        make(root.path(), &root.path().join("a/b/c"), prepare).unwrap();
        assert_eq!(seen, ["a", "a/b", "a/b/c"].map(PathBuf::from));
    }

    #[test]
    fn a_root_that_is_gone_is_an_error_and_no_loop() {
        let said = make(Path::new("/nowhere"), Path::new("/nowhere/a"), nothing).unwrap_err().to_string();
        assert!(said.contains("/nowhere/a"), "{said}");
    }
}
