//! The Sandbox service, with which containerd 2.x runs pods where its configuration says `sandboxer = "shim"`. Every
//! call can be repeated.
//!
//! ```text
//!   start (reply of version 3) ──> CreateSandbox ──> StartSandbox ──> containers come and go, as Task calls
//!     ──> StopSandbox: no guest runs ──> ShutdownSandbox: nothing is left, and the shim ends
//! ```
//!
//! The sandbox is a container of a guest that is [nothing](crate::sandbox::pause), as CRI's "pause" is: what the Task
//! service is asked of it, it can answer. Only nobody is told of its events, since it is no task.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use containerd_shim::protos::protobuf::MessageField;
use containerd_shim::protos::sandbox_api::{
    CreateSandboxRequest, CreateSandboxResponse, PingRequest, PingResponse, PlatformRequest,
    PlatformResponse, SandboxMetricsRequest, SandboxMetricsResponse, SandboxStatusRequest,
    SandboxStatusResponse, ShutdownSandboxRequest, ShutdownSandboxResponse, StartSandboxRequest,
    StartSandboxResponse, StopSandboxRequest, StopSandboxResponse, WaitSandboxRequest, WaitSandboxResponse,
};
use containerd_shim::protos::sandbox_async;
use containerd_shim::protos::ttrpc::r#async::TtrpcContext;
use containerd_shim::protos::ttrpc::{self, Code};
use micrun_image_spec::firmware::Arch;

use super::reply::{error, request_failed, timestamp};
use super::shared::{Shared, to_its_end};
use super::stats;
use crate::container::state::{Snapshot, Status};

/// How long guests that were forced to stop may take, where the caller does not say.
const STOP: Duration = Duration::from_secs(10);

/// CRI's words; any other is no state to it.
const READY: &str = "SANDBOX_READY";
const NOT_READY: &str = "SANDBOX_NOTREADY";

/// The handlers.
pub struct Service(Arc<Shared>);

impl Service {
    /// Handlers for a shim.
    pub fn new(shared: Arc<Shared>) -> Service {
        Service(shared)
    }
}

#[async_trait]
impl sandbox_async::Sandbox for Service {
    /// Nothing of the pod's configuration matters here: what concerns guests is in their own. But for the network: CRI
    /// tells it nowhere else.
    async fn create_sandbox(
        &self,
        _: &TtrpcContext,
        request: CreateSandboxRequest,
    ) -> ttrpc::Result<CreateSandboxResponse> {
        let shared = Arc::clone(&self.0);
        let CreateSandboxRequest { sandbox_id, bundle_path, netns_path, .. } = request;
        let network = Some(PathBuf::from(netns_path)).filter(|path| !path.as_os_str().is_empty());
        let bundle = PathBuf::from(bundle_path);
        to_its_end(async move { shared.create_sandbox(&sandbox_id, bundle, network).await }).await?;
        Ok(CreateSandboxResponse::new())
    }

    async fn start_sandbox(
        &self,
        _: &TtrpcContext,
        request: StartSandboxRequest,
    ) -> ttrpc::Result<StartSandboxResponse> {
        let id = request.sandbox_id;
        let (container, created_at) = self.0.sandbox(&id)?;
        if container.snapshot().status != Status::Running {
            container.start().await.map_err(|failure| request_failed(&id, &failure))?;
        }
        Ok(StartSandboxResponse {
            pid: container.snapshot().pid,
            created_at: MessageField::some(timestamp(created_at)),
            ..Default::default()
        })
    }

    /// Where the shim runs: an image of firmware is for the platform of the node.
    async fn platform(&self, _: &TtrpcContext, request: PlatformRequest) -> ttrpc::Result<PlatformResponse> {
        self.0.sandbox(&request.sandbox_id)?;
        let own = std::env::consts::ARCH;
        let mut response = PlatformResponse::new();
        let platform = response.platform.mut_or_insert_default();
        platform.os = std::env::consts::OS.to_owned();
        platform.architecture = own.parse::<Arch>().map_or(own, Arch::oci_name).to_owned();
        Ok(response)
    }

    /// Returns when no guest runs, so that nothing of theirs is in the pod's network namespace any more.
    async fn stop_sandbox(
        &self,
        _: &TtrpcContext,
        request: StopSandboxRequest,
    ) -> ttrpc::Result<StopSandboxResponse> {
        let limit = match request.timeout_secs {
            0 => STOP,
            seconds => Duration::from_secs(seconds.into()),
        };
        self.0.stop_sandbox(&request.sandbox_id, limit).await?;
        Ok(StopSandboxResponse::new())
    }

    async fn wait_sandbox(
        &self,
        _: &TtrpcContext,
        request: WaitSandboxRequest,
    ) -> ttrpc::Result<WaitSandboxResponse> {
        let (container, _) = self.0.sandbox(&request.sandbox_id)?;
        let exit = container.wait().await.map_err(|failure| request_failed(&request.sandbox_id, &failure))?;
        Ok(WaitSandboxResponse {
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..Default::default()
        })
    }

    async fn sandbox_status(
        &self,
        _: &TtrpcContext,
        request: SandboxStatusRequest,
    ) -> ttrpc::Result<SandboxStatusResponse> {
        let (container, created_at) = self.0.sandbox(&request.sandbox_id)?;
        let Snapshot { status, pid, exit } = container.snapshot();
        let state = if status == Status::Running { READY } else { NOT_READY };
        Ok(SandboxStatusResponse {
            sandbox_id: request.sandbox_id,
            pid,
            state: state.to_owned(),
            created_at: MessageField::some(timestamp(created_at)),
            exited_at: exit.map(|exit| timestamp(exit.at)).into(),
            ..Default::default()
        })
    }

    async fn ping_sandbox(&self, _: &TtrpcContext, request: PingRequest) -> ttrpc::Result<PingResponse> {
        self.0.sandbox(&request.sandbox_id)?;
        Ok(PingResponse::new())
    }

    async fn shutdown_sandbox(
        &self,
        _: &TtrpcContext,
        request: ShutdownSandboxRequest,
    ) -> ttrpc::Result<ShutdownSandboxResponse> {
        let shared = Arc::clone(&self.0);
        to_its_end(async move { shared.shutdown_sandbox(&request.sandbox_id, STOP).await }).await?;
        Ok(ShutdownSandboxResponse::new())
    }

    /// What the sandbox itself uses: nothing. Its guests have figures of their own.
    async fn sandbox_metrics(
        &self,
        _: &TtrpcContext,
        request: SandboxMetricsRequest,
    ) -> ttrpc::Result<SandboxMetricsResponse> {
        let id = request.sandbox_id;
        let (container, _) = self.0.sandbox(&id)?;
        let usage = container.usage().await.map_err(|failure| request_failed(&id, &failure))?;
        let data = stats::metrics(&usage).map_err(|failure| error(Code::INTERNAL, failure.to_string()))?;
        let mut response = SandboxMetricsResponse::new();
        let metrics = response.metrics.mut_or_insert_default();
        metrics.id = id;
        metrics.timestamp = MessageField::some(timestamp(SystemTime::now()));
        metrics.data = MessageField::some(data);
        Ok(response)
    }
}
