//! The Sandbox service as containerd 2.x speaks to it (`sandboxer = "shim"`): over ttrpc, with the echo pedestal below.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use containerd_shim_protos::api::Status;
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::sandbox_api::{
    CreateSandboxRequest, PingRequest, PlatformRequest, SandboxMetricsRequest, SandboxStatusRequest,
    SandboxStatusResponse, ShutdownSandboxRequest, StartSandboxRequest, StartSandboxResponse,
    StopSandboxRequest, WaitSandboxRequest, WaitSandboxResponse,
};
use containerd_shim_protos::sandbox_async::SandboxClient;
use containerd_shim_protos::ttrpc::{self, Code};
use micrun::config::NodeConfig;
use micrun::pedestal::Node;
use micrun_image_spec::board::Boards;
use support::echo::{Echo, Script};
use support::{SOON, Shim, is_empty, kill, refusal, soon, start};

/// A shim that was started for the pod `p`.
struct Pod {
    shim: Shim,
    sandbox: SandboxClient,
}

fn id() -> String {
    "p".to_owned()
}

impl Pod {
    fn of(shim: Shim) -> Pod {
        let sandbox = SandboxClient::new(shim.client.clone());
        Pod { shim, sandbox }
    }

    /// One that was created and started.
    async fn running(echo: Echo) -> Pod {
        let pod = Pod::of(Shim::start(echo).await);
        pod.create().await.unwrap();
        pod.start().await.unwrap();
        pod
    }

    /// As containerd asks: there is a bundle, with neither config.json nor a root file system.
    async fn create(&self) -> ttrpc::Result<()> {
        let bundle = self.shim.dir.path().join("bundles/p");
        fs::create_dir_all(&bundle).unwrap();
        let config = Any {
            type_url: "runtime.v1.PodSandboxConfig".to_owned(),
            value: vec![7; 40],
            ..Default::default()
        };
        let request = CreateSandboxRequest {
            sandbox_id: id(),
            bundle_path: bundle.display().to_string(),
            options: MessageField::some(config),
            netns_path: "/run/netns/cni-1".to_owned(),
            ..Default::default()
        };
        self.sandbox.create_sandbox(soon(), &request).await.map(drop)
    }

    async fn start(&self) -> ttrpc::Result<StartSandboxResponse> {
        let request = StartSandboxRequest { sandbox_id: id(), ..Default::default() };
        self.sandbox.start_sandbox(soon(), &request).await
    }

    async fn stop(&self, timeout_secs: u32) -> ttrpc::Result<()> {
        let request = StopSandboxRequest { sandbox_id: id(), timeout_secs, ..Default::default() };
        self.sandbox.stop_sandbox(soon(), &request).await.map(drop)
    }

    async fn wait(&self) -> ttrpc::Result<WaitSandboxResponse> {
        let request = WaitSandboxRequest { sandbox_id: id(), ..Default::default() };
        self.sandbox.wait_sandbox(soon(), &request).await
    }

    async fn status(&self) -> ttrpc::Result<SandboxStatusResponse> {
        let request = SandboxStatusRequest { sandbox_id: id(), verbose: true, ..Default::default() };
        self.sandbox.sandbox_status(soon(), &request).await
    }

    async fn ping(&self) -> ttrpc::Result<()> {
        let request = PingRequest { sandbox_id: id(), ..Default::default() };
        self.sandbox.ping_sandbox(soon(), &request).await.map(drop)
    }

    async fn shutdown(&self) -> ttrpc::Result<()> {
        let request = ShutdownSandboxRequest { sandbox_id: id(), ..Default::default() };
        self.sandbox.shutdown_sandbox(soon(), &request).await.map(drop)
    }

    async fn ends(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(50), self.shim.shared.idle()).await.is_ok()
    }

    fn is_gone(&self) -> bool {
        is_empty(&self.shim.dir.path().join("state"))
    }
}

