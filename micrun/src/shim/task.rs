//! The Task service: each call finds its container, passes the request on and answers.

use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim::protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest,
    CreateTaskResponse, DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest, PauseRequest,
    PidsRequest, PidsResponse, ProcessInfo, ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest,
    StartResponse, StateRequest, StateResponse, StatsRequest, StatsResponse, Status as TaskStatus,
    UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim::protos::protobuf::MessageField;
use containerd_shim::protos::protobuf::well_known_types::any::Any;
use containerd_shim::protos::shim_async::Task;
use containerd_shim::protos::ttrpc::r#async::TtrpcContext;
use containerd_shim::protos::ttrpc::{self, Code};

use super::reply::{error, request_failed, timestamp};
use super::shared::{Shared, to_its_end};
use super::stats;
use crate::console::Stdio;
use crate::container::exec::{Command, Process};
use crate::container::state::{Snapshot, Status};
use crate::container::{Container, ContainerError};
use crate::id::Id;
use crate::resources::Asked;

/// The largest resources of an update that are read, bytes. Engines write some hundred.
const MAX_RESOURCES: usize = 64 * 1024;

/// The largest process of an exec that is read, bytes. Engines write some thousand.
const MAX_PROCESS: usize = 256 * 1024;

fn impossible<T>(id: &str, what: &str) -> ttrpc::Result<T> {
    Err(error(Code::UNIMPLEMENTED, format!("container {id}: {what}")))
}

/// The resources of an update: the JSON of the OCI runtime specification's `linux.resources` in an Any.
fn asked(id: &str, any: &Any) -> ttrpc::Result<Asked> {
    let invalid = |why: String| error(Code::INVALID_ARGUMENT, format!("container {id}: {why}"));
    if any.value.len() > MAX_RESOURCES {
        return Err(invalid(format!("resources of {} bytes; {MAX_RESOURCES} are the most", any.value.len())));
    }
    let resources = serde_json::from_slice(&any.value)
        .map_err(|error| invalid(format!("the resources are not those of an OCI configuration: {error}")))?;
    Asked::from_oci(&resources).map_err(|error| invalid(error.to_string()))
}

/// The words of a command: those of the OCI runtime specification's `process` in an Any. The rest of it means nothing
/// to a guest.
fn words(id: &str, any: &Any) -> ttrpc::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Spec {
        #[serde(default)]
        args: Vec<String>,
    }
    let invalid = |why: String| error(Code::INVALID_ARGUMENT, format!("container {id}: {why}"));
    if any.value.len() > MAX_PROCESS {
        return Err(invalid(format!("a process of {} bytes; {MAX_PROCESS} are the most", any.value.len())));
    }
    let spec: Spec = serde_json::from_slice(&any.value)
        .map_err(|error| invalid(format!("the process is not that of an OCI configuration: {error}")))?;
    Ok(spec.args)
}

fn task_status(status: Status) -> TaskStatus {
    match status {
        Status::Created => TaskStatus::CREATED,
        Status::Running => TaskStatus::RUNNING,
        Status::Paused => TaskStatus::PAUSED,
        Status::Stopped => TaskStatus::STOPPED,
    }
}

/// The handlers. Two services with one `Shared` behind them serve both names of the API.
pub struct Service(Arc<Shared>);

impl Service {
    /// Handlers for a shim.
    pub fn new(shared: Arc<Shared>) -> Service {
        Service(shared)
    }

    /// Finds a container and passes one request on to it.
    async fn with<T, F>(&self, id: &str, request: impl FnOnce(Container) -> F) -> ttrpc::Result<T>
    where
        F: Future<Output = Result<T, ContainerError>>,
    {
        let container = self.0.find(id)?;
        request(container).await.map_err(|failure| request_failed(id, &failure))
    }

    /// Finds a command of a container.
    async fn exec_of(&self, id: &str, exec: &str) -> ttrpc::Result<Process> {
        self.with(id, async |container| container.find_exec(exec).await).await
    }
}

#[async_trait]
impl Task for Service {
    async fn create(
        &self,
        _: &TtrpcContext,
        request: CreateTaskRequest,
    ) -> ttrpc::Result<CreateTaskResponse> {
        let shared = Arc::clone(&self.0);
        let container = to_its_end(async move { shared.create(request).await }).await?;
        Ok(CreateTaskResponse { pid: container.snapshot().pid, ..Default::default() })
    }

