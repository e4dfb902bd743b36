//! The action `-info`: what the runtime is, asked for before any container exists.

use containerd_shim::protos::protobuf::{Message, MessageField};
use containerd_shim::protos::types::introspection::{RuntimeInfo, RuntimeVersion};

use super::{ActionError, RUNTIME};

/// A `RuntimeInfo` message. It lists no features: containerd would check a container's user namespaces
/// and mount options against them, and a guest has neither.
pub fn info() -> Result<Vec<u8>, ActionError> {
    let version = RuntimeVersion { version: env!("CARGO_PKG_VERSION").to_owned(), ..Default::default() };
    let info =
        RuntimeInfo { name: RUNTIME.to_owned(), version: MessageField::some(version), ..Default::default() };
    info.write_to_bytes().map_err(ActionError::when("writing the runtime's description"))
}
