//! The console as engines set it up: over real FIFOs, files and logging programs.
//!
//! - [`client`]: a client of the engine, at its ends of the streams
//! - [`table`]: what `run` and `attach` promise, in each of their forms
//! - [`input`]: what is typed, and its end
//! - [`output`]: what a reader gets, however slow it is
//! - [`end`]: how the streams end with the guest
//! - [`logs`]: `file://` and `binary://`

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod client;
mod end;
mod input;
mod logs;
mod output;
mod table;

#[path = "../support/mod.rs"]
mod support;
