//! Puts images into a running containerd, over its gRPC API and without `ctr`.
//!
//! | module | its one job |
//! | --- | --- |
//! | `sink` | the order of calls: lease, blobs, manifests, image |
//! | [`labels`] | what keeps content from the garbage collector, in containerd's own spelling |
//! | [`namespace`] | containerd's namespaces by name |
//! | `error` | why it did not work, and what to try |
//!
//! The calls themselves are made by [`micrun_unix_grpc`], which has the messages, too.
//!
//! Nothing is unpacked: containerd and Kubernetes do that when they make the first container, with the snapshotter that
//! they use. docs/decisions/0007-containerd-load.md says why the client is our own.

pub mod labels;
pub mod namespace;

#[cfg(unix)]
mod error;
#[cfg(unix)]
mod sink;

#[cfg(unix)]
pub use error::ContainerdError;
pub use namespace::{BadNamespace, Namespace};
#[cfg(unix)]
pub use sink::ContainerdSink;

/// Where containerd listens unless it is told otherwise.
pub const DEFAULT_ADDRESS: &str = "/run/containerd/containerd.sock";
