//! A domain's first network interface, where the shim connects Dom0's end of it.
//!
//! By itself `xl` runs a script that puts that end on a bridge of Dom0's and then tells the kernel so. For this one it
//! runs a program that does nothing, and the shim does both, wherever the end is to be. The kernel lets the guest's side
//! wait meanwhile: it compares `hotplug-status` with `connected` once the guest is ready
//! (Linux, `drivers/net/xen-netback/xenbus.c`). Dom0's end is gone with the domain, in whatever namespace it is.

use std::path::Path;

use super::{Domain, Store, XenError};

/// What `xl` runs when the interface comes and goes. A name without a folder would be looked for among Xen's scripts.
pub const SCRIPT: &str = "/bin/true";

/// Where the kernel shows that it serves network interfaces of guests.
const NETBACK: &str = "/sys/bus/xen-backend/drivers/vif";

/// Whether Dom0's kernel serves network interfaces of guests. Without that `xl create` waits ten seconds for it, and says
/// nothing that helps.
pub fn is_served() -> bool {
    Path::new(NETBACK).exists()
}

/// What Dom0's end is called (Linux, `drivers/net/xen-netback/interface.c`, `xenvif_alloc`).
pub fn device(domain: &Domain) -> String {
    format!("vif{}.0", domain.id())
}

/// Tells the kernel that Dom0's end is where it should be.
///
/// # Errors
///
/// [`XenError`] where xenstored does not answer or refuses.
pub async fn set_connected(domain: &Domain) -> Result<(), XenError> {
    let path = format!("/local/domain/0/backend/vif/{}/0/hotplug-status", domain.id());
    Store::connect().await?.write(&path, "connected").await
}
