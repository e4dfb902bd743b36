//! Work inside a mount or network namespace that the shim itself never enters.
//!
//! A mount namespace belongs to a thread (together with its root and working directory, which it must
//! share with no other thread), and so does a network namespace. So such work runs on a thread of its own that ends
//! with it: whatever it mounted is gone then, even if the whole process is killed half-way.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::mount::MountPropagationFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use tokio::sync::oneshot;

use crate::sys::unshare;
use crate::trace::Scope;

/// Runs `work` in a new mount namespace: it sees all mounts of the node, and the node sees none of its own.
///
/// # Errors
///
/// Where no thread or no namespace can be made (not root), or what `work` itself returns.
pub async fn with_private_mounts<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<std::io::Error> + Send + 'static,
{
    on_own_thread(move || {
        unshare(UnshareFlags::NEWNS | UnshareFlags::FS).map_err(std::io::Error::from)?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change(c"/", private).map_err(std::io::Error::from)?;
        work()
    })
    .await
}

/// Runs `work` in the namespace of this kind that `namespace` (a `/proc/PID/ns/...`, or where one is mounted) refers to.
///
/// # Errors
///
/// Where the namespace cannot be entered, or what `work` itself returns.
pub async fn within<T, E>(
    namespace: OwnedFd,
    kind: LinkNameSpaceType,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<std::io::Error> + Send + 'static,
{
    on_own_thread(move || {
        // Without it the kernel refuses mount namespaces, and network namespaces do not mind.
        unshare(UnshareFlags::FS).map_err(std::io::Error::from)?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))
            .map_err(std::io::Error::from)?;
        drop(namespace);
        work()
    })
    .await
}

/// Runs `work` where it may block.
///
/// # Errors
///
/// Where no thread can be made, or what `work` itself returns.
pub async fn on_own_thread<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<std::io::Error> + Send + 'static,
{
    let (done, result) = oneshot::channel();
    let scope = Scope::current();
    thread::Builder::new().name("namespace".to_owned()).spawn(move || {
        // Nobody waits for the result any more when the receiver is gone.
        let _ = done.send(scope.run_now(work));
    })?;
    result.await.unwrap_or_else(|_| Err(std::io::Error::other("the helper thread panicked").into()))
}
