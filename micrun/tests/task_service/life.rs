//! From Create to Delete, alone and at once; and when a shim may end.

use std::time::Duration;

use containerd_shim_protos::api::{CreateTaskRequest, StateResponse, Status};
use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::{Code, Request, context};
use micrun::pedestal::Capabilities;

use crate::support::echo::{Echo, Script};
use crate::support::{self, SOON, Shim, create_request, is_empty, kill, refusal, soon, start};

#[tokio::test]
async fn a_life_from_create_to_delete() {
    let shim = Shim::start(Echo::default()).await;
    let pid = shim.create("a", &shim.bundle("a")).await.unwrap();
    assert_eq!(pid, std::process::id(), "a guest without a process is represented by its shim");
    assert_eq!(shim.state("a").await.unwrap().status, Status::CREATED.into());

    assert_eq!(shim.task.start(soon(), &start("a")).await.unwrap().pid, pid);
    assert_eq!(shim.state("a").await.unwrap().status, Status::RUNNING.into());
    assert_eq!(shim.task.pids(soon(), &support::pids("a")).await.unwrap().processes[0].pid, pid);
    assert_eq!(shim.task.connect(soon(), &support::connect("a")).await.unwrap().task_pid, pid);

    shim.task.kill(soon(), &kill("a", 9)).await.unwrap();
    let exit = shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    assert_eq!(exit.exit_status, 137);
    let state = shim.state("a").await.unwrap();
    assert_eq!(
        (state.status, state.exit_status, state.exited_at),
        (Status::STOPPED.into(), 137, exit.exited_at)
    );

    assert_eq!(shim.task.delete(soon(), &support::delete("a")).await.unwrap().exit_status, 137);
    assert!(is_empty(&shim.dir.path().join("state")), "nothing is left on disk");
    let topics = shim.containerd.wait_for(4).await;
    assert_eq!(topics, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
    let exited: TaskExit = shim.containerd.event("/tasks/exit");
    assert_eq!((exited.id, exited.container_id, exited.exit_status), ("a".into(), "a".into(), 137));
}

#[tokio::test]
async fn both_names_of_the_api_lead_to_the_same_containers() {
    let shim = Shim::start(Echo::default()).await;
    shim.create("a", &shim.bundle("a")).await.unwrap();
    for service in ["containerd.task.v2.Task", "containerd.task.v3.Task"] {
        let request = Request {
            service: service.to_owned(),
            method: "State".to_owned(),
            payload: containerd_shim_protos::api::StateRequest { id: "a".into(), ..Default::default() }
                .write_to_bytes()
                .unwrap(),
            ..Default::default()
        };
        let reply = shim.client.request(request).await.unwrap();
        assert_eq!(StateResponse::parse_from_bytes(&reply.payload).unwrap().id, "a", "{service}");
    }
}

#[tokio::test]
async fn a_taken_id_is_refused_and_its_owner_unharmed() {
    let shim = Shim::start(Echo::default()).await;
    shim.run("a").await;
    assert_eq!(refusal(shim.create("a", &shim.bundle("a")).await).0, Code::ALREADY_EXISTS);
    assert_eq!(shim.state("a").await.unwrap().status, Status::RUNNING.into());
    assert!(shim.state_dir("a").join("state.json").exists());
}

#[tokio::test]
async fn two_creates_at_once_make_one_container() {
    let slow = Script { create_takes: Duration::from_millis(100), ..Script::default() };
    let shim = Shim::start(Echo::with(slow)).await;
    let bundle = shim.bundle("a");
    let (first, second) = tokio::join!(shim.create("a", &bundle), shim.create("a", &bundle));
    assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|ok| **ok).count(), 1);
    assert_eq!(shim.state("a").await.unwrap().status, Status::CREATED.into());
}

#[tokio::test]
async fn a_delete_during_create_waits_for_it() {
    let slow = Script { create_takes: Duration::from_millis(200), ..Script::default() };
    let echo = Echo::with(slow);
    let shim = Shim::start(echo.clone()).await;
    let (bundle, delete) = (shim.bundle("a"), support::delete("a"));
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        shim.task.delete(soon(), &delete).await
    };
    let (created, deleted) = tokio::join!(shim.create("a", &bundle), late);
    created.unwrap();
    deleted.unwrap();
    assert!(echo.daemon.guests().is_empty() && is_empty(&shim.dir.path().join("state")));
}

#[tokio::test]
async fn a_state_that_is_asked_for_during_create_comes_with_its_end() {
    let slow = Script { create_takes: Duration::from_millis(200), ..Script::default() };
    let shim = Shim::start(Echo::with(slow)).await;
    let bundle = shim.bundle("a");
    let look = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        shim.state("a").await.unwrap().status.enum_value()
    };
    let (created, status) = tokio::join!(shim.create("a", &bundle), look);
    created.unwrap();
    assert_eq!(status, Ok(Status::CREATED));
}

#[tokio::test]
async fn a_client_that_hangs_up_during_a_create_that_fails_leaves_no_shim() {
    let script = Script { create_takes: Duration::from_millis(200), fail_create: true, ..Script::default() };
    let shim = Shim::start(Echo::with(script)).await;
    let bundle = shim.bundle("a");
    let request = CreateTaskRequest { bundle: bundle.text(), ..create_request("a") };
    let hung_up = shim.task.create(context::with_duration(Duration::from_millis(50)), &request).await;
    assert!(hung_up.is_err());
    shim.task.shutdown(soon(), &support::shutdown("a")).await.unwrap();
    tokio::time::timeout(SOON, shim.shared.idle()).await.unwrap();
    let (code, _) = refusal(shim.create("b", &shim.bundle("b")).await);
    assert_eq!(code, Code::UNAVAILABLE, "a shim on its way out takes no container");
}

#[tokio::test]
async fn a_shim_that_nobody_asks_for_a_container_may_end() {
    let shim = Shim::start(Echo::default()).await;
    shim.shared.end_if_unused();
    tokio::time::timeout(SOON, shim.shared.idle()).await.unwrap();

    let shim = Shim::start(Echo::default()).await;
    shim.run("a").await;
    shim.shared.end_if_unused();
    assert!(tokio::time::timeout(Duration::from_millis(50), shim.shared.idle()).await.is_err());
}

#[tokio::test]
async fn shutdown_waits_for_the_last_container() {
    let shim = Shim::start(Echo::default()).await;
    shim.create("a", &shim.bundle("a")).await.unwrap();
    shim.task.shutdown(soon(), &support::shutdown("a")).await.unwrap();
    let idle = tokio::time::timeout(Duration::from_millis(50), shim.shared.idle()).await;
    assert!(idle.is_err(), "a container is left");
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    shim.task.shutdown(soon(), &support::shutdown("a")).await.unwrap();
    tokio::time::timeout(SOON, shim.shared.idle()).await.unwrap();
}

#[tokio::test]
async fn pause_and_resume_where_the_pedestal_can() {
    let can = Capabilities { pause: true, ..Script::default().can };
    let shim = Shim::start(Echo::with(Script { can, ..Script::default() })).await;
    shim.run("a").await;
    shim.task.pause(soon(), &support::pause("a")).await.unwrap();
    assert_eq!(shim.state("a").await.unwrap().status, Status::PAUSED.into());
    shim.task.resume(soon(), &support::resume("a")).await.unwrap();
    assert_eq!(shim.state("a").await.unwrap().status, Status::RUNNING.into());
    let topics = shim.containerd.wait_for(4).await;
    assert_eq!(topics[2..], ["/tasks/paused", "/tasks/resumed"]);
}
