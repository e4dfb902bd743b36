//! A shim without a containerd: started, spoken to and cleaned up after as containerd does it, but with nobody in
//! between who hides what it answers. It runs in a namespace of its own, with real QEMU.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use containerd_shim_protos::api::{
    CreateTaskRequest, DeleteRequest, DeleteResponse, Empty, ForwardRequest, KillRequest, Mount,
    PauseRequest, ResumeRequest, ShutdownRequest, StartRequest, WaitRequest,
};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim_async::{Client, Events, TaskClient, create_events};
use containerd_shim_protos::ttrpc::r#async::{Server, TtrpcContext};
use containerd_shim_protos::ttrpc::{self, context};
use micrun_testkit::etc::{CONF, OwnEtc, write};
use micrun_testkit::firmware::OURS_RISCV64;
use micrun_testkit::leftovers::Baseline;
use micrun_testkit::namespace::{Namespace, Process};
use micrun_testkit::product::SHIM;
use micrun_testkit::{Product, console, wait};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::runtime::{Builder, Runtime};

use crate::kill_process;
use crate::network::ALLOW;

/// A generous deadline for one call.
const CALL: Duration = Duration::from_secs(20);
/// containerd gives `delete` five seconds; the contract four.
const DELETE_LIMIT: Duration = Duration::from_secs(4);
/// How long what ends by itself may take.
const SETTLE: Duration = Duration::from_secs(15);

/// What `ctr` would have packed for the test firmware.
const CLIENT_CONF: &str = "[Mica]\nName=x\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf=\n\n[MicRun]\nboard=qemu-riscv64\n";

/// Where the events go, inside.
const EVENTS: &str = "/run/events.sock";

/// A place for shims.
pub struct Bare {
    pub namespace: Namespace,
    /// A folder for bundles and logs, the same inside and outside.
    pub scratch: tempfile::TempDir,
    /// containerd's namespace.
    pub containers: String,
    /// The network namespace of the containers, whose interface they ask for; none unless somebody sets it.
    pub network: Option<PathBuf>,
    shim: PathBuf,
    image: PathBuf,
    baseline: Baseline,
    events: Recorder,
    runtime: Runtime,
    _server: Server,
}

/// Where a container's bytes come from and go to; nowhere if empty.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    pub stdin: String,
    pub stdout: String,
}

/// A shim that answers.
pub struct Task {
    client: TaskClient,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<ForwardRequest>>>);

#[async_trait]
impl Events for Recorder {
    async fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        Ok(Empty::new())
    }
}

impl Bare {
    /// A place for the shim of this folder.
    pub fn new(shims: &Path, product: &Product) -> Result<Bare> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let containers = format!("bare-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace::new(&containers)?;
        let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
        let image = scratch.path().join("image");
        std::fs::create_dir(&image)?;
        std::fs::write(image.join("client.conf"), CLIENT_CONF)?;
        std::fs::copy(OURS_RISCV64.elf(product.firmware()), image.join("firmware.elf"))
            .context("cannot copy the test firmware")?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let events = Recorder::default();
        let address = format!("unix://{}", namespace.path(EVENTS).display());
        let server = runtime.block_on(async {
            let service = create_events(Arc::new(events.clone()));
            let mut server = Server::new().bind(&address)?.register_service(service);
            server.start().await.map(|()| server)
        })?;
        let baseline = Baseline::of(&namespace)?;
        let shim = shims.join(SHIM);
        let network = None;
        Ok(Bare {
            namespace,
            scratch,
            containers,
            network,
            shim,
            image,
            baseline,
            events,
            runtime,
            _server: server,
        })
    }

    /// The same place, with a pod's network whose interface every container asks for and gets.
    pub fn with_network(mut self) -> Result<Bare> {
        let _ = OwnEtc::new(&self.namespace)?;
        write(&self.namespace, CONF, ALLOW)?;
        let network = self.scratch.path().join("network");
        std::fs::write(&network, "")?;
        let script =
            "ip link add eth0 type veth peer name peer && ip link set eth0 up && ip link set peer up";
        let mut command = Command::new("unshare");
        command.arg(format!("--net={}", network.display())).args(["sh", "-c", script]);
        let status = self.namespace.spawn(&mut command)?.wait()?;
        ensure!(status.success(), "cannot make a network namespace");
        self.network = Some(network);
        self.baseline = Baseline::of(&self.namespace)?;
        Ok(self)
    }

