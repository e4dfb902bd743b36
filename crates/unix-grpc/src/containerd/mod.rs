//! The messages of containerd's API that its clients here send, with the fields that they need. Names and numbers are those of
//! its .proto files (api/services, api/types), which do not change within an API version.

pub mod containers;
pub mod content;
pub mod events;
pub mod images;
pub mod node;
pub mod snapshots;
pub mod tasks;

mod common;

pub use common::{Any, FieldMask, Nothing};

/// The header that says in whose namespace a call is made.
pub const NAMESPACE: &str = "containerd-namespace";
