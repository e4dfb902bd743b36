//! The whole contract of a container's life, played at random: sequences of calls and of things that happen to guests,
//! against the real ttrpc server with the echo pedestal, and against a model of some hundred lines. Every answer,
//! every code, every state and the stream of events must be the same.
//!
//! - [`story`]: what can happen, and how a story is made up. A story that fails shrinks, and is printed line by line.
//! - [`pure`]: the model: what ought to happen.
//! - [`play`]: what does.
//!
//! `PROPTEST_CASES=10000 cargo test -p micrun --test model` plays more of them than the 256 of every run.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod play;
mod pure;
mod story;
#[path = "../support/mod.rs"]
mod support;

use proptest::prelude::*;
use story::Story;

proptest! {
    #[test]
    fn the_shim_does_what_the_model_says(story in Story::any()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        if let Err(difference) = runtime.block_on(play::play(&story)) {
            return Err(TestCaseError::fail(difference));
        }
    }
}
