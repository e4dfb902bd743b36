//! A client for micad, the daemon of openEuler's mcs that runs guests on Xen, on cores of their own, in Jailhouse cells
//! and on cores of another kind.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`create`] | the create message: a C struct of 1772 bytes, and what fits into it |
//! | [`command`] | the control messages: at most 31 bytes, one of few |
//! | [`reply`] | what comes back: a text and a marker |
//! | [`status`] | the line that `status` answers, with the guest's state and its ttys |
//! | [`client`] | one connection for each request, with a deadline |
//! | [`error`] | what can go wrong, and what to do about it |
//!
//! The daemon has one thread for all clients and waits in it for whoever is connected. So a request is one connection,
//! one write, and reading until the answer is complete: nothing here keeps a connection. What the daemon would cut or
//! take for something else is refused before anything is sent.

#![warn(clippy::missing_errors_doc)]

pub mod client;
pub mod command;
pub mod create;
pub mod error;
pub mod reply;
pub mod status;

pub use client::Micad;
pub use command::{Command, Key, Setting};
pub use create::{ClientName, Create, Pedestal};
pub use error::{Error, FieldError};
pub use status::{Service, State, Status};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
