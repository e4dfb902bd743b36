//! The engine's calls for commands: the handle's side, and the owner's.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::task::Order;
use super::{Command, Exec, ExecError, Process, line};
use crate::container::events::TaskEvent;
use crate::container::owner::Owner;
use crate::container::state::{Exit, Illegal, Operation, Snapshot, Status};
use crate::container::stop::terminating;
use crate::container::{Container, ContainerError, Reply, Request};

/// How long Delete waits for output that nobody has read.
const UNREAD_OUTPUT: Duration = Duration::from_secs(2);

/// What the owner is asked about commands.
pub enum ExecRequest {
    Add(Command, Reply<()>),
    Find(String, Reply<Process>),
    Start(String, Reply<u32>),
    Kill(String, u32, Reply<()>),
    Delete(String, Reply<Deleted>),
}

/// What is left of a command: how it ended, and its streams where they are not closed yet.
type Deleted = (Snapshot, Option<JoinHandle<()>>);

impl Container {
    /// Takes a command, to be started later.
    ///
    /// # Errors
    ///
    /// An id that is taken, a wrong state, a guest without a shell that is known, words that cannot be typed.
    pub async fn add_exec(&self, command: Command) -> Result<(), ContainerError> {
        self.ask(|reply| Request::Exec(ExecRequest::Add(command, reply))).await
    }

    /// A command of this id.
    ///
    /// # Errors
    ///
    /// [`ExecError::Unknown`].
    pub async fn find_exec(&self, id: &str) -> Result<Process, ContainerError> {
        self.ask(|reply| Request::Exec(ExecRequest::Find(id.to_owned(), reply))).await
    }

    /// Types a command as soon as the console is free; the pid that stands for it.
    ///
    /// # Errors
    ///
    /// A wrong state, no console, or streams that cannot be opened.
    pub async fn start_exec(&self, id: &str) -> Result<u32, ContainerError> {
        self.ask(|reply| Request::Exec(ExecRequest::Start(id.to_owned(), reply))).await
    }

    /// Waits for the end of a command.
    ///
    /// # Errors
    ///
    /// [`ExecError::Unknown`], or [`ContainerError::Gone`] where it is deleted without an end (never started).
    pub async fn wait_exec(&self, id: &str) -> Result<Exit, ContainerError> {
        let mut snapshot = self.find_exec(id).await?.snapshot;
        let stopped = snapshot.wait_for(|now| now.exit.is_some()).await.map_err(|_| ContainerError::Gone)?;
        stopped.exit.ok_or(ContainerError::Gone)
    }

    /// Ends a command by a signal. The line that was typed goes on in the guest, unless its shell hears Ctrl-C.
    ///
    /// # Errors
    ///
    /// A wrong state, or a number that is no signal.
    pub async fn kill_exec(&self, id: &str, signal: u32) -> Result<(), ContainerError> {
        self.ask(|reply| Request::Exec(ExecRequest::Kill(id.to_owned(), signal, reply))).await
    }

    /// Forgets a command. Waits for unread output, 2 s at most.
    ///
    /// # Errors
    ///
    /// A wrong state.
    pub async fn delete_exec(&self, id: &str) -> Result<Snapshot, ContainerError> {
        let (snapshot, streams) =
            self.ask(|reply| Request::Exec(ExecRequest::Delete(id.to_owned(), reply))).await?;
        if let Some(mut streams) = streams
            && timeout(UNREAD_OUTPUT, &mut streams).await.is_err()
        {
            tracing::warn!(container = %self.info.key, exec = id, "the reader did not take the last output in time");
            streams.abort();
        }
        Ok(snapshot)
    }
}

impl Owner {
    /// Carries a request out.
    pub(in crate::container) async fn exec(&mut self, request: ExecRequest) {
        match request {
            ExecRequest::Add(command, reply) => drop(reply.send(self.add_exec(command).await)),
            ExecRequest::Find(id, reply) => drop(reply.send(self.find_exec(&id))),
            ExecRequest::Start(id, reply) => drop(reply.send(self.start_exec(&id).await)),
            ExecRequest::Kill(id, signal, reply) => drop(reply.send(self.kill_exec(&id, signal))),
            ExecRequest::Delete(id, reply) => drop(reply.send(self.delete_exec(&id))),
        }
    }

    async fn add_exec(&mut self, command: Command) -> Result<(), ContainerError> {
        if self.execs.known.contains_key(command.id.as_str()) {
            return Err(ExecError::Exists(command.id).into());
        }
        self.status().check(Operation::Exec)?;
        let quoting = self.execs.shell()?.quoting;
        let line = line::line(&command.words, quoting).map_err(ExecError::from)?;
        self.execs.check_console().await?;
        // A guest has no processes: that which stands for the guest stands for its commands, too.
        let pid = self.snapshot.borrow().pid;
        let (snapshot, _) = watch::channel(Snapshot { status: Status::Created, pid, exit: None });
        let id = command.id.clone();
        let exec = Exec { id, line, stdio: command.stdio, snapshot, running: None };
        self.execs.known.insert(command.id.to_string(), exec);
        self.publish(TaskEvent::ExecAdded { id: command.id });
        Ok(())
    }

    fn find_exec(&mut self, id: &str) -> Result<Process, ContainerError> {
        let exec = self.execs.find(id)?;
        Ok(Process { stdio: exec.stdio.clone(), snapshot: exec.snapshot.subscribe() })
    }

    async fn start_exec(&mut self, id: &str) -> Result<u32, ContainerError> {
        let status = self.execs.find(id)?.status();
        if self.status() == Status::Stopped {
            return Err(ExecError::NoInit.into());
        }
        status.check(Operation::Start)?;
        self.status().check(Operation::Exec)?;
        self.execs.check_console().await?;
        let stdio = self.execs.find(id)?.stdio.clone();
        let answer = self.execs.taps.open(&stdio).await.map_err(ExecError::from)?;
        Ok(self.execs.launch(id, answer, &self.info.key, &self.events)?)
    }

    fn kill_exec(&mut self, id: &str, signal: u32) -> Result<(), ContainerError> {
        let exec = self.execs.find(id)?;
        let signal = terminating(signal)?;
        match (exec.status(), &exec.running) {
            (Status::Stopped, _) => Err(Illegal::Finished.into()),
            (_, None) => Err(ExecError::NotStarted.into()),
            (_, Some(running)) => {
                if let Some(number) = signal {
                    // One that is just ending listens no more.
                    let _ = running.orders.send(Order::Kill(number));
                }
                Ok(())
            }
        }
    }

    fn delete_exec(&mut self, id: &str) -> Result<Deleted, ContainerError> {
        self.execs.find(id)?.status().check(Operation::Delete)?;
        let exec = self.execs.known.remove(id).ok_or_else(|| ExecError::Unknown(id.to_owned()))?;
        let snapshot = *exec.snapshot.borrow();
        Ok((snapshot, exec.running.map(|running| running.task)))
    }
}
