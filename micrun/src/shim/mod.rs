//! containerd's shim protocol: requests in, replies and events out. Nothing is decided here.
//!
//! - [`start`], [`delete`], [`info`]: the actions of the command line, each a process of its own.
//! - [`serve`]: the process that stays.
//! - [`shared`]: the containers of a shim, and when it may end.
//! - [`task`]: the Task service; [`sandbox`]: the Sandbox service; `reply` turns domain errors into status codes, `stats` numbers into metrics.
//! - [`publisher`]: events back to containerd.
//! - `address`: where a shim serves.
//! - `calls`: a span around each call.
//! - `listener`: the socket, as ttrpc takes connections from it.
//! - `log`: what is logged, to the FIFO that containerd reads.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use containerd_shim::Flags;

use crate::cgroup::systemd;
use crate::remedy::remedy;

mod address;
mod calls;
mod delete;
mod info;
mod listener;
mod log;
pub mod publisher;
mod reply;
pub mod sandbox;
mod serve;
pub mod shared;
mod start;
mod stats;
pub mod task;

pub use serve::{Server, ServerError};

/// The runtime type that users name.
pub const RUNTIME: &str = "io.containerd.mica.v2";

/// The action word of the process that stays, which nobody types.
const ACTION_SERVE: &str = "serve";

/// The environment variable in which containerd says where it takes events.
const EVENTS_ADDRESS: &str = "TTRPC_ADDRESS";

/// Why an action failed. containerd shows the text to the user.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {why}")]
struct ActionError {
    doing: String,
    why: String,
}

impl ActionError {
    fn new(doing: impl Into<String>, why: impl std::fmt::Display) -> ActionError {
        ActionError { doing: doing.into(), why: why.to_string() }
    }

    /// For `map_err`: the error of something that was being done.
    fn when<E: std::fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> ActionError {
        move |why| ActionError::new(doing, why)
    }

    /// For `map_err`: an answer of the system's, with what to do about it.
    fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> ActionError {
        move |why| ActionError::new(doing, format_args!("{why}{}", remedy(&why)))
    }
}

/// What the executable does with its arguments.
pub fn main(arguments: &[OsString]) -> ExitCode {
    match act(arguments) {
        Ok(answer) => match std::io::stdout().write_all(&answer) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("containerd-shim-mica-v2: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &[OsString]) -> Result<Vec<u8>, ActionError> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return Ok(HELP.into());
    }
    if arguments == [systemd::ACTION_HOLD] {
        systemd::hold();
        return Ok(Vec::new());
    }
    let flags = containerd_shim::parse(arguments).map_err(ActionError::when("reading the arguments"))?;
    if flags.version {
        return Ok(format!("containerd-shim-mica-v2 {}\n", env!("CARGO_PKG_VERSION")).into());
    }
    if flags.info {
        return info::info();
    }
    match flags.action.as_str() {
        "start" => start::start(&flags),
        "delete" => delete::delete(&flags),
        #[cfg(feature = "crash-points")]
        "crash-points" => Ok(crate::crash_point::armed::list().into()),
        ACTION_SERVE => serve::serve(&flags).map(|()| Vec::new()),
        other => Err(ActionError::new(
            format!("the action {other:?}"),
            "containerd runs this program with start or delete; users run it with --help",
        )),
    }
}

const HELP: &str = "\
containerd-shim-mica-v2 runs RTOS firmware as containers. containerd starts it; you do not.

Put it into containerd's PATH (/usr/local/bin will do) and name the runtime:

  ctr run --runtime io.containerd.mica.v2 docker.io/library/zephyr:latest z1
  nerdctl run --runtime io.containerd.mica.v2 --network none zephyr

Options (containerd's, all but the first two):
  -h, --help       this text
  -v, -version     the version
  -info            what the runtime can do, as a protobuf message
  -namespace, -id, -address, -publish-binary, -bundle, -debug   what containerd tells its shims

Actions: start, delete
";

/// The part of the flags that every action needs, checked.
fn key(flags: &Flags) -> Result<crate::id::Key, ActionError> {
    let id = |name: &str, value: &str| {
        crate::id::Id::new(value).map_err(ActionError::when(format!("reading -{name}")))
    };
    Ok(crate::id::Key { namespace: id("namespace", &flags.namespace)?, id: id("id", &flags.id)? })
}

/// What runs asynchronous code: on the calling thread alone.
fn runtime() -> Result<tokio::runtime::Runtime, ActionError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ActionError::when("starting the runtime"))
}