#[tokio::test]
async fn a_pod_from_create_to_shutdown() {
    let echo = Echo::default();
    let pod = Pod::of(Shim::start(echo.clone()).await);
    pod.create().await.unwrap();
    let state = fs::read_to_string(pod.shim.state_dir("p").join("state.json")).unwrap();
    assert!(state.contains(r#""network":"/run/netns/cni-1""#), "its containers look there: {state}");
    assert_eq!(pod.status().await.unwrap().state, "SANDBOX_NOTREADY", "not started yet");
    let started = pod.start().await.unwrap();
    assert_eq!(started.pid, std::process::id());
    let status = pod.status().await.unwrap();
    assert_eq!(
        (status.sandbox_id.as_str(), status.state.as_str(), status.pid),
        ("p", "SANDBOX_READY", started.pid)
    );
    assert_eq!(status.created_at, started.created_at);
    assert!(status.created_at.seconds > 0 && status.exited_at.is_none());
    pod.ping().await.unwrap();
    assert!(echo.daemon.guests().is_empty(), "a sandbox is no guest");

    for id in ["a", "b"] {
        pod.shim.run(id).await;
    }
    assert_eq!(echo.daemon.guests().len(), 2);
    let (waited, stopped) = tokio::join!(pod.wait(), pod.stop(0));
    stopped.unwrap();
    assert_eq!(waited.unwrap().exit_status, 137);
    for id in ["a", "b"] {
        let state = pod.shim.state(id).await.unwrap();
        assert_eq!((state.status, state.exit_status), (Status::STOPPED.into(), 137), "before the answer");
    }
    let status = pod.status().await.unwrap();
    assert_eq!((status.state.as_str(), status.exited_at.is_some()), ("SANDBOX_NOTREADY", true));

    pod.shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    pod.shutdown().await.unwrap();
    assert!(
        pod.ends().await && pod.is_gone() && echo.daemon.guests().is_empty(),
        "b was deleted with its pod"
    );
    let topics = pod.shim.containerd.wait_for(8).await;
    assert_eq!(topics.len(), 8, "of two containers, and none of a sandbox: {topics:?}");
}

#[tokio::test]
async fn every_call_can_be_repeated() {
    let pod = Pod::of(Shim::start(Echo::default()).await);
    pod.create().await.unwrap();
    pod.create().await.unwrap();
    let (first, second) = (pod.start().await.unwrap(), pod.start().await.unwrap());
    assert_eq!(first, second);
    for _ in 0..2 {
        pod.ping().await.unwrap();
        let request = PlatformRequest { sandbox_id: id(), ..Default::default() };
        let platform = pod.sandbox.platform(soon(), &request).await.unwrap().platform;
        let expected = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        assert_eq!((platform.os.as_str(), platform.architecture.as_str()), ("linux", expected));
        let request = SandboxMetricsRequest { sandbox_id: id(), ..Default::default() };
        let metrics = pod.sandbox.sandbox_metrics(soon(), &request).await.unwrap().metrics;
        assert_eq!(metrics.id, "p");
        assert!(metrics.data.type_url.starts_with("io.containerd.cgroups.v"), "{metrics:?}");
    }
    for _ in 0..2 {
        pod.stop(3).await.unwrap();
        assert_eq!(pod.wait().await.unwrap().exit_status, 137);
    }
    assert_eq!(refusal(pod.start().await).0, Code::FAILED_PRECONDITION, "it is over");
    pod.create().await.unwrap();
    assert_eq!(pod.status().await.unwrap().state, "SANDBOX_NOTREADY");
    for _ in 0..2 {
        pod.shutdown().await.unwrap();
        assert!(pod.ends().await);
    }
    assert!(pod.is_gone());
}

#[tokio::test]
async fn a_sandbox_that_was_never_made_is_not_found_and_its_shim_ends_when_told() {
    let pod = Pod::of(Shim::start(Echo::default()).await);
    for answer in [pod.ping().await, pod.stop(0).await] {
        assert_eq!(refusal(answer).0, Code::NOT_FOUND);
    }
    assert_eq!(refusal(pod.start().await).0, Code::NOT_FOUND);
    assert_eq!(refusal(pod.status().await).0, Code::NOT_FOUND);
    assert_eq!(refusal(pod.wait().await).0, Code::NOT_FOUND);
    pod.shutdown().await.unwrap();
    assert!(pod.ends().await);
}

#[tokio::test]
async fn a_sandbox_keeps_its_shim_until_it_is_shut_down() {
    let pod = Pod::running(Echo::default()).await;
    for _ in 0..2 {
        pod.shim.task.shutdown(soon(), &support::shutdown("p")).await.unwrap();
        pod.shim.shared.end_if_unused();
        assert!(!pod.ends().await, "an idle sandbox lives");
        pod.stop(0).await.unwrap();
    }
    pod.shutdown().await.unwrap();
    assert!(pod.ends().await);
}

#[tokio::test]
async fn a_containerd_that_restarts_finds_the_sandbox_by_the_task_service() {
    let pod = Pod::running(Echo::default()).await;
    for _ in ["running", "stopped"] {
        let connected = pod.shim.task.connect(soon(), &support::connect("p")).await.unwrap();
        assert_eq!(connected.task_pid, std::process::id());
        assert_eq!(pod.shim.task.pids(soon(), &support::pids("p")).await.unwrap().processes.len(), 1);
        pod.stop(0).await.unwrap();
    }
    let (code, words) = refusal(pod.shim.task.delete(soon(), &support::delete("p")).await);
    assert_eq!(code, Code::FAILED_PRECONDITION, "{words}");
    assert_eq!(pod.status().await.unwrap().state, "SANDBOX_NOTREADY");
}

#[tokio::test]
async fn a_sandbox_that_is_killed_as_a_task_is_not_ready_and_its_containers_live() {
    let pod = Pod::running(Echo::default()).await;
    pod.shim.run("a").await;
    let (waited, killed) =
        tokio::join!(pod.wait(), async { pod.shim.task.kill(soon(), &kill("p", 15)).await });
    killed.unwrap();
    assert_eq!(waited.unwrap().exit_status, 143);
    assert_eq!(pod.shim.state("a").await.unwrap().status, Status::RUNNING.into());
}

#[tokio::test]
async fn a_guest_that_cannot_be_freed_keeps_its_sandbox_until_it_can() {
    let echo = Echo::with(Script { fail_destroy: true, ..Script::default() });
    let pod = Pod::running(echo).await;
    pod.shim.run("a").await;
    for _ in 0..2 {
        let (code, words) = refusal(pod.shutdown().await);
        assert_eq!(code, Code::INTERNAL, "{words}");
        assert!(words.contains("container a"), "{words}");
        assert!(!pod.ends().await);
    }
    let (code, _) = refusal(pod.shim.create("b", &pod.shim.bundle("b")).await);
    assert_eq!(code, Code::UNAVAILABLE, "a pod on its way out takes no container");
}

#[tokio::test]
async fn containers_of_every_state_end_with_their_pod() {
    let slow = Script { create_takes: Duration::from_millis(200), ..Script::default() };
    let echo = Echo::with(slow);
    let pod = Pod::running(echo.clone()).await;
    pod.shim.create("created", &pod.shim.bundle("created")).await.unwrap();
    pod.shim.run("running").await;
    pod.shim.run("stopped").await;
    pod.shim.task.kill(soon(), &kill("stopped", 9)).await.unwrap();
    let bundle = pod.shim.bundle("coming");
    let shutdown = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        pod.shutdown().await
    };
    let (_, done) = tokio::join!(pod.shim.create("coming", &bundle), shutdown);
    done.unwrap();
    tokio::time::timeout(SOON, pod.shim.shared.idle()).await.unwrap();
    assert!(echo.daemon.guests().is_empty() && pod.is_gone());
    assert!(pod.shim.task.start(soon(), &start("coming")).await.is_err());
}

/// containerd's client may take a reply that is followed by the end of the connection for a failure.
#[tokio::test]
async fn it_is_the_client_that_hangs_up_after_the_last_reply() {
    let mut pod = Pod::running(Echo::default()).await;
    pod.shutdown().await.unwrap();
    let stopping = tokio::spawn(pod.shim.stop());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!stopping.is_finished());
    let (code, words) = refusal(pod.ping().await);
    assert_eq!((code, words.as_str()), (Code::NOT_FOUND, "sandbox p not found"), "the shim still answers");
    let begin = Instant::now();
    drop(pod);
    tokio::time::timeout(SOON, stopping).await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "the shim does not wait for nobody");
}

#[tokio::test]
async fn what_is_wrong_with_the_node_is_told_before_there_is_a_pod() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("micrun.conf");
    fs::write(&path, "[guest]\nwieght = 1\n").unwrap();
    let broken = NodeConfig::load(Path::new(&path));
    let pod = Pod::of(Shim::with(broken, Node::new(Boards::builtin(), []), Echo::default()).await);
    let (code, words) = refusal(pod.create().await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(words.ends_with("; correct or remove the file"), "{words}");
    pod.shutdown().await.unwrap();
    assert!(pod.ends().await && pod.is_gone());
}
