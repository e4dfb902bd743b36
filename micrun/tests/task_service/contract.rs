//! What each call means (docs/conformance.md has the table), under both names of the API.

use containerd_shim_protos::api::{
    CloseIORequest, ConnectResponse, DeleteResponse, Empty, PidsResponse, ResizePtyRequest, StateResponse,
    StatsResponse, Status, WaitResponse,
};
use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim_async::Client;
use containerd_shim_protos::ttrpc::{self, Code, Request};
use micrun::pedestal::{Capabilities, Live};
use serde_json::json;

use crate::support::echo::{Echo, Script};
use crate::support::{self, SOON, Shim, is_empty, kill, refusal, start};

/// Up to containerd 1.7, and since 2.0.
const NAMES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// The Task service under one of its names.
struct Api(Client, &'static str);

impl Api {
    async fn call<A: Message>(&self, method: &str, request: impl Message) -> ttrpc::Result<A> {
        let request = Request {
            service: self.1.to_owned(),
            method: method.to_owned(),
            payload: request.write_to_bytes().unwrap(),
            timeout_nano: SOON.as_nanos().try_into().unwrap(),
            ..Default::default()
        };
        let reply = self.0.request(request).await?;
        Ok(A::parse_from_bytes(&reply.payload).unwrap())
    }

    async fn done(&self, method: &str, request: impl Message) {
        let answer = self.call::<Empty>(method, request).await;
        answer.unwrap_or_else(|error| panic!("{method} of {}: {error}", self.1));
    }

    async fn status(&self) -> Status {
        let state: StateResponse = self.call("State", state("a")).await.unwrap();
        state.status.enum_value_or_default()
    }
}

fn state(id: &str) -> containerd_shim_protos::api::StateRequest {
    containerd_shim_protos::api::StateRequest { id: id.to_owned(), ..Default::default() }
}

/// A container `a` in this state, on a pedestal that can do everything; and the name to call it by.
async fn container_in(wanted: Status, name: &'static str) -> (Shim, Api) {
    let can = Capabilities { pause: true, live: Live { cpu: true, memory: true }, ..Script::default().can };
    let shim = Shim::start(Echo::with(Script { can, ..Script::default() })).await;
    shim.create("a", &shim.bundle("a")).await.unwrap();
    let api = Api(shim.client.clone(), name);
    if wanted != Status::CREATED {
        api.call::<containerd_shim_protos::api::StartResponse>("Start", start("a")).await.unwrap();
    }
    match wanted {
        Status::PAUSED => api.done("Pause", support::pause("a")).await,
        Status::STOPPED => {
            api.done("Kill", kill("a", 9)).await;
            api.call::<WaitResponse>("Wait", support::wait("a")).await.unwrap();
        }
        _ => {}
    }
    assert_eq!(api.status().await, wanted);
    (shim, api)
}

const ALL: [Status; 4] = [Status::CREATED, Status::RUNNING, Status::PAUSED, Status::STOPPED];
const ALIVE: [Status; 3] = [Status::CREATED, Status::RUNNING, Status::PAUSED];

#[tokio::test]
async fn pids_is_never_empty_and_connect_never_fails_while_a_task_exists() {
    for (name, status) in NAMES.into_iter().flat_map(|name| ALL.map(|status| (name, status))) {
        let (_shim, api) = container_in(status, name).await;
        let pids: PidsResponse = api.call("Pids", support::pids("a")).await.unwrap();
        let connected: ConnectResponse = api.call("Connect", support::connect("a")).await.unwrap();
        let own = std::process::id();
        assert_eq!(pids.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [own], "{status:?}");
        assert_eq!((connected.shim_pid, connected.task_pid), (own, own), "{status:?}");
    }
}

#[tokio::test]
async fn pids_and_connect_answer_while_a_container_is_being_created() {
    let takes = std::time::Duration::from_millis(300);
    let shim = Shim::start(Echo::with(Script { create_takes: takes, ..Script::default() })).await;
    let bundle = shim.bundle("a");
    let look = async {
        tokio::time::sleep(takes / 3).await;
        for name in NAMES {
            let api = Api(shim.client.clone(), name);
            let pids: PidsResponse = api.call("Pids", support::pids("a")).await.unwrap();
            assert_eq!(pids.processes.len(), 1);
            api.call::<ConnectResponse>("Connect", support::connect("a")).await.unwrap();
        }
    };
    let (created, ()) = tokio::join!(shim.create("a", &bundle), look);
    created.unwrap();
}

#[tokio::test]
async fn kill_works_in_every_living_state_and_ends_in_one_exit() {
    for (name, status) in NAMES.into_iter().flat_map(|name| ALIVE.map(|status| (name, status))) {
        for signal in [1, 2, 9, 15] {
            let (shim, api) = container_in(status, name).await;
            api.done("Kill", kill("a", signal)).await;
            let exit: WaitResponse = api.call("Wait", support::wait("a")).await.unwrap();
            assert_eq!(exit.exit_status, 128 + signal, "signal {signal}, {status:?}");
            let (code, words) = refusal(api.call::<Empty>("Kill", kill("a", 9)).await);
            assert_eq!(
                (code, words.contains("process already finished")),
                (Code::NOT_FOUND, true),
                "{words}"
            );
            api.call::<DeleteResponse>("Delete", support::delete("a")).await.unwrap();
            while !shim.containerd.topics().contains(&"/tasks/delete".to_owned()) {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            let topics = shim.containerd.topics();
            assert_eq!(topics.iter().filter(|topic| *topic == "/tasks/exit").count(), 1, "{topics:?}");
            let told: TaskExit = shim.containerd.event("/tasks/exit");
            assert_eq!((told.id.as_str(), told.container_id.as_str()), ("a", "a"));
            assert_eq!(told.exit_status, 128 + signal);
        }
    }
}

#[tokio::test]
async fn signals_that_a_guest_cannot_have_are_taken_in_every_living_state_and_do_nothing() {
    for (name, status) in NAMES.into_iter().flat_map(|name| ALIVE.map(|status| (name, status))) {
        let (_shim, api) = container_in(status, name).await;
        // 0, SIGCHLD, SIGCONT, SIGURG, SIGWINCH.
        for signal in [0, 17, 18, 23, 28] {
            api.done("Kill", kill("a", signal)).await;
        }
        assert_eq!(api.status().await, status);
    }
}

#[tokio::test]
async fn what_the_state_does_not_allow_is_refused_in_runcs_words() {
    let table = [
        (Status::CREATED, "Pause", "cannot pause task in created state"),
        (Status::CREATED, "Resume", "cannot resume task in created state"),
        (Status::RUNNING, "Start", "cannot start a running process"),
        (Status::RUNNING, "Resume", "cannot resume a running process"),
        (Status::RUNNING, "Delete", "cannot delete a running process"),
        (Status::PAUSED, "Start", "cannot start a paused process"),
        (Status::PAUSED, "Pause", "cannot pause a paused container"),
        (Status::PAUSED, "Delete", "cannot delete a paused process"),
        (Status::STOPPED, "Start", "cannot start a stopped process"),
        (Status::STOPPED, "Pause", "cannot pause a stopped container"),
        (Status::STOPPED, "Resume", "cannot resume a stopped container"),
        (Status::STOPPED, "Update", "cannot update a stopped container"),
    ];
    for name in NAMES {
        for (status, method, words) in table {
            let (_shim, api) = container_in(status, name).await;
            // All of these requests have the container as their first field, and nothing else that is needed.
            let (code, said) = refusal(api.call::<Empty>(method, state("a")).await);
            assert_eq!((code, said), (Code::FAILED_PRECONDITION, format!("container a: {words}")));
            assert_eq!(api.status().await, status, "a refusal changes nothing");
        }
    }
}

#[tokio::test]
async fn pause_update_stats_resize_and_close_are_answered_under_both_names() {
    for name in NAMES {
        let (_shim, api) = container_in(Status::RUNNING, name).await;
        api.done("Pause", support::pause("a")).await;
        assert_eq!(api.status().await, Status::PAUSED);
        api.done("Resume", support::resume("a")).await;
        assert_eq!(api.status().await, Status::RUNNING);
        for _ in 0..3 {
            api.done("Update", support::update("a", json!({ "cpu": { "shares": 2048 } }))).await;
        }
        let stats: StatsResponse = api.call("Stats", support::stats("a")).await.unwrap();
        assert!(stats.stats.type_url.starts_with("io.containerd.cgroups.v"), "{}", stats.stats.type_url);
        api.done("ResizePty", ResizePtyRequest { id: "a".into(), width: 80, ..Default::default() }).await;
        api.done("CloseIO", CloseIORequest { id: "a".into(), stdin: true, ..Default::default() }).await;
        let (code, said) = refusal(api.call::<Empty>("Checkpoint", support::checkpoint("a")).await);
        assert_eq!(code, Code::UNIMPLEMENTED, "{said}");
    }
}

#[tokio::test]
async fn delete_frees_everything_once_and_a_container_that_never_ran_was_killed() {
    for (name, status) in
        NAMES.into_iter().flat_map(|name| [(name, Status::CREATED), (name, Status::STOPPED)])
    {
        let (shim, api) = container_in(status, name).await;
        let wait = tokio::spawn({
            let task = shim.task.clone();
            async move { task.wait(support::soon(), &support::wait("a")).await }
        });
        // The Wait is there before the Delete is.
        api.call::<StatsResponse>("Stats", support::stats("a")).await.unwrap();
        let deleted: DeleteResponse = api.call("Delete", support::delete("a")).await.unwrap();
        assert_eq!((deleted.exit_status, deleted.exited_at.is_some()), (137, true), "{status:?}");
        assert_eq!(wait.await.unwrap().unwrap().exit_status, 137, "{status:?}");
        assert!(is_empty(&shim.dir.path().join("state")));
        let (code, _) = refusal(api.call::<DeleteResponse>("Delete", support::delete("a")).await);
        assert_eq!(code, Code::NOT_FOUND);
    }
}

#[tokio::test]
async fn shutdown_ends_a_shim_without_containers_and_no_other() {
    for name in NAMES {
        let (shim, api) = container_in(Status::STOPPED, name).await;
        api.done("Shutdown", support::shutdown("a")).await;
        assert_eq!(api.status().await, Status::STOPPED, "a container is left");
        api.call::<DeleteResponse>("Delete", support::delete("a")).await.unwrap();
        api.done("Shutdown", support::shutdown("a")).await;
        tokio::time::timeout(SOON, shim.shared.idle()).await.unwrap();
    }
}
