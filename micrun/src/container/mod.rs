//! One container: a guest, its console, its files, from Create to Delete.
//!
//! ```text
//!    Create                                 undone where it fails half-way
//!      v             Start                  Pause, or the pedestal says so
//!   CREATED ───────────────────> RUNNING ──────────────────────────────────> PAUSED
//!      │                            │     <──────────────────────────────────   │
//!      │                            │       Resume, or the pedestal says so     │
//!      │ Kill                       │ Kill                                      │ Kill
//!      │ Start that failed          │ Ctrl-C on a terminal                      │ Ctrl-C on a terminal
//!      │ Delete                     │ its time is over (auto_close)             │ its time is over
//!      │ the pedestal failed        │ the guest ended by itself                 │ the guest ended by itself
//!      v                            v                                           v
//!   STOPPED <───────────────────────┴───────────────────────────────────────────┘
//!      │        the exit status is kept for State, Wait and Delete
//!      │ Delete
//!      v        where the pedestal cannot free the guest: still STOPPED, to be deleted again
//!   nothing is left
//! ```
//!
//! Every way to STOPPED publishes one TaskExit, and STOPPED is the only way out. A container that was asked to stop
//! keeps its state until its guest is gone. Update and Stats change no state. Commands run in RUNNING alone ([`exec`] draws
//! their own states) and end before their container does. Whatever else is asked for is refused by
//! [`state::Status::check`], the one table of it.
//!
//! - [`state`]: the states and the table of what each allows.
//! - [`create`]: everything up to CREATED, undone where it fails half-way.
//! - [`owner`]: the one task that owns the container afterwards. Requests and guest events reach it through
//!   its queues; what it knows is published, not shared.
//! - [`stop`]: how guests are ended: by a signal, by Ctrl-C, by the clock.
//! - `terms`: what only the node as it is can answer.
//! - [`share`]: its resources, and the steps from one set to another; [`update`] takes them.
//! - [`exec`]: commands in the guest's own shell.
//! - [`exit`]: the exit status, in one table.
//! - [`events`]: what the engine is told.

pub mod create;
pub mod events;
pub mod exec;
pub mod exit;
mod owner;
mod share;
pub mod state;
mod stop;
mod terms;
mod update;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::console::Stdio;
use crate::id::Key;
use crate::pedestal::{DriverError, Usage};
use crate::reservations::ReservationError;
use crate::resources::{Asked, ResourceError};
use crate::trace::Span;
use exec::{ExecError, ExecRequest};
use state::{Exit, Illegal, Snapshot};

/// Why a request to a container failed.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The state does not allow it.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The guest cannot do it, ever.
    #[error("{0}")]
    Unsupported(&'static str),
    /// There is no such signal.
    #[error("{0} is not a signal")]
    NoSuchSignal(u32),
    /// The resources cannot be had.
    #[error(transparent)]
    Resources(#[from] ResourceError),
    /// The cores are another's.
    #[error(transparent)]
    Reservation(#[from] ReservationError),
    /// The driver failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A command cannot be had.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The container was deleted meanwhile.
    #[error("container not found")]
    Gone,
}

/// What does not change in a container's life.
#[derive(Debug)]
pub struct Info {
    /// Its name on the node.
    pub key: Key,
    /// The engine's bundle directory.
    pub bundle: PathBuf,
    /// Its streams.
    pub stdio: Stdio,
}

/// The handle on a container. Clones are handles on the same one.
#[derive(Clone)]
pub struct Container {
    info: Arc<Info>,
    requests: mpsc::Sender<(Request, Option<Span>)>,
    snapshot: watch::Receiver<Snapshot>,
}

type Reply<T> = oneshot::Sender<Result<T, ContainerError>>;

enum Request {
    Start(Reply<u32>),
    Kill(u32, Reply<()>),
    Pause(Reply<()>),
    Resume(Reply<()>),
    Update(Asked, Reply<()>),
    Usage(Reply<Usage>),
    CloseStdin(Reply<()>),
    Exec(ExecRequest),
    Delete(Reply<Snapshot>),
}

impl Container {
    /// What does not change.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        *self.snapshot.borrow()
    }

    /// Waits for the end of the guest.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Gone`] where the shim ends first.
    pub async fn wait(&self) -> Result<Exit, ContainerError> {
        let mut snapshot = self.snapshot.clone();
        let stopped = snapshot.wait_for(|now| now.exit.is_some()).await.map_err(|_| ContainerError::Gone)?;
        stopped.exit.ok_or(ContainerError::Gone)
    }

    /// Lets the guest run; the pid that stands for it.
    ///
    /// # Errors
    ///
    /// A wrong state, or the driver's.
    pub async fn start(&self) -> Result<u32, ContainerError> {
        self.ask(Request::Start).await
    }

    /// Delivers a signal, as far as an RTOS guest can have signals. Does not wait for the guest's end.
    ///
    /// # Errors
    ///
    /// [`Illegal::Finished`] after the guest's end, a number that is no signal, or the driver's.
    pub async fn kill(&self, signal: u32) -> Result<(), ContainerError> {
        self.ask(|reply| Request::Kill(signal, reply)).await
    }

    /// Stops the guest's clock.
    ///
    /// # Errors
    ///
    /// A wrong state, a guest that cannot be paused, or the driver's.
    pub async fn pause(&self) -> Result<(), ContainerError> {
        self.ask(Request::Pause).await
    }

    /// Lets a paused guest go on.
    ///
    /// # Errors
    ///
    /// A wrong state, or the driver's.
    pub async fn resume(&self) -> Result<(), ContainerError> {
        self.ask(Request::Resume).await
    }

    /// Changes the resources of the guest: all that is asked for, or nothing. What stays as it is is not touched.
    ///
    /// # Errors
    ///
    /// A wrong state, resources that cannot be had or changed, or the driver's; everything is then as before.
    pub async fn update(&self, asked: Asked) -> Result<(), ContainerError> {
        self.ask(|reply| Request::Update(asked, reply)).await
    }

    /// What the guest has used. Of a guest that is gone: nothing.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn usage(&self) -> Result<Usage, ContainerError> {
        self.ask(Request::Usage).await
    }

    /// Takes no more input.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Gone`].
    pub async fn close_stdin(&self) -> Result<(), ContainerError> {
        self.ask(Request::CloseStdin).await
    }

    /// Frees everything. Waits for unread output, 2 s at most.
    ///
    /// # Errors
    ///
    /// A wrong state, or the driver's; the container is then still there.
    pub async fn delete(&self) -> Result<Snapshot, ContainerError> {
        self.ask(Request::Delete).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, ContainerError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send((request(reply), Span::current())).await.map_err(|_| ContainerError::Gone)?;
        answer.await.map_err(|_| ContainerError::Gone)?
    }
}
