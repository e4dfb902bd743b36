//! Programs of a machine, run from outside over one stream of bytes that both directions share: many at a time, each
//! on a channel of its own. The test kit is the other side.
//!
//! - [`frame`]: what goes over the stream
//! - [`serve`]: the machine's side: starts programs, carries their streams, tells how they ended

pub mod frame;
pub mod serve;
