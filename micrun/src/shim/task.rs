//! The Task service: each call finds its container, passes the request on and answers.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use containerd_shim::protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest,
    CreateTaskResponse, DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest, PauseRequest,
    PidsRequest, PidsResponse, ProcessInfo, ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest,
    StartResponse, StateRequest, StateResponse, StatsRequest, StatsResponse, Status as TaskStatus,
    UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim::protos::protobuf::MessageField;
use containerd_shim::protos::shim_async::Task;
use containerd_shim::protos::ttrpc::r#async::TtrpcContext;
use containerd_shim::protos::ttrpc::{self, Code};
use tokio::sync::Notify;

use super::address::write_address;
use super::reply::{create_failed, error, request_failed, timestamp};
use super::stats;
use crate::bundle::Mount;
use crate::console::Stdio;
use crate::container::create::{Context, CreateRequest};
use crate::container::state::{Snapshot, Status};
use crate::container::{Container, ContainerError};
use crate::id::{Id, Key};

/// What all calls to a shim share.
pub struct Shared {
    context: Context,
    namespace: Id,
    /// Where this shim serves, as engines write it.
    address: String,
    containers: Mutex<HashMap<Id, Slot>>,
    shutdown: Notify,
}

enum Slot {
    /// Create is under way; the id is taken.
    Reserved,
    Ready(Container),
}

impl Shared {
    /// A shim without containers.
    pub fn new(context: Context, namespace: Id, address: String) -> Arc<Shared> {
        let containers = Mutex::new(HashMap::new());
        Arc::new(Shared { context, namespace, address, containers, shutdown: Notify::new() })
    }

    /// Waits for a Shutdown that finds no container.
    pub async fn idle(&self) {
        self.shutdown.notified().await;
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<Id, Slot>> {
        // Nothing panics while it holds the lock, and a map is whole between any two of its operations.
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> ttrpc::Result<Container> {
        let wanted = Id::new(id).map_err(|_| not_found(id))?;
        match self.containers().get(&wanted) {
            Some(Slot::Ready(container)) => Ok(container.clone()),
            Some(Slot::Reserved) => {
                Err(error(Code::FAILED_PRECONDITION, format!("container {id} is still being created")))
            }
            None => Err(not_found(id)),
        }
    }

    /// The process that stands for a container; this one while it is being created.
    fn pid(&self, id: &str) -> ttrpc::Result<u32> {
        let wanted = Id::new(id).map_err(|_| not_found(id))?;
        match self.containers().get(&wanted) {
            Some(Slot::Ready(container)) => Ok(container.snapshot().pid),
            Some(Slot::Reserved) => Ok(std::process::id()),
            None => Err(not_found(id)),
        }
    }

    async fn create(&self, id: Id, request: CreateTaskRequest) -> ttrpc::Result<Container> {
        if !request.checkpoint.is_empty() {
            let text = format!("container {id}: a guest cannot be restored from a checkpoint");
            return Err(error(Code::INVALID_ARGUMENT, text));
        }
        let bundle = Path::new(&request.bundle);
        // Where a later container of a pod comes without a `start` of its own, nobody else writes it.
        write_address(bundle, &self.address).map_err(|failure| error(Code::INTERNAL, failure.to_string()))?;
        let request = CreateRequest {
            key: Key { namespace: self.namespace.clone(), id },
            bundle: bundle.to_owned(),
            mounts: request.rootfs.into_iter().map(mount).collect(),
            stdio: Stdio {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                terminal: request.terminal,
            },
        };
        self.context.create(request).await.map_err(|failure| create_failed(&failure))
    }
}

fn mount(mount: containerd_shim::protos::api::Mount) -> Mount {
    Mount { kind: mount.type_, source: mount.source, options: mount.options, target: mount.target }
}

fn not_found(id: &str) -> ttrpc::Error {
    error(Code::NOT_FOUND, format!("container {id} not found"))
}

fn no_exec(id: &str, exec_id: &str) -> ttrpc::Result<()> {
    match exec_id {
        "" => Ok(()),
        exec => Err(error(Code::NOT_FOUND, format!("exec {exec} of container {id} not found"))),
    }
}

fn impossible<T>(id: &str, what: &str) -> ttrpc::Result<T> {
    Err(error(Code::UNIMPLEMENTED, format!("container {id}: {what}")))
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
        let id =
            Id::new(request.id.as_str()).map_err(|bad| error(Code::INVALID_ARGUMENT, bad.to_string()))?;
        {
            let mut containers = self.0.containers();
            if containers.contains_key(&id) {
                return Err(error(Code::ALREADY_EXISTS, format!("container {id} already exists")));
            }
            containers.insert(id.clone(), Slot::Reserved);
        }
        let shared = Arc::clone(&self.0);
        // A task of its own: a client that hangs up half-way must not stop the work half-way.
        let created = tokio::spawn(async move {
            let created = shared.create(id.clone(), request).await;
            match &created {
                Ok(container) => shared.containers().insert(id, Slot::Ready(container.clone())),
                Err(_) => shared.containers().remove(&id),
            };
            created
        });
        let container = created.await.map_err(|failure| error(Code::INTERNAL, failure.to_string()))??;
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
        let Snapshot { pid, exit, .. } =
            self.with(&request.id, async |container| container.delete().await).await?;
        if let Ok(id) = Id::new(request.id) {
            self.0.containers().remove(&id);
        }
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
        self.0.find(&request.id)?;
        impossible(&request.id, "the resources of a guest under QEMU are fixed when it is created")
    }

    async fn checkpoint(&self, _: &TtrpcContext, request: CheckpointTaskRequest) -> ttrpc::Result<Empty> {
        self.0.find(&request.id)?;
        impossible(&request.id, "a guest cannot be checkpointed")
    }

    async fn shutdown(&self, _: &TtrpcContext, _: ShutdownRequest) -> ttrpc::Result<Empty> {
        if self.0.containers().is_empty() {
            self.0.shutdown.notify_one();
        }
        Ok(Empty::new())
    }
}
