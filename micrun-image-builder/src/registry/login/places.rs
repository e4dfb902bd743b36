//! Where credentials are stored: containers-auth.json(5), and docker's manual.

use std::env;
use std::io;
use std::path::PathBuf;

use super::{AuthFile, LoginError};
use crate::small_file::{self, SmallFileError};

/// Larger than any file with credentials, bytes.
const MAX_FILE: u64 = 1 << 20;

/// A file that may hold credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthPlace {
    /// The file.
    pub path: PathBuf,
    /// True if the user named it, so that it has to be there.
    pub required: bool,
}

impl AuthPlace {
    /// The places that podman, skopeo and docker look in, in this order. `REGISTRY_AUTH_FILE` replaces all of them.
    pub fn usual() -> Vec<Self> {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let optional = |path| AuthPlace { path, required: false };
        if let Some(path) = variable("REGISTRY_AUTH_FILE") {
            return vec![optional(path)];
        }
        let home = env::home_dir();
        let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let session = variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
        let config = variable("XDG_CONFIG_HOME").or_else(|| in_home(".config"));
        let docker = variable("DOCKER_CONFIG").or_else(|| in_home(".docker"));
        [
            session.or_else(without_session),
            config.map(|dir| dir.join("containers/auth.json")),
            docker.map(|dir| dir.join("config.json")),
        ]
        .into_iter()
        .flatten()
        .map(optional)
        .collect()
    }

    /// None if the file is not there and need not be.
    pub(super) fn read(&self) -> Result<Option<AuthFile>, LoginError> {
        let bytes = match small_file::read(&self.path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(SmallFileError::Read { source, .. }) if is_absent(&source) && !self.required => {
                return Ok(None);
            }
            Err(error) => return Err(LoginError::Read(error)),
        };
        let broken = |problem| LoginError::Broken { path: self.path.clone(), problem };
        AuthFile::parse(&bytes).map(Some).map_err(broken)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Where podman keeps them for users without a login session, such as root in CI.
#[cfg(target_os = "linux")]
fn without_session() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let user = std::fs::metadata("/proc/self").ok()?.uid();
    Some(PathBuf::from(format!("/run/containers/{user}/auth.json")))
}

#[cfg(not(target_os = "linux"))]
fn without_session() -> Option<PathBuf> {
    None
}
