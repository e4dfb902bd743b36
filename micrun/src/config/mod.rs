//! What a container asks for, and what the node says.
//!
//! - [`settings`]: what node, image and engine say about a container, merged; `said`: the last two, word by word.
//! - [`node`]: what the node's operator decides, for all containers: `micrun.conf`.
//! - [`explanation`]: where each value of a container came from, by [`origin`]; [`given`]: that of its resources.

pub mod explanation;
pub mod given;
pub mod node;
pub mod origin;
mod said;
pub mod settings;

pub use explanation::Explanation;
pub use node::NodeConfig;
pub use settings::{Merged, Settings, SettingsError};
