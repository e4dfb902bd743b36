//! A guest's run.

use std::time::Duration;

use micrun_unix_grpc::containerd::snapshots::{self, MountsRequest, MountsResponse};
use micrun_unix_grpc::containerd::tasks::{
    self, CreateTaskRequest, Created, Deleted, ExecRequest, Exited, GetResponse, KillRequest, Named, PROCESS,
    Process, Started,
};
use micrun_unix_grpc::containerd::{Any, Nothing};
use micrun_unix_grpc::{GrpcError, Status};
use prost::Message;

use super::{Node, NodeError, PATIENCE, failed, optional};
use crate::guests::model::Generation;
use crate::guests::node::containers::snapshot_key;
use crate::guests::step::pass;

pub use micrun_unix_grpc::containerd::tasks::Status as TaskStatus;

const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

impl Node {
    /// The task of a container.
    ///
    /// # Errors
    ///
    /// If containerd does not answer.
    pub fn task(&self, name: &str) -> Result<Option<Process>, NodeError> {
        let answer = self.of_task::<GetResponse>("Get", name, "", "ask for the task");
        Ok(optional(answer)?.and_then(|answer| answer.process))
    }

    /// Starts a guest.
    ///
    /// # Errors
    ///
    /// If containerd or the shim refuse; with [`Status::ALREADY_EXISTS`] where somebody else was faster.
    pub fn start(&self, name: &str, generation: &Generation) -> Result<(), NodeError> {
        let request =
            MountsRequest { snapshotter: self.snapshotter.clone(), key: snapshot_key(name, generation) };
        let mounts: MountsResponse = self.call(snapshots::SERVICE, "Mounts", &request, || {
            format!("mount the root file system of {name}")
        })?;
        let create = CreateTaskRequest {
            container: name.to_owned(),
            rootfs: mounts.mounts,
            stdout: generation.log.clone(),
            stderr: generation.log.clone(),
            ..CreateTaskRequest::default()
        };
        self.call::<Created>(tasks::SERVICE, "Create", &create, || format!("make the guest {name}"))?;
        pass("made");
        if let Err(error) = self.of_task::<Started>("Start", name, "", "start the guest") {
            // What was made and does not start is in nobody's way.
            let _ = self.of_task::<Deleted>("Delete", name, "", "delete the task");
            return Err(error);
        }
        Ok(())
    }

    /// Ends a guest and deletes its task: asked first, then killed.
    ///
    /// # Errors
    ///
    /// If it does not even end when it is killed.
    pub fn stop(&self, name: &str, timeout: Duration) -> Result<(), NodeError> {
        for (signal, patience) in [(SIGTERM, timeout), (SIGKILL, PATIENCE)] {
            match self.task(name)? {
                None => return Ok(()),
                Some(task) if task.status() != TaskStatus::Stopped => {
                    self.kill(name, signal)?;
                    self.wait(name, "", patience)?;
                }
                Some(_) => break,
            }
        }
        optional(self.of_task::<Deleted>("Delete", name, "", "delete the task")).map(drop)
    }

    fn kill(&self, name: &str, signal: u32) -> Result<(), NodeError> {
        let request = KillRequest { container: name.to_owned(), exec: String::new(), signal };
        match self.channel.call::<Nothing>(tasks::SERVICE, "Kill", &request, PATIENCE) {
            // It has ended meanwhile.
            Err(error) if error.is(Status::NOT_FOUND) || error.is(Status::FAILED_PRECONDITION) => Ok(()),
            other => other.map(drop).map_err(failed(format!("stop the guest {name}"))),
        }
    }

    /// Waits for an end; its status, or `None` if it does not come in time.
    fn wait(&self, name: &str, exec: &str, patience: Duration) -> Result<Option<u32>, NodeError> {
        let request = Named { container: name.to_owned(), exec: exec.to_owned() };
        match self.channel.call::<Exited>(tasks::SERVICE, "Wait", &request, patience) {
            Ok(Exited { status }) => Ok(Some(status)),
            Err(GrpcError::Silence(_)) => Ok(None),
            Err(error) if error.is(Status::NOT_FOUND) => Ok(Some(0)),
            Err(error) => Err(failed(format!("wait for {name}"))(error)),
        }
    }

    /// Types a command into the guest's own shell; its status, or `None` if it does not end in time.
    ///
    /// # Errors
    ///
    /// If the guest has no shell, or does not run.
    pub fn exec(&self, name: &str, command: &str, patience: Duration) -> Result<Option<u32>, NodeError> {
        let exec = format!("micrun-guests-{}", std::process::id());
        let words: Vec<&str> = command.split_whitespace().collect();
        let process = serde_json::json!({ "args": words, "cwd": "/", "user": { "uid": 0, "gid": 0 } });
        let spec = Any { type_url: PROCESS.to_owned(), value: process.to_string().into_bytes() };
        let request = ExecRequest {
            container: name.to_owned(),
            exec: exec.clone(),
            spec: Some(spec),
            ..ExecRequest::default()
        };
        self.call::<Nothing>(tasks::SERVICE, "Exec", &request, || format!("run `{command}` in {name}"))?;
        let status = self
            .of_task::<Started>("Start", name, &exec, "run a command in the guest")
            .and_then(|_| self.wait(name, &exec, patience));
        if !matches!(status, Ok(Some(_))) {
            let kill = KillRequest { container: name.to_owned(), exec: exec.clone(), signal: SIGKILL };
            let _ = self.channel.call::<Nothing>(tasks::SERVICE, "Kill", &kill, PATIENCE);
        }
        let _ = self.of_task::<Deleted>("DeleteProcess", name, &exec, "delete the command");
        status
    }

    fn of_task<A: Message + Default>(
        &self,
        method: &str,
        name: &str,
        exec: &str,
        doing: &str,
    ) -> Result<A, NodeError> {
        let request = Named { container: name.to_owned(), exec: exec.to_owned() };
        self.call(tasks::SERVICE, method, &request, || format!("{doing} {name}"))
    }
}
