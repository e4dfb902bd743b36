//! A client of containerd's API, as engines are: it makes tasks with streams of its own, and sees what `ctr` never shows.
//!
//! Its calls block. The calls and codes are containerd's; most errors are [`GrpcError::Status`].

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use micrun_unix_grpc::containerd::containers::{self, Container, OneContainer, UpdateContainerRequest};
use micrun_unix_grpc::containerd::snapshots::{self, MountsRequest, MountsResponse};
use micrun_unix_grpc::containerd::tasks::{
    self, CloseIoRequest, CreateTaskRequest, Created, Deleted, ExecRequest, Exited, GetResponse, KillRequest,
    ListPidsResponse, MetricsRequest, MetricsResponse, Named, PROCESS, ResizePtyRequest, Started,
    UpdateTaskRequest,
};
use micrun_unix_grpc::containerd::{FieldMask, NAMESPACE, Nothing};
use micrun_unix_grpc::{Channel, GrpcError};
use prost::Message;
use serde_json::Value;

use crate::Containerd;
use crate::containerd::ADDRESS;
use crate::wait::DEADLINE;

mod events;
mod fifos;

pub use events::{Subscription, Told};
pub use fifos::{Fifos, Output};
pub use micrun_unix_grpc::containerd::Any;
pub use micrun_unix_grpc::containerd::tasks::{Process, Status};

/// How the containers' resources are called in an Any, as containerd's own client does.
const RESOURCES: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

/// The streams of a task as an engine names them: FIFOs, URIs, or nothing.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "what they are called everywhere")]
pub struct Stdio {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

/// A connection to a containerd, in the namespace of its containers.
pub struct Client {
    channel: Channel,
}

type Answer<T> = Result<T, GrpcError>;

impl Containerd {
    /// A client of its own, with a connection of its own.
    ///
    /// # Errors
    /// If containerd does not listen.
    pub fn client(&self) -> Result<Client> {
        let socket = self.namespace.path(ADDRESS);
        let mut channel =
            Channel::connect(&socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
        channel.set_metadata(NAMESPACE, self.containers())?;
        Ok(Client { channel })
    }

    /// A container of an image, without a task: what engines do before they speak of tasks. More options are `ctr`'s.
    ///
    /// # Errors
    /// If containerd refuses.
    pub fn create_container(&self, runtime: &str, image: &str, id: &str, options: &[&str]) -> Result<()> {
        let create = ["container", "create", "--runtime", runtime];
        self.run_ctr([&create, options, &[image, id]].concat()).map(drop)
    }
}

impl Client {
    fn task<A: Message + Default>(&self, method: &str, request: &impl Message) -> Answer<A> {
        self.channel.call(tasks::SERVICE, method, request, DEADLINE)
    }

    fn of_task<A: Message + Default>(&self, method: &str, container: &str, exec: &str) -> Answer<A> {
        self.task(method, &Named { container: container.to_owned(), exec: exec.to_owned() })
    }

    /// Changes the OCI configuration of a container that has no task yet.
    ///
    /// # Errors
    /// If there is no such container, or its configuration is none.
    pub fn edit_spec(&self, id: &str, edit: impl FnOnce(&mut Value)) -> Result<()> {
        let container = self.container(id)?;
        let mut any = container.spec.clone().context("the container has no configuration")?;
        let mut spec = serde_json::from_slice(&any.value).context("the configuration is no JSON")?;
        edit(&mut spec);
        any.value = spec.to_string().into_bytes();
        let container = Container { spec: Some(any), ..container };
        let mask = FieldMask { paths: vec!["spec".to_owned()] };
        let request = UpdateContainerRequest { container: Some(container), mask: Some(mask) };
        self.channel.call::<Nothing>(containers::SERVICE, "Update", &request, DEADLINE)?;
        Ok(())
    }

    fn container(&self, id: &str) -> Result<Container> {
        let named = Named { container: id.to_owned(), ..Named::default() };
        let answer: OneContainer = self.channel.call(containers::SERVICE, "Get", &named, DEADLINE)?;
        answer.container.ok_or_else(|| anyhow!("containerd answers with no container"))
    }

    /// Creates a task with these streams; its PID.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn create(&self, id: &str, stdio: &Stdio) -> Result<u32> {
        let container = self.container(id)?;
        let request = MountsRequest { snapshotter: container.snapshotter, key: container.snapshot };
        let mounts: MountsResponse = self.channel.call(snapshots::SERVICE, "Mounts", &request, DEADLINE)?;
        let Stdio { stdin, stdout, stderr, terminal } = stdio.clone();
        let (container, rootfs) = (id.to_owned(), mounts.mounts);
        let request = CreateTaskRequest { container, rootfs, stdin, stdout, stderr, terminal };
        Ok(self.task::<Created>("Create", &request)?.pid)
    }

    /// Starts a task, or an exec of one; its PID.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn start(&self, id: &str, exec: &str) -> Answer<u32> {
        Ok(self.of_task::<Started>("Start", id, exec)?.pid)
    }