    async fn start(&self, _: &TtrpcContext, request: StartRequest) -> ttrpc::Result<StartResponse> {
        let exec = request.exec_id;
        let start = async |container: Container| match exec.as_str() {
            "" => container.start().await,
            exec => container.start_exec(exec).await,
        };
        let pid = self.with(&request.id, start).await?;
        Ok(StartResponse { pid, ..Default::default() })
    }

    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> ttrpc::Result<StateResponse> {
        // Waits for Create, as runc's shim does: to an engine that lists its tasks, an error is a state unknown.
        let container = self.0.find_created(&request.id).await?;
        let (id, stdio, Snapshot { status, pid, exit }) = match request.exec_id.as_str() {
            "" => (request.id, container.info().stdio.clone(), container.snapshot()),
            exec => {
                let process = self.exec_of(&request.id, exec).await?;
                (request.exec_id, process.stdio.clone(), process.snapshot())
            }
        };
        Ok(StateResponse {
            // As runc's shim does: that of the command, where one was asked for.
            id,
            bundle: container.info().bundle.display().to_string(),
            pid,
            status: task_status(status).into(),
            stdin: stdio.stdin,
            stdout: stdio.stdout,
            stderr: stdio.stderr,
            terminal: stdio.terminal,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            ..Default::default()
        })
    }

    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> ttrpc::Result<WaitResponse> {
        let exec = request.exec_id;
        let wait = async |container: Container| match exec.as_str() {
            "" => container.wait().await,
            exec => container.wait_exec(exec).await,
        };
        let exit = self.with(&request.id, wait).await?;
        Ok(WaitResponse {
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..Default::default()
        })
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> ttrpc::Result<Empty> {
        let (exec, signal) = (request.exec_id, request.signal);
        let kill = async |container: Container| match exec.as_str() {
            "" => container.kill(signal).await,
            exec => container.kill_exec(exec, signal).await,
        };
        self.with(&request.id, kill).await?;
        Ok(Empty::new())
    }

    async fn pause(&self, _: &TtrpcContext, request: PauseRequest) -> ttrpc::Result<Empty> {
        self.with(&request.id, async |container| container.pause().await).await?;
        Ok(Empty::new())
    }

    async fn resume(&self, _: &TtrpcContext, request: ResumeRequest) -> ttrpc::Result<Empty> {
        self.with(&request.id, async |container| container.resume().await).await?;
        Ok(Empty::new())
    }

    async fn delete(&self, _: &TtrpcContext, request: DeleteRequest) -> ttrpc::Result<DeleteResponse> {
        let shared = Arc::clone(&self.0);
        let deleted = to_its_end(async move {
            match request.exec_id.as_str() {
                "" => shared.delete(&request.id).await,
                exec => shared.delete_exec(&request.id, exec).await,
            }
        })
        .await?;
        let Snapshot { pid, exit, .. } = deleted;
        Ok(DeleteResponse {
            pid,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            ..Default::default()
        })
    }

    async fn pids(&self, _: &TtrpcContext, request: PidsRequest) -> ttrpc::Result<PidsResponse> {
        let pid = self.0.pid(&request.id)?;
        Ok(PidsResponse { processes: vec![ProcessInfo { pid, ..Default::default() }], ..Default::default() })
    }

    async fn connect(&self, _: &TtrpcContext, request: ConnectRequest) -> ttrpc::Result<ConnectResponse> {
        let task_pid = self.0.pid(&request.id)?;
        Ok(ConnectResponse {
            shim_pid: std::process::id(),
            task_pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        })
    }

    async fn stats(&self, _: &TtrpcContext, request: StatsRequest) -> ttrpc::Result<StatsResponse> {
        let usage = self.with(&request.id, async |container| container.usage().await).await?;
        let metrics = stats::metrics(&usage).map_err(|failure| error(Code::INTERNAL, failure.to_string()))?;
        Ok(StatsResponse { stats: MessageField::some(metrics), ..Default::default() })
    }

    async fn close_io(&self, _: &TtrpcContext, request: CloseIORequest) -> ttrpc::Result<Empty> {
        if !request.exec_id.is_empty() {
            // Nothing is read from the stdin of a command.
            self.exec_of(&request.id, &request.exec_id).await?;
        } else if request.stdin {
            self.with(&request.id, async |container| container.close_stdin().await).await?;
        }
        Ok(Empty::new())
    }

    /// A serial line has no size; a terminal that changes its own is none of the guest's business.
    async fn resize_pty(&self, _: &TtrpcContext, request: ResizePtyRequest) -> ttrpc::Result<Empty> {
        self.0.find(&request.id)?;
        if !request.exec_id.is_empty() {
            self.exec_of(&request.id, &request.exec_id).await?;
        }
        Ok(Empty::new())
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> ttrpc::Result<Empty> {
        let words = request.spec.as_ref().map(|any| words(&request.id, any)).transpose()?.unwrap_or_default();
        let id = Id::new(request.exec_id).map_err(|bad| error(Code::INVALID_ARGUMENT, bad.to_string()))?;
        let stdio = Stdio {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let command = Command { id, words, stdio };
        self.with(&request.id, async |container| container.add_exec(command).await).await?;
        Ok(Empty::new())
    }

    async fn update(&self, _: &TtrpcContext, request: UpdateTaskRequest) -> ttrpc::Result<Empty> {
        let asked = request.resources.as_ref().map(|any| asked(&request.id, any)).transpose()?;
        let asked = asked.unwrap_or_default();
        self.with(&request.id, async |container| container.update(asked).await).await?;
        Ok(Empty::new())
    }

    async fn checkpoint(&self, _: &TtrpcContext, request: CheckpointTaskRequest) -> ttrpc::Result<Empty> {
        self.0.find(&request.id)?;
        impossible(&request.id, "a guest cannot be checkpointed")
    }

    async fn shutdown(&self, _: &TtrpcContext, _: ShutdownRequest) -> ttrpc::Result<Empty> {
        self.0.shutdown();
        Ok(Empty::new())
    }
}
