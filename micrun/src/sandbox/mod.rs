//! Pods: containers that share a shim, and the sandbox that CRI makes before them.
//!
//! ```text
//!   RunPodSandbox ──> Create, Start of the sandbox: the shim itself, and nothing beside it
//!   CreateContainer ──> Create in the same shim: a guest
//!   StopPodSandbox ──> Kill of the sandbox: it ends alone, its guests run on
//!   RemovePodSandbox ──> Delete; the shim stays until the last container is deleted
//! ```
//!
//! CRI's sandbox is a container whose program ("pause") keeps the namespaces of Linux containers open. Guests have no
//! such namespaces, so here the sandbox is a container of a guest that is [nothing](pause): it answers like any other,
//! by the same states, and costs a directory of the [store](crate::store).
//!
//! - [`pause`]: the guest that is nothing.

pub mod pause;

/// The annotation in which CRI names the pod of a container.
pub const SANDBOX_ID: &str = "io.kubernetes.cri.sandbox-id";

/// The annotation in which CRI tells sandboxes from other containers.
pub const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What CRI makes before the containers. Its id is the pod's.
    Sandbox,
    /// One of the pod's containers.
    Member,
    /// There is no CRI, and perhaps no pod.
    Alone,
}

impl Role {
    /// From [`CONTAINER_TYPE`]; `None` for what CRI does not write.
    pub fn of(container_type: Option<&str>) -> Option<Role> {
        match container_type {
            None => Some(Role::Alone),
            Some("sandbox") => Some(Role::Sandbox),
            Some("container") => Some(Role::Member),
            Some(_) => None,
        }
    }
}
