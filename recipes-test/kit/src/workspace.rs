//! Where things are: the sources, what cargo built, and this kit's cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The source tree and the target directory that this program was built from and into.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds both. `CARGO_TARGET_DIR` decides about the second, else the place of the running program,
    /// `<target>/<profile>/<program>`, or `<target>/<profile>/deps/<program>` for a test.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().with_context(|| {
            format!("the source tree {} is gone: build again with cargo, in the clone", root.display())
        })?;
        ensure!(
            root.join("micrun/Cargo.toml").is_file(),
            "{} holds no micrun/: run this from a whole clone",
            root.display()
        );
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::path::absolute(dir).context("CARGO_TARGET_DIR is no usable path")?,
            None => {
                let exe = std::env::current_exe().context("cannot find the running program's own path")?;
                let is_test = exe.parent().is_some_and(|dir| dir.ends_with("deps"));
                match exe.ancestors().nth(if is_test { 3 } else { 2 }) {
                    Some(dir) => dir.to_owned(),
                    None => root.join("target"),
                }
            }
        };
        Ok(Self { root, target })
    }

    /// The top of the clone.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// A folder below `<target>/kit`, where downloads, images and logs are kept between runs; created when missing.
    pub fn kit(&self, folder: &str) -> Result<PathBuf> {
        let dir = self.target.join("kit").join(folder);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }
}
