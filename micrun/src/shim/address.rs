//! Where a shim serves: `unix://` addresses and the file in which containerd finds one.

use std::fs;
use std::path::{Path, PathBuf};

use super::ActionError;

/// containerd looks for the shim of a bundle in this file when it restarts.
pub fn write_address(bundle: &Path, address: &str) -> Result<(), ActionError> {
    let (file, new) = (bundle.join("address"), bundle.join(".address.new"));
    fs::write(&new, address)
        .and_then(|()| fs::rename(&new, &file))
        .map_err(ActionError::when(format!("writing {}", file.display())))
}

/// The path of a `unix://` address.
pub fn path_of(address: &str) -> PathBuf {
    PathBuf::from(address.strip_prefix("unix://").unwrap_or(address))
}