    /// What a guest could have left in its pod's network.
    fn left_in_network(&self) -> Result<Vec<String>> {
        let Some(network) = &self.network else { return Ok(Vec::new()) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", network.display())).stdout(Stdio::piped());
        command.args(["sh", "-c", "ip -o link show; tc qdisc show"]);
        let output = self.namespace.spawn(&mut command)?.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.contains("eth0"), "this is no pod's network: {said}");
        let left = |line: &&str| line.contains("micrun") || line.contains("ingress");
        Ok(said.lines().filter(left).map(|line| format!("network {line}")).collect())
    }

    /// Waits for a call.
    pub fn ask<T>(&self, call: impl Future<Output = ttrpc::Result<T>>) -> Result<T> {
        Ok(self.runtime.block_on(call)?)
    }

    /// The bundle of a container: made anew, as containerd makes it.
    pub fn bundle(&self, id: &str) -> Result<PathBuf> {
        let bundle = self.scratch.path().join(id);
        if bundle.exists() {
            std::fs::remove_dir_all(&bundle)?;
        }
        std::fs::create_dir_all(bundle.join("rootfs"))?;
        let mut config = serde_json::json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "linux": {"cgroupsPath": format!("/{}/{id}", self.containers)},
        });
        if let Some(network) = &self.network {
            config["linux"]["namespaces"] = serde_json::json!([{"type": "network", "path": network}]);
            config["annotations"] = serde_json::json!({"org.openeuler.micrun.container.network": "pod"});
        }
        std::fs::write(bundle.join("config.json"), config.to_string())?;
        mkfifo(&bundle.join("log"), Mode::S_IRWXU)?;
        Ok(bundle)
    }

    /// The firmware in the image.
    pub fn firmware(&self) -> PathBuf {
        self.image.join("firmware.elf")
    }

    /// The file that a container's output goes to.
    pub fn log(&self, id: &str) -> PathBuf {
        self.scratch.path().join(format!("{id}.log"))
    }

    /// An action of the shim's command line.
    pub fn action(&self, id: &str, action: &str) -> Result<Output> {
        let bundle = self.scratch.path().join(id);
        let mut command = Command::new(&self.shim);
        command.args(["-namespace", &self.containers, "-address", "/run/c.sock"]);
        command.args(["-publish-binary", "/bin/false", "-id", id, "-bundle"]).arg(&bundle).arg(action);
        command.current_dir(bundle).env("TTRPC_ADDRESS", EVENTS).env("MAX_SHIM_VERSION", "2");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.namespace.spawn(&mut command)?;
        child.wait_with_output().context("cannot wait for the shim")
    }

    /// `start`, and a connection to where it says.
    pub fn start(&self, id: &str) -> Result<Task> {
        let output = self.action(id, "start")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "start failed: {said}");
        let reply: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("start answered something else")?;
        let address = format!("unix://{}", self.socket(id)?.display());
        ensure!(reply["address"] == *address, "start says {reply}, and the bundle {address}");
        self.connect_to(id)
    }

    /// The socket that a bundle names, as a path inside.
    pub fn socket(&self, id: &str) -> Result<PathBuf> {
        let bundle = self.namespace.path(self.scratch.path().join(id));
        let address = std::fs::read_to_string(bundle.join("address")).context("the bundle has no address")?;
        Ok(address.strip_prefix("unix://").context("the shim's address is no socket")?.into())
    }

    /// A further connection to the shim of a bundle.
    pub fn connect_to(&self, id: &str) -> Result<Task> {
        let address = format!("unix://{}", self.namespace.path(self.socket(id)?).display());
        Ok(Task { client: TaskClient::new(self.ask(Client::connect(&address))?) })
    }

    /// `delete`, as containerd runs it for a shim that died: it takes less than four seconds and prints nothing but its
    /// answer.
    pub fn delete(&self, id: &str) -> Result<()> {
        let begun = Instant::now();
        let output = self.action(id, "delete")?;
        let (took, said) = (begun.elapsed(), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "delete failed: {said}");
        ensure!(said.is_empty(), "delete said: {said}");
        ensure!(took < DELETE_LIMIT, "delete took {} ms", took.as_millis());
        let response = DeleteResponse::parse_from_bytes(&output.stdout).context("no DeleteResponse")?;
        ensure!(response.exit_status == 137 && response.exited_at.is_some(), "delete answered {response:?}");
        Ok(())
    }

    /// A new container whose guest runs and has said its first words.
    pub fn run(&self, id: &str) -> Result<Task> {
        self.bundle(id)?;
        let task = self.start(id)?;
        let log = self.log(id);
        if log.exists() {
            std::fs::remove_file(&log)?;
        }
        let stdout = format!("file://{}", log.display());
        self.create(&task, id, &Streams { stdout, ..Streams::default() })?;
        self.ask(task.client.start(soon(), &StartRequest { id: id.to_owned(), ..Default::default() }))?;
        console::wait_for_log(&self.log(id), OURS_RISCV64.banner)?;
        Ok(task)
    }

    /// Create, with a mount of the image.
    pub fn create(&self, task: &Task, id: &str, streams: &Streams) -> Result<()> {
        let mount = Mount {
            type_: "bind".to_owned(),
            source: self.image.display().to_string(),
            options: vec!["rbind".to_owned(), "ro".to_owned()],
            ..Default::default()
        };
        let request = CreateTaskRequest {
            id: id.to_owned(),
            bundle: self.scratch.path().join(id).display().to_string(),
            rootfs: vec![mount],
            stdin: streams.stdin.clone(),
            stdout: streams.stdout.clone(),
            ..Default::default()
        };
        self.ask(task.client.create(soon(), &request)).map(drop)
    }

    /// All that can happen to a container, from `start` to the end of its shim.
    pub fn life(&self, id: &str) -> Result<()> {
        let task = self.run(id)?;
        self.ask(task.client.pause(soon(), &PauseRequest { id: id.to_owned(), ..Default::default() }))?;
        self.ask(task.client.resume(soon(), &ResumeRequest { id: id.to_owned(), ..Default::default() }))?;
        self.end(&task, id)
    }

    /// From Kill to the end of the shim.
    pub fn end(&self, task: &Task, id: &str) -> Result<()> {
        let kill = KillRequest { id: id.to_owned(), signal: 9, ..Default::default() };
        self.ask(task.client.kill(soon(), &kill))?;
        let status = self.wait(task, id)?;
        ensure!(status == 137, "a guest that is killed ends with 137, not {status}");
        self.remove(task, id)
    }

    /// Waits for the end of a guest, and gives its status.
    pub fn wait(&self, task: &Task, id: &str) -> Result<u32> {
        let request = WaitRequest { id: id.to_owned(), ..Default::default() };
        Ok(self.ask(task.client.wait(soon(), &request))?.exit_status)
    }

    /// From Delete to the end of the shim.
    pub fn remove(&self, task: &Task, id: &str) -> Result<()> {
        self.ask(task.client.delete(soon(), &DeleteRequest { id: id.to_owned(), ..Default::default() }))?;
        self.ask(task.client.shutdown(soon(), &ShutdownRequest::default()))?;
        wait::until("the shim to end", || Ok(self.shims()?.is_empty().then_some(())))
    }

    /// The processes of shims, `start` and `delete` among them, and those that are about to be gone.
    pub fn shims(&self) -> Result<Vec<Process>> {
        let mut processes = self.namespace.processes()?;
        // Without its memory a process has no command line any more, and the kernel's name for it is a short one.
        processes
            .retain(|process| process.program() == SHIM || process.command.starts_with("[containerd-shim"));
        Ok(processes)
    }

    /// Kills every shim.
    pub fn kill_shims(&self) -> Result<()> {
        for shim in self.shims()? {
            kill_process(shim.pid)?;
        }
        wait::until("the shim to die", || Ok(self.shims()?.is_empty().then_some(())))
    }

    /// The guests' emulators.
    pub fn emulators(&self) -> Result<Vec<Process>> {
        let mut processes = self.namespace.processes()?;
        processes.retain(|process| process.program().starts_with("qemu-system-"));
        Ok(processes)
    }

    /// The topics of the events so far, in order.
    pub fn topics(&self) -> Vec<String> {
        let events = self.events.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().map(|request| request.envelope.topic.clone()).collect()
    }

    /// Fails if anything is left: processes, mounts, sockets, state, cgroups. Waits a little for what ends by itself.
    pub fn assert_clean(&self) -> Result<()> {
        let mut left = Vec::new();
        let clean = wait::within(SETTLE, "nothing to be left", || {
            left = self.baseline.compare(&self.namespace, &self.containers, |_| false)?;
            left.extend(self.left_in_network()?);
            Ok(left.is_empty().then_some(()))
        });
        clean.with_context(|| format!("left behind:\n  {}", left.join("\n  ")))
    }
}

impl Task {
    /// The service's own calls.
    pub fn client(&self) -> &TaskClient {
        &self.client
    }
}

/// A request's context, with a generous deadline.
pub fn soon() -> context::Context {
    context::with_duration(CALL)
}
