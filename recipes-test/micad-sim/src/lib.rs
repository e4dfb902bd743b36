//! The mica daemon's protocol from the other side, for tests and for people without a board.
//!
//! It does what the original (openEuler mcs, June 2026) does, its limits and its wrong answers included, and it
//! decodes the protocol by itself: no code of the client's is used, so that each checks the other. README.md shows a
//! session and lists what is imitated and what is not.
//!
//! - [`Sim`]: start a simulator, give it orders, drop it; [`Options`] say how
//! - [`wire`]: messages, answers, resource tables, as bytes
//! - [`fault`]: what can be made to go wrong, and how it is asked for
//! - `daemon`: the one thread that serves sockets
//! - `client`: a client's state and what its commands do
//! - [`pedestal`]: the four pedestals and the places they have for guests
//! - [`board`]: what guests run on: QEMU on any machine, real Xen in a Dom0
//! - [`tty`]: the ptys through which guests speak
//! - [`control`]: orders from another process

pub mod board;
mod client;
pub mod control;
mod daemon;
pub mod fault;
mod journal;
pub mod pedestal;
mod sim;
pub mod tty;
pub mod wire;

pub use sim::{Hypervisor, Options, Sim, SimError};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
