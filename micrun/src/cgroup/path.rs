//! The forms of `linux.cgroupsPath`: a path, or systemd's `slice:prefix:name`. Pure.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The slice of a scope for which none is named.
const DEFAULT_SLICE: &str = "system.slice";

/// The longest name of a unit, bytes (systemd, `UNIT_NAME_MAX`).
const MAX_UNIT: usize = 255;

/// Where an engine wants a container to be counted and limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupPath {
    /// A directory.
    Directory {
        /// From the top of each hierarchy; else from where this process is.
        absolute: bool,
        /// Without a leading slash.
        path: PathBuf,
    },
    /// A unit of systemd's.
    Scope(Scope),
}

/// A scope of systemd's: processes that others started, in a cgroup that systemd makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The slice that it is in: `kubepods-burstable.slice`.
    pub slice: String,
    /// Its name: `cri-containerd-ID.scope`.
    pub unit: String,
}

/// Why a text is no place for a container.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("linux.cgroupsPath {text:?} {why}; write a path, or slice:prefix:name for systemd")]
pub struct InvalidCgroupPath {
    text: String,
    why: &'static str,
}

impl FromStr for CgroupPath {
    type Err = InvalidCgroupPath;

    fn from_str(text: &str) -> Result<CgroupPath, InvalidCgroupPath> {
        let invalid = |why| InvalidCgroupPath { text: text.chars().take(256).collect(), why };
        if text.contains('\0') {
            return Err(invalid("holds a zero byte"));
        }
        match text.split(':').collect::<Vec<_>>()[..] {
            [slice, prefix, name] if !text.contains('/') => {
                Scope::new(slice, prefix, name).map(CgroupPath::Scope).map_err(invalid)
            }
            _ => {
                let (absolute, path) = directory(Path::new(text)).map_err(invalid)?;
                Ok(CgroupPath::Directory { absolute, path })
            }
        }
    }
}

fn directory(text: &Path) -> Result<(bool, PathBuf), &'static str> {
    let mut path = PathBuf::new();
    for component in text.components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err("leads upwards"),
        }
    }
    // Whatever is there belongs to all of the machine, or to whoever started the shim.
    if path.as_os_str().is_empty() {
        Err("names no cgroup below the top")
    } else {
        Ok((text.is_absolute(), path))
    }
}

impl Scope {
    fn new(slice: &str, prefix: &str, name: &str) -> Result<Scope, &'static str> {
        let slice = if slice.is_empty() { DEFAULT_SLICE } else { slice };
        let unit = format!("{prefix}-{name}.scope");
        if name.is_empty() || name.ends_with(".slice") {
            return Err("names no scope");
        }
        if !is_unit_name(&unit) || !is_unit_name(slice) {
            return Err("has a name that no unit of systemd can have");
        }
        let scope = Scope { slice: slice.to_owned(), unit };
        scope.slices().ok_or("names no slice (a-b.slice)")?;
        Ok(scope)
    }

    /// The cgroup that systemd makes for it: `a.slice/a-b.slice/x-y.scope`.
    pub fn path(&self) -> PathBuf {
        let mut path = self.slices().unwrap_or_default();
        path.push(&self.unit);
        path
    }

    /// Each slice lies in the one that its name begins with (systemd.slice(5)). `None` for what is no slice's name.
    fn slices(&self) -> Option<PathBuf> {
        let name = self.slice.strip_suffix(".slice")?;
        if name == "-" {
            return Some(PathBuf::new());
        }
        let mut path = PathBuf::new();
        for (end, _) in name.match_indices('-').chain([(name.len(), "")]) {
            let prefix = &name[..end];
            if prefix.is_empty() || prefix.ends_with('-') {
                return None;
            }
            path.push(format!("{prefix}.slice"));
        }
        Some(path)
    }
}

/// systemd.unit(5).
fn is_unit_name(name: &str) -> bool {
    name.len() <= MAX_UNIT
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths() {
        let table = [
            ("/default/a", true, "default/a"),
            ("/kubepods/burstable/podX/ID", true, "kubepods/burstable/podX/ID"),
            ("//a/./b/", true, "a/b"),
            ("a/b", false, "a/b"),
            ("./a", false, "a"),
            ("/a:b:c", true, "a:b:c"),
            ("a:b", false, "a:b"),
        ];
        for (text, absolute, path) in table {
            let expected = CgroupPath::Directory { absolute, path: path.into() };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn scopes() {
        let table = [
            ("system.slice:nerdctl:abc", "system.slice/nerdctl-abc.scope"),
            (":cri-containerd:abc", "system.slice/cri-containerd-abc.scope"),
            (
                "kubepods-burstable-pod1_2.slice:cri-containerd:abc",
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-abc.scope",
            ),
            ("-.slice:a:b", "a-b.scope"),
            ("a.slice::b", "a.slice/-b.scope"),
        ];
        for (text, path) in table {
            match text.parse() {
                Ok(CgroupPath::Scope(scope)) => assert_eq!(scope.path(), Path::new(path), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "/",
            ".",
            "/a/../b",
            "..",
            "a:b:c",
            "a.slice:b:",
            "a--b.slice:c:d",
            "-a.slice:c:d",
            "a-.slice:c:d",
            ".slice:c:d",
            "a.slice:b:c.slice",
            "a.slice:b b:c",
            "a\0b",
        ] {
            let said = text.parse::<CgroupPath>().unwrap_err().to_string();
            assert!(said.contains("slice:prefix:name"), "{said}");
        }
        assert!(format!("a.slice:b:{}", "x".repeat(300)).parse::<CgroupPath>().is_err());
    }

    proptest! {
        #[test]
        fn nothing_leads_out_of_the_hierarchy(text in "[-a.:/\\\\ ]{0,24}|.{0,24}") {
            let path = match text.parse() {
                Ok(CgroupPath::Directory { path, .. }) => path,
                Ok(CgroupPath::Scope(scope)) => scope.path(),
                Err(_) => return Ok(()),
            };
            prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
            prop_assert!(path.components().count() > 0);
        }
    }
}