    /// What a task, or an exec of one, is just now.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn get(&self, id: &str, exec: &str) -> Answer<Process> {
        Ok(self.of_task::<GetResponse>("Get", id, exec)?.process.unwrap_or_default())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn kill(&self, id: &str, exec: &str, signal: u32) -> Answer<()> {
        let request = KillRequest { container: id.to_owned(), exec: exec.to_owned(), signal };
        self.task::<Nothing>("Kill", &request).map(drop)
    }

    /// Waits for the end of a task or an exec; its exit status.
    ///
    /// # Errors
    /// If there is no such thing, or it does not end in time.
    pub fn wait(&self, id: &str, exec: &str) -> Answer<u32> {
        Ok(self.of_task::<Exited>("Wait", id, exec)?.status)
    }

    /// Deletes a task; its exit status.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn delete(&self, id: &str) -> Answer<u32> {
        Ok(self.of_task::<Deleted>("Delete", id, "")?.status)
    }

    /// Deletes an exec; its exit status.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn delete_exec(&self, id: &str, exec: &str) -> Answer<u32> {
        Ok(self.of_task::<Deleted>("DeleteProcess", id, exec)?.status)
    }

    /// Stops the clock of a task.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn pause(&self, id: &str) -> Answer<()> {
        self.of_task::<Nothing>("Pause", id, "").map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn resume(&self, id: &str) -> Answer<()> {
        self.of_task::<Nothing>("Resume", id, "").map(drop)
    }

    /// Asks for a checkpoint.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn checkpoint(&self, id: &str) -> Answer<()> {
        self.of_task::<Nothing>("Checkpoint", id, "").map(drop)
    }

    /// The PIDs inside of a task.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn pids(&self, id: &str) -> Answer<Vec<u32>> {
        let answer: ListPidsResponse = self.of_task("ListPids", id, "")?;
        Ok(answer.processes.into_iter().map(|process| process.pid).collect())
    }

    /// Changes `linux.resources`.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn update(&self, id: &str, resources: &Value) -> Answer<()> {
        let resources = Any { type_url: RESOURCES.to_owned(), value: resources.to_string().into_bytes() };
        let request = UpdateTaskRequest { container: id.to_owned(), resources: Some(resources) };
        self.task::<Nothing>("Update", &request).map(drop)
    }

    /// What a task has used; none where containerd leaves it out, as it does with those that give no answer.
    ///
    /// # Errors
    /// If containerd refuses.
    pub fn metrics(&self, id: &str) -> Answer<Option<Any>> {
        let request = MetricsRequest { filters: vec![format!("id=={id}")] };
        let answer: MetricsResponse = self.task("Metrics", &request)?;
        Ok(answer.metrics.into_iter().find(|metric| metric.container == id).and_then(|metric| metric.data))
    }

    /// Ends the input of a task or an exec.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn close_stdin(&self, id: &str, exec: &str) -> Answer<()> {
        let request = CloseIoRequest { container: id.to_owned(), exec: exec.to_owned(), stdin: true };
        self.task::<Nothing>("CloseIO", &request).map(drop)
    }

    /// Tells of a terminal's size.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn resize(&self, id: &str, width: u32, height: u32) -> Answer<()> {
        let request = ResizePtyRequest { container: id.to_owned(), exec: String::new(), width, height };
        self.task::<Nothing>("ResizePty", &request).map(drop)
    }

    /// Adds an exec with these arguments and streams. It does not run yet.
    ///
    /// # Errors
    /// If containerd or the shim refuse.
    pub fn exec(&self, id: &str, exec: &str, arguments: &[&str], stdio: &Stdio) -> Answer<()> {
        let spec = serde_json::json!({
            "args": arguments, "cwd": "/", "terminal": stdio.terminal, "user": { "uid": 0, "gid": 0 },
        });
        let spec = Any { type_url: PROCESS.to_owned(), value: spec.to_string().into_bytes() };
        let Stdio { stdin, stdout, stderr, terminal } = stdio.clone();
        let (container, exec) = (id.to_owned(), exec.to_owned());
        let request = ExecRequest { container, stdin, stdout, stderr, terminal, spec: Some(spec), exec };
        self.task::<Nothing>("Exec", &request).map(drop)
    }

    /// Waits until a task, or an exec, is in a state.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn wait_status(&self, id: &str, status: Status) -> Result<()> {
        crate::wait::until(&format!("task {id} to be {status:?}"), || {
            Ok((self.get(id, "")?.status() == status).then_some(()))
        })
    }
}

/// The code and the words of a refusal.
///
/// # Errors
/// If it was none.
pub fn refusal<T>(answer: Answer<T>) -> Result<(u32, String)> {
    match answer {
        Err(GrpcError::Status(status)) => Ok((status.code, status.message)),
        Err(other) => Err(other.into()),
        Ok(_) => Err(anyhow!("this should have been refused")),
    }
}

/// How long a message may take that is expected now.
const PATIENCE: Duration = DEADLINE;
