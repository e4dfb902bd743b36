//! Whether a file has changed since it was looked at.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file as it was, or a link with the file that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    own: Option<Looks>,
    target: Option<Looks>,
}

/// Whoever changes a file changes one of these; the time of the last change of status cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looks {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970.
    changed: (i64, i64),
}

impl Mark {
    /// What is there now.
    pub fn of(path: &Path) -> Mark {
        let looks = |found: std::io::Result<Metadata>| found.ok().as_ref().map(Looks::of);
        Mark { own: looks(fs::symlink_metadata(path)), target: looks(fs::metadata(path)) }
    }

    /// How long ago it changed last. A clock that was put back makes none young.
    pub fn age(&self) -> Option<Duration> {
        let changed = [self.own, self.target].into_iter().flatten().map(|looks| looks.changed).max()?;
        let (seconds, nanos) = (u64::try_from(changed.0).ok()?, u64::try_from(changed.1).ok()?);
        let changed = Duration::from_secs(seconds) + Duration::from_nanos(nanos);
        SystemTime::UNIX_EPOCH.elapsed().ok()?.checked_sub(changed)
    }
}

impl Looks {
    fn of(found: &Metadata) -> Looks {
        Looks {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_that_is_written_moved_or_led_to_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, link) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("link"));
        assert_eq!(Mark::of(&link).age(), None);
        fs::write(&one, "1").unwrap();
        fs::write(&two, "2").unwrap();
        symlink(&one, &link).unwrap();
        let before = Mark::of(&link);
        assert_eq!(Mark::of(&link), before, "it did not change");
        assert!(before.age().unwrap() < Duration::from_secs(3600));
        fs::write(&one, "longer").unwrap();
        let written = Mark::of(&link);
        assert_ne!(written, before);
        fs::remove_file(&link).unwrap();
        symlink(&two, &link).unwrap();
        assert_ne!(Mark::of(&link), written);
        fs::remove_file(&two).unwrap();
        assert_ne!(Mark::of(&link), written);
    }
}
