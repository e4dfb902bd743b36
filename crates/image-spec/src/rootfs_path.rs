//! A path inside an image's root that cannot lead out of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::text::{excerpt, serde_as_string};

/// Why a text is no path inside the rootfs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootfsPathError {
    /// Nothing, or only slashes and dots: the root itself is no file.
    #[error("`{0}` names no file inside the image")]
    NamesNoFile(String),
    /// A `..` component, wherever it would lead.
    #[error("`{0}` contains `..`, which could leave the image's root")]
    ParentComponent(String),
    /// A NUL byte, which ends a path early in every C program that reads it.
    #[error("`{0}` contains a NUL byte")]
    Nul(String),
    /// Longer than the kernel takes.
    #[error("the path has {0} bytes, the kernel takes at most {max}", max = RootfsPath::MAX_LEN)]
    TooLong(usize),
}

/// A path inside the rootfs, kept as `/a/b`: absolute, without `.`, `..` or empty components.
///
/// The guarantee is lexical. Whoever opens the file must still not follow a symbolic link out of the rootfs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootfsPath(String);

impl RootfsPath {
    /// Linux' PATH_MAX (4096, linux/limits.h) less the terminating NUL.
    pub const MAX_LEN: usize = 4095;

    /// As a path from the image's root: `/firmware.elf`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the leading slash, as a name in the layer's tar: `firmware.elf`.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// Where the file is when the image's root is mounted at `root`.
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(self.relative())
    }
}

impl fmt::Display for RootfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RootfsPath {
    type Err = RootfsPathError;

    /// Reads a path with or without a leading slash; both start at the image's root.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('\0') {
            return Err(RootfsPathError::Nul(excerpt(text)));
        }
        let mut path = String::new();
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => return Err(RootfsPathError::ParentComponent(excerpt(text))),
                name => {
                    path.push('/');
                    path.push_str(name);
                }
            }
        }
        match path.len() {
            0 => Err(RootfsPathError::NamesNoFile(excerpt(text))),
            1..=Self::MAX_LEN => Ok(RootfsPath(path)),
            length => Err(RootfsPathError::TooLong(length)),
        }
    }
}

serde_as_string!(RootfsPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_the_root_whatever_the_spelling() {
        for text in ["/a/b.elf", "a/b.elf", "//a///b.elf", "./a/./b.elf", "a/b.elf/"] {
            let path: RootfsPath = text.parse().unwrap();
            assert_eq!(path.as_str(), "/a/b.elf");
            assert_eq!(path.relative(), "a/b.elf");
        }
        let path: RootfsPath = "..a/b..".parse().unwrap();
        assert_eq!(path.under(Path::new("/mnt")), Path::new("/mnt/..a/b.."));
    }

    #[test]
    fn says_why_a_path_is_refused() {
        use RootfsPathError::*;
        let parse = |text: &str| text.parse::<RootfsPath>().unwrap_err();
        assert!(matches!(parse("/../etc/shadow"), ParentComponent(_)));
        assert!(matches!(parse("a/../b"), ParentComponent(_)), "even where it would stay inside");
        assert!(matches!(parse("a\0b"), Nul(_)));
        assert!(matches!(parse(""), NamesNoFile(_)));
        assert!(matches!(parse("/./"), NamesNoFile(_)));
        assert!(matches!(parse(&"x".repeat(5000)), TooLong(5001)));
    }
}
