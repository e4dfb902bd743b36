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

/// What the engine can ask of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Let the guest run.
    Start,
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

/// An operation in the wrong state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The guest is gone already, in runc's words.
    #[error("process already finished")]
    Finished,
    /// The state does not allow it.
    #[error("cannot {operation} a {status} container")]
    WrongState {
        /// What was asked for.
        operation: Operation,
        /// The state.
        status: Status,
    },
}

impl Status {
    /// The whole table: what may be asked for in which state.
    ///
    /// # Errors
    ///
    /// [`Illegal`], with operation and state.
    pub fn check(self, operation: Operation) -> Result<(), Illegal> {
        use Operation::{Delete, Kill, Pause, Resume, Start, Update};
        use Status::{Created, Paused, Running, Stopped};
        match (self, operation) {
            (Created, Start | Kill | Update | Delete)
            | (Running, Kill | Pause | Update)
            | (Paused, Kill | Resume | Update)
            | (Stopped, Delete) => Ok(()),
            (Stopped, Kill) => Err(Illegal::Finished),
            (Created, Pause | Resume)
            | (Running, Start | Resume | Delete)
            | (Paused, Start | Pause | Delete)
            | (Stopped, Start | Pause | Resume | Update) => {
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
    fn refusals_name_operation_and_state() {
        let refusal = |status: Status, operation| status.check(operation).unwrap_err().to_string();
        assert_eq!(refusal(Status::Running, Operation::Delete), "cannot delete a running container");
        assert_eq!(refusal(Status::Paused, Operation::Start), "cannot start a paused container");
        assert_eq!(refusal(Status::Stopped, Operation::Kill), "process already finished");
    }
}
