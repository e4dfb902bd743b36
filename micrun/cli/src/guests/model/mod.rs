//! What an operator declares of a guest, and what is remembered of it. Nothing here knows containerd: the folder stands for
//! itself, so that its readers can be fuzzed alone.
//!
//! - [`declaration`]: a file of `guests.d`; [`keys`]: every key of it; [`error`]: what can be wrong with it.
//! - [`image`]: the three ways to name an image.
//! - [`generation`]: one version of a guest: what has to be made anew when it changes.
//! - [`state`]: which generation runs, which one ran before, which one is not wanted again.

pub mod declaration;
pub mod error;
pub mod generation;
pub mod image;
pub mod keys;
pub mod state;

pub use declaration::{Declaration, Health, Log, Restart};
pub use error::DeclarationError;
pub use generation::Generation;
pub use image::Image;
pub use state::{Chosen, Refused, Seen, State, StateError, Trial};
