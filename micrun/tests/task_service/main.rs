//! The Task service as containerd speaks to it: over ttrpc, with the echo pedestal below.
//!
//! - `contract`: each call of the table in docs/conformance.md, under both names of the API
//! - `life`: from Create to Delete, alone and at once; when a shim may end
//! - `answers`: codes and sentences
//! - `endings`: signals, statuses, events
//! - `pods`: the sandbox that CRI makes before the containers of a pod
//! - `images`, `streams`: what a container is made of, and what is refused

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod answers;
mod contract;
mod endings;
mod images;
mod life;
mod pods;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use micrun::pedestal::ExitCause;
use support::echo::{Echo, Script};

/// Guests that end by themselves, soon after their start.
fn dying(cause: ExitCause) -> Echo {
    Echo::with(Script { dies: Some((Duration::from_millis(20), cause)), ..Script::default() })
}
