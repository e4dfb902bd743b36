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
use super::shared::Shared;
use super::stats;
use crate::container::state::{Snapshot, Status};
use crate::container::{Container, ContainerError};
use crate::resources::Asked;
use crate::trace::Scope;

/// The largest resources of an update that are read, bytes. Engines write some hundred.
const MAX_RESOURCES: usize = 64 * 1024;

fn no_exec(id: &str, exec_id: &str) -> ttrpc::Result<()> {
    match exec_id {
        "" => Ok(()),
        exec => Err(error(Code::NOT_FOUND, format!("exec {exec} of container {id} not found"))),
    }
}

fn impossible<T>(id: &str, what: &str) -> ttrpc::Result<T> {
    Err(error(Code::UNIMPLEMENTED, format!("container {id}: {what}")))
}

/// Runs work in a task of its own: a request's deadline ends its handler, and a client may hang up, but
/// what was begun must not stop half-way.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = ttrpc::Result<T>> + Send + 'static,
) -> ttrpc::Result<T> {
    tokio::spawn(Scope::current().run(work))
        .await
        .map_err(|failure| error(Code::INTERNAL, failure.to_string()))?
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
        no_exec(&request.id, &request.exec_id)?;
        let pid = self.with(&request.id, async |container| container.start().await).await?;
        Ok(StartResponse { pid, ..Default::default() })
    }

    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> ttrpc::Result<StateResponse> {
        no_exec(&request.id, &request.exec_id)?;
        let container = self.0.find(&request.id)?;
        let (info, Snapshot { status, pid, exit }) = (container.info(), container.snapshot());
        Ok(StateResponse {
            id: request.id,
            bundle: info.bundle.display().to_string(),
            pid,
            status: task_status(status).into(),
            stdin: info.stdio.stdin.clone(),
            stdout: info.stdio.stdout.clone(),
            stderr: info.stdio.stderr.clone(),
            terminal: info.stdio.terminal,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            ..Default::default()
        })
    }

    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> ttrpc::Result<WaitResponse> {
        no_exec(&request.id, &request.exec_id)?;
        let exit = self.with(&request.id, async |container| container.wait().await).await?;
        Ok(WaitResponse {
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..Default::default()
        })
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> ttrpc::Result<Empty> {
        no_exec(&request.id, &request.exec_id)?;
        self.with(&request.id, async |container| container.kill(request.signal).await).await?;
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
        no_exec(&request.id, &request.exec_id)?;
        let shared = Arc::clone(&self.0);
        let deleted = to_its_end(async move { shared.delete(&request.id).await }).await?;
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
        no_exec(&request.id, &request.exec_id)?;
        if request.stdin {
            self.with(&request.id, async |container| container.close_stdin().await).await?;
        }
        Ok(Empty::new())
    }

    /// A serial line has no size; a terminal that changes its own is none of the guest's business.
    async fn resize_pty(&self, _: &TtrpcContext, request: ResizePtyRequest) -> ttrpc::Result<Empty> {
        no_exec(&request.id, &request.exec_id)?;
        self.0.find(&request.id)?;
        Ok(Empty::new())
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> ttrpc::Result<Empty> {
        self.0.find(&request.id)?;
        impossible(&request.id, "a guest has no processes to add one to; type at its console with attach")
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
