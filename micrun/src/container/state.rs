//! The states of a container and what each of them allows.

use std::fmt;
use std::time::SystemTime;

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The guest exists and has not executed an instruction.
    Created,
    /// The guest runs.
    Running,
    /// The guest's clock stands still.
    Paused,
    /// The guest is gone; its exit status is kept until Delete.
    Stopped,
}

/// What the engine can ask of a container. What is not here can be asked for at any time: State, Wait, Pids,
/// Connect, Stats, CloseIO, ResizePty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Let the guest run.
    Start,
    /// Give the guest's shell a command.
    Exec,
    /// Send a signal.
    Kill,
    /// Stop the guest's clock.
    Pause,
    /// Let it go on.
    Resume,
    /// Change its resources.
    Update,
    /// Free what is left of the container.
    Delete,
}

/// An operation in the wrong state, in the words of runc's shim (containerd, `runc/process/init_state.go`; the same
/// from 1.6 to 2.x).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The guest is gone already.
    #[error("process already finished")]
    Finished,
    /// The state does not allow it.
    #[error("{}", in_runcs_words(*operation, *status))]
    WrongState {
        /// What was asked for.
        operation: Operation,
        /// The state.
        status: Status,
    },
}

/// runc speaks of tasks, processes and containers, each in its place.
fn in_runcs_words(operation: Operation, status: Status) -> String {
    match (operation, status) {
        (Operation::Exec, _) => format!("cannot exec in a {status} state"),
        (_, Status::Created) => format!("cannot {operation} task in created state"),
        (Operation::Start | Operation::Delete, _) | (Operation::Resume, Status::Running) => {
            format!("cannot {operation} a {status} process")
        }
        _ => format!("cannot {operation} a {status} container"),
    }
}

impl Status {
    /// The whole table: what may be asked for in which state.
    ///
    /// # Errors
    ///
    /// [`Illegal`], with operation and state.
    pub fn check(self, operation: Operation) -> Result<(), Illegal> {
        use Operation::{Delete, Exec, Kill, Pause, Resume, Start, Update};
        use Status::{Created, Paused, Running, Stopped};
        match (self, operation) {
            (Created, Start | Kill | Update | Delete)
            | (Running, Exec | Kill | Pause | Update)
            | (Paused, Kill | Resume | Update)
            | (Stopped, Delete) => Ok(()),
            (Stopped, Kill) => Err(Illegal::Finished),
            (Created, Exec | Pause | Resume)
            | (Running, Start | Resume | Delete)
            | (Paused, Start | Exec | Pause | Delete)
            | (Stopped, Start | Exec | Pause | Resume | Update) => {
                Err(Illegal::WrongState { operation, status: self })
            }
        }
    }
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit status.
    pub status: u32,
    /// When.
    pub at: SystemTime,
}

/// What anybody may know of a container at any time.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// Its state.
    pub status: Status,
    /// The process that stands for the guest: never 0, engines take that for "gone".
    pub pid: u32,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Start => "start",
            Operation::Exec => "exec",
            Operation::Kill => "kill",
            Operation::Pause => "pause",
            Operation::Resume => "resume",
            Operation::Update => "update",
            Operation::Delete => "delete",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_in_runcs_words() {
        use Operation::{Delete, Exec, Kill, Pause, Resume, Start, Update};
        use Status::{Created, Paused, Running, Stopped};
        let table = [
            (Created, Pause, "cannot pause task in created state"),
            (Created, Resume, "cannot resume task in created state"),
            (Created, Exec, "cannot exec in a created state"),
            (Running, Start, "cannot start a running process"),
            (Running, Resume, "cannot resume a running process"),
            (Running, Delete, "cannot delete a running process"),
            (Paused, Start, "cannot start a paused process"),
            (Paused, Pause, "cannot pause a paused container"),
            (Paused, Delete, "cannot delete a paused process"),
            (Paused, Exec, "cannot exec in a paused state"),
            (Stopped, Start, "cannot start a stopped process"),
            (Stopped, Pause, "cannot pause a stopped container"),
            (Stopped, Resume, "cannot resume a stopped container"),
            (Stopped, Update, "cannot update a stopped container"),
            (Stopped, Exec, "cannot exec in a stopped state"),
            (Stopped, Kill, "process already finished"),
        ];
        for (status, operation, words) in table {
            assert_eq!(status.check(operation).unwrap_err().to_string(), words);
        }
        let all = [Created, Running, Paused, Stopped].map(|status| {
            [Start, Exec, Kill, Pause, Resume, Update, Delete].map(|operation| status.check(operation))
        });
        let refused = all.as_flattened().iter().filter(|answer| answer.is_err()).count();
        assert_eq!(refused, table.len(), "the table above is whole");
    }
}
