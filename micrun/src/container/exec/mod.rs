//! Commands in a guest's own shell: what engines call exec.
//!
//! ```text
//!   Exec ──> CREATED ──Start──> RUNNING ──the prompt is back, too late, Kill, or no guest any more──> STOPPED
//!               │                                                                                        │
//!               └──────────────────────────────────────Delete────────────────────────────────────────────┘
//! ```
//!
//! A guest has one console and its shell one line, so commands take turns. A line that was typed cannot be taken back:
//! a command that is killed or takes too long is over for the engine, and may go on in the guest.
//!
//! - [`line`]: from arguments to what is typed.
//! - [`session`]: what the guest writes, understood; without IO.
//! - [`status`]: the exit status, in one table.
//! - [`task`]: the task that types and listens.
//! - [`calls`]: the engine's calls, in the hands of the container's owner.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use micrun_image_spec::firmware::Rtos;
use micrun_image_spec::os::{OsProfile, Shell};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::events::{Events, TaskEvent};
use super::state::{Snapshot, Status};
use crate::console::{Answer, Stdio, StreamError, Taps};
use crate::id::{Id, Key};
use crate::pedestal::OS_DIR;

mod calls;
pub mod line;
pub mod session;
pub mod status;
mod task;

pub(super) use calls::ExecRequest;
use line::LineError;
use task::{Order, Task};

/// Why a command cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The id belongs to another command.
    #[error("exec {0} already exists")]
    Exists(Id),
    /// There is no such command, in runc's words.
    #[error("process does not exist {0}")]
    Unknown(String),
    /// It was not started yet, in runc's words.
    #[error("process not created")]
    NotStarted,
    /// The container's guest is gone, in runc's words.
    #[error("init process is not running")]
    NoInit,
    /// There is no guest.
    #[error(
        "no guest was made that could run a command: this is the sandbox of a pod, or container.verify_only was asked for"
    )]
    NoGuest,
    /// Nobody said what runs in the guest.
    #[error(
        "its image does not say which operating system the guest runs, so its shell is unknown: pack it with --rtos, \
         or set the annotation org.openeuler.micrun.container.os"
    )]
    NoOs,
    /// Nobody described its shell.
    #[error(
        "no OS profile says how the shell of {0} looks: add one to {OS_DIR}, or type at the console with attach"
    )]
    NoProfile(Rtos),
    /// It has none.
    #[error("its OS profile says that {0} has no shell on its console")]
    NoShell(Rtos),
    /// There is nothing to type at.
    #[error("the guest's console is not there now")]
    NoConsole,
    /// It cannot be typed.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Its streams cannot be opened.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// A command, as the engine asks for it.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its id, unique in its container.
    pub id: Id,
    /// Its words.
    pub words: Vec<String>,
    /// Its streams. What comes from stdin is not used: the shell's line is the command.
    pub stdio: Stdio,
}

/// What anybody may see of a command.
#[derive(Clone)]
pub struct Process {
    /// Its streams.
    pub stdio: Stdio,
    snapshot: watch::Receiver<Snapshot>,
}

impl Process {
    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        *self.snapshot.borrow()
    }
}

/// What runs in a container, and what is known of it.
pub(super) enum Inside {
    /// Nothing: it is a sandbox.
    Nothing,
    /// Nobody said what.
    Unknown,
    /// An operating system, with its profile where there is one.
    Os(Option<Box<OsProfile>>, Rtos),
}

/// The commands of a container.
pub(super) struct Execs {
    known: HashMap<String, Exec>,
    inside: Inside,
    taps: Taps,
    /// How long one may take, from when it has the console.
    limit: Duration,
    /// Held by the one that has the console.
    turn: Arc<Semaphore>,
}

struct Exec {
    id: Id,
    line: String,
    stdio: Stdio,
    snapshot: watch::Sender<Snapshot>,
    running: Option<Running>,
}

/// The task of a command that was started.
struct Running {
    orders: mpsc::UnboundedSender<Order>,
    /// Closes when the engine was told of its end.
    told: oneshot::Receiver<()>,
    /// Ends when its streams are closed.
    task: JoinHandle<()>,
}

impl Execs {
    /// No commands yet.
    pub fn new(inside: Inside, taps: Taps, limit: Duration) -> Execs {
        Execs { known: HashMap::new(), inside, taps, limit, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Ends every command that runs with this status: the guest is gone. Returns when the engine was told.
    pub async fn guest_gone(&mut self, status: u32) {
        let running = || self.known.values().filter_map(|exec| exec.running.as_ref());
        for running in running() {
            // One that has ended meanwhile listens no more.
            let _ = running.orders.send(Order::GuestGone(status));
        }
        for running in self.known.values_mut().filter_map(|exec| exec.running.as_mut()) {
            if !running.told.is_terminated() {
                let _ = (&mut running.told).await;
            }
        }
    }

    /// The shell that commands are typed into.
    fn shell(&self) -> Result<&Shell, ExecError> {
        match &self.inside {
            Inside::Nothing => Err(ExecError::NoGuest),
            Inside::Unknown => Err(ExecError::NoOs),
            Inside::Os(None, os) => Err(ExecError::NoProfile(os.clone())),
            Inside::Os(Some(profile), os) => {
                profile.shell.as_ref().ok_or_else(|| ExecError::NoShell(os.clone()))
            }
        }
    }

    /// Starts the task of a command: the pid that stands for it.
    fn launch(&mut self, id: &str, answer: Answer, key: &Key, events: &Events) -> Result<u32, ExecError> {
        let shell = self.shell()?.clone();
        let (taps, limit, turn) = (self.taps.clone(), self.limit, Arc::clone(&self.turn));
        let exec = self.find(id)?;
        let (orders_in, orders) = mpsc::unbounded_channel();
        let (told_in, told) = oneshot::channel();
        let task = Task {
            key: key.clone(),
            id: exec.id.clone(),
            line: exec.line.clone(),
            terminal: exec.stdio.terminal,
            shell,
            taps,
            answer,
            limit,
            turn,
            orders,
            snapshot: exec.snapshot.clone(),
            events: events.clone(),
            told: told_in,
        };
        exec.snapshot.send_modify(|snapshot| snapshot.status = Status::Running);
        let pid = exec.snapshot.borrow().pid;
        // First of all, so that its end comes behind it.
        events.publish(key, TaskEvent::ExecStarted { id: exec.id.clone(), pid });
        exec.running = Some(Running { orders: orders_in, told, task: tokio::spawn(task.run()) });
        Ok(pid)
    }

    async fn check_console(&self) -> Result<(), ExecError> {
        if self.taps.is_connected().await { Ok(()) } else { Err(ExecError::NoConsole) }
    }

    fn find(&mut self, id: &str) -> Result<&mut Exec, ExecError> {
        self.known.get_mut(id).ok_or_else(|| ExecError::Unknown(id.to_owned()))
    }
}

impl Exec {
    fn status(&self) -> Status {
        self.snapshot.borrow().status
    }
}
