//! What a container asks for, and what the node says.
//!
//! - [`settings`]: client.conf and annotations of a container, merged.
//! - [`node`]: what the node's operator decides, for all containers: `micrun.conf`.

pub mod node;
pub mod settings;

pub use node::NodeConfig;
pub use settings::{Settings, SettingsError};
