//! The Task service as containerd speaks to it: over ttrpc, with the echo pedestal below.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::fs;
use std::time::Duration;

use containerd_shim_protos::api::{
    CloseIORequest, ConnectRequest, CreateTaskRequest, ExecProcessRequest, KillRequest, StateResponse, Status,
};
use containerd_shim_protos::events::task::{TaskCreate, TaskExit};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::{Code, Request, context};
use micrun::pedestal::{Capabilities, ExitCause};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::echo::{Echo, Script};
use support::{SOON, Shim, create_request, is_empty, kill, refusal, soon, start};

fn dying(cause: ExitCause) -> Echo {
    Echo::with(Script { dies: Some((Duration::from_millis(20), cause)), ..Script::default() })
}

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
async fn an_unknown_id_is_not_found_whatever_is_asked() {
    let shim = Shim::start(Echo::default()).await;
    let task = &shim.task;
    let not_found = [
        refusal(shim.state("x").await),
        refusal(task.start(soon(), &start("x")).await),
        refusal(task.kill(soon(), &kill("x", 9)).await),
        refusal(task.wait(soon(), &support::wait("x")).await),
        refusal(task.delete(soon(), &support::delete("x")).await),
        refusal(task.pids(soon(), &support::pids("x")).await),
        refusal(task.connect(soon(), &support::connect("x")).await),
        refusal(task.stats(soon(), &support::stats("x")).await),
        refusal(task.pause(soon(), &support::pause("x")).await),
        refusal(task.resume(soon(), &support::resume("x")).await),
        refusal(task.update(soon(), &support::update("x", serde_json::json!({}))).await),
        refusal(task.checkpoint(soon(), &support::checkpoint("x")).await),
        refusal(task.connect(soon(), &ConnectRequest { id: "../x".into(), ..Default::default() }).await),
    ];
    for (code, text) in not_found {
        assert_eq!(code, Code::NOT_FOUND, "{text}");
        assert!(text.contains("x not found"), "{text}");
    }
}

#[tokio::test]
async fn an_unknown_exec_id_is_not_found() {
    let shim = Shim::start(Echo::default()).await;
    shim.run("a").await;
    let request = KillRequest { exec_id: "e".into(), ..kill("a", 9) };
    assert_eq!(refusal(shim.task.kill(soon(), &request).await).0, Code::NOT_FOUND);
    assert_eq!(shim.state("a").await.unwrap().status, Status::RUNNING.into(), "the container was not meant");
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
async fn a_wrong_state_is_a_failed_precondition_that_names_it() {
    let shim = Shim::start(Echo::default()).await;
    shim.create("a", &shim.bundle("a")).await.unwrap();
    let (code, text) = refusal(shim.task.pause(soon(), &support::pause("a")).await);
    assert_eq!(
        (code, text.as_str()),
        (Code::FAILED_PRECONDITION, "container a: cannot pause task in created state")
    );

    shim.task.start(soon(), &start("a")).await.unwrap();
    for (code, text) in [
        refusal(shim.task.start(soon(), &start("a")).await),
        refusal(shim.task.delete(soon(), &support::delete("a")).await),
        refusal(shim.task.resume(soon(), &support::resume("a")).await),
    ] {
        assert_eq!(code, Code::FAILED_PRECONDITION, "{text}");
        assert!(text.contains("running"), "{text}");
    }
}

#[tokio::test]
async fn a_kill_after_the_exit_and_a_second_delete_are_not_found() {
    let shim = Shim::start(dying(ExitCause::PoweredOff)).await;
    shim.run("a").await;
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 0);
    let (code, text) = refusal(shim.task.kill(soon(), &kill("a", 9)).await);
    assert_eq!(code, Code::NOT_FOUND);
    assert!(text.contains("process already finished"), "{text}");
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    assert_eq!(refusal(shim.task.delete(soon(), &support::delete("a")).await).0, Code::NOT_FOUND);
}

#[tokio::test]
async fn the_status_tells_how_the_guest_ended() {
    for (cause, status) in [
        (ExitCause::PoweredOff, 0),
        (ExitCause::Code(7), 7),
        (ExitCause::Reset, 255),
        (ExitCause::Crashed("a fault".into()), 255),
        (ExitCause::Failed("no pedestal".into()), 255),
    ] {
        let shim = Shim::start(dying(cause.clone())).await;
        shim.run("a").await;
        let exit = shim.task.wait(soon(), &support::wait("a")).await.unwrap();
        assert_eq!(exit.exit_status, status, "{cause:?}");
    }
}

#[tokio::test]
async fn signals_that_end_nothing_end_nothing() {
    let shim = Shim::start(Echo::default()).await;
    shim.run("a").await;
    for signal in [0, 17, 18, 23, 28] {
        shim.task.kill(soon(), &kill("a", signal)).await.unwrap();
    }
    assert_eq!(shim.state("a").await.unwrap().status, Status::RUNNING.into());
    assert_eq!(refusal(shim.task.kill(soon(), &kill("a", 65)).await).0, Code::INVALID_ARGUMENT);
    shim.task.kill(soon(), &kill("a", 15)).await.unwrap();
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 143);
}

#[tokio::test]
async fn a_created_container_can_be_killed_and_can_be_deleted() {
    let shim = Shim::start(Echo::default()).await;
    shim.create("killed", &shim.bundle("killed")).await.unwrap();
    shim.task.kill(soon(), &kill("killed", 9)).await.unwrap();
    assert_eq!(shim.task.wait(soon(), &support::wait("killed")).await.unwrap().exit_status, 137);
    shim.create("deleted", &shim.bundle("deleted")).await.unwrap();
    shim.task.delete(soon(), &support::delete("deleted")).await.unwrap();
    assert!(!shim.state_dir("deleted").exists());
}

#[tokio::test]
async fn what_a_guest_cannot_do_is_unimplemented_with_a_sentence() {
    let shim = Shim::start(Echo::default()).await;
    shim.run("a").await;
    let exec = ExecProcessRequest { id: "a".into(), exec_id: "e".into(), ..Default::default() };
    for (code, text) in [
        refusal(shim.task.exec(soon(), &exec).await),
        refusal(
            shim.task
                .update(soon(), &support::update("a", serde_json::json!({ "cpu": { "shares": 2048 } })))
                .await,
        ),
        refusal(shim.task.checkpoint(soon(), &support::checkpoint("a")).await),
        refusal(shim.task.pause(soon(), &support::pause("a")).await),
    ] {
        assert_eq!(code, Code::UNIMPLEMENTED, "{text}");
        assert!(text.starts_with("container a: ") && text.len() > 40, "{text}");
    }
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

#[tokio::test]
async fn stats_come_in_the_message_of_the_hosts_cgroup_mode() {
    let shim = Shim::start(Echo::default()).await;
    shim.run("a").await;
    let stats = shim.task.stats(soon(), &support::stats("a")).await.unwrap().stats.unwrap();
    let cpu_ms = match stats.type_url.as_str() {
        "io.containerd.cgroups.v1.Metrics" => {
            let metrics =
                containerd_shim_protos::cgroups::metrics::Metrics::parse_from_bytes(&stats.value).unwrap();
            metrics.cpu.usage.total / 1_000_000
        }
        "io.containerd.cgroups.v2.Metrics" => {
            let metrics =
                containerd_shim_protos::cgroups_v2::metrics::Metrics::parse_from_bytes(&stats.value).unwrap();
            metrics.cpu.usage_usec / 1000
        }
        other => panic!("{other}"),
    };
    assert_eq!(cpu_ms, 10);
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
async fn events_wait_for_a_containerd_that_is_away_and_keep_their_order() {
    let mut shim = Shim::start(dying(ExitCause::PoweredOff)).await;
    shim.containerd.go_away().await;
    shim.run("a").await;
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    assert!(shim.containerd.topics().is_empty());
    shim.containerd.come_back().await;
    let topics = shim.containerd.wait_for(4).await;
    assert_eq!(topics, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
}

#[tokio::test]
async fn an_image_that_cannot_run_is_refused_in_one_sentence_and_leaves_nothing() {
    let shim = Shim::start(Echo::default()).await;
    let outside = ("org.openeuler.micrun.container.firmware_path", "/../etc/passwd");
    let no_file = ("org.openeuler.micrun.container.firmware_path", "/none.elf");
    let zeros = format!("sha256:{}", "0".repeat(64));
    let wrong_hash = ("org.openeuler.micrun.container.firmware_hash", zeros.as_str());
    let no_pedestal = ("org.openeuler.micrun.ped.pedestal", "xen");
    for (annotation, said) in [
        (outside, "firmware_path"),
        (no_file, "/none.elf"),
        (wrong_hash, "/firmware.elf in the image is sha256:"),
        (no_pedestal, "pedestal xen"),
    ] {
        let bundle = shim.bundle("bad");
        bundle.annotate(&[annotation]);
        let (code, text) = refusal(shim.create("bad", &bundle).await);
        assert!(matches!(code, Code::INVALID_ARGUMENT | Code::FAILED_PRECONDITION), "{code:?} {text}");
        assert!(text.contains("bad") && text.contains(said) && text.contains(';'), "{text}");
        assert!(!text.contains('\n'), "{text}");
        assert!(is_empty(&shim.dir.path().join("state")));
        assert_eq!(refusal(shim.state("bad").await).0, Code::NOT_FOUND);
    }
    assert!(shim.containerd.topics().is_empty(), "nobody is told of what never was");
}

#[tokio::test]
async fn an_image_without_client_conf_is_no_image_of_ours() {
    let shim = Shim::start(Echo::default()).await;
    let bundle = shim.bundle("bad");
    fs::remove_file(bundle.rootfs().join("client.conf")).unwrap();
    let (code, text) = refusal(shim.create("bad", &bundle).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(text.contains("/client.conf") && text.contains("micrun-image-builder"), "{text}");
    assert!(is_empty(&shim.dir.path().join("state")));
}

#[tokio::test]
async fn links_of_the_image_stay_in_the_image_and_special_files_are_refused() {
    let shim = Shim::start(Echo::default()).await;
    let bundle = shim.bundle("a");
    let firmware = bundle.rootfs().join("firmware.elf");
    fs::remove_file(&firmware).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &firmware).unwrap();
    let (_, text) = refusal(shim.create("a", &bundle).await);
    assert!(text.contains("the image has no /firmware.elf"), "the image's /etc is meant: {text}");

    for special in [FileType::Directory, FileType::Fifo, FileType::Socket] {
        fs::remove_file(&firmware).or_else(|_| fs::remove_dir(&firmware)).unwrap();
        match special {
            FileType::Directory => fs::create_dir(&firmware).unwrap(),
            _ => mknodat(CWD, &firmware, special, Mode::RUSR, 0).unwrap(),
        }
        let (_, text) = refusal(shim.create("a", &bundle).await);
        assert!(text.contains("not a plain file"), "{special:?}: {text}");
    }
}

#[tokio::test]
async fn a_firmware_that_would_fill_the_nodes_memory_is_refused() {
    let shim = Shim::start(Echo::default()).await;
    let bundle = shim.bundle("a");
    let firmware = fs::File::create(bundle.rootfs().join("firmware.elf")).unwrap();
    firmware.set_len(3 << 30).unwrap();
    let (code, text) = refusal(shim.create("a", &bundle).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(text.contains("3221225472 bytes"), "{text}");
    assert!(is_empty(&shim.dir.path().join("state")));
}

#[tokio::test]
async fn a_bundle_without_a_valid_config_json_is_refused() {
    let shim = Shim::start(Echo::default()).await;
    let bundle = shim.bundle("bad");
    let config = bundle.path.join("config.json");
    fs::remove_file(&config).unwrap();
    let missing = (None, Code::INTERNAL);
    let invalid = ["", "{", r#"{"root": 7}"#].map(|text| (Some(text), Code::INVALID_ARGUMENT));
    for (text, expected) in std::iter::once(missing).chain(invalid) {
        if let Some(text) = text {
            fs::write(&config, text).unwrap();
        }
        let (code, words) = refusal(shim.create("bad", &bundle).await);
        assert_eq!(code, expected, "{words}");
        assert!(words.contains("config.json"), "{words}");
    }
}

#[tokio::test]
async fn a_failure_half_way_is_undone() {
    for script in
        [Script { refuse_plan: true, ..Script::default() }, Script { fail_create: true, ..Script::default() }]
    {
        let echo = Echo::with(script);
        let shim = Shim::start(echo.clone()).await;
        let (_, text) = refusal(shim.create("a", &shim.bundle("a")).await);
        assert!(text.contains("container test/a: "), "{text}");
        assert!(echo.daemon.guests().is_empty() && is_empty(&shim.dir.path().join("state")));
    }
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_refused_and_the_guest_undone() {
    let echo = Echo::default();
    let shim = Shim::start(echo.clone()).await;
    let fifo = shim.dir.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let log_on_a_fifo = format!("file://{}", fifo.display());
    for stdout in ["/nowhere/fifo", "binary:///usr/bin/logger", "relative", &log_on_a_fifo] {
        let request = CreateTaskRequest {
            bundle: shim.bundle("a").text(),
            stdout: stdout.to_owned(),
            ..create_request("a")
        };
        let (code, text) = refusal(shim.task.create(soon(), &request).await);
        assert_eq!(code, Code::FAILED_PRECONDITION, "{text}");
        assert!(text.contains(stdout), "{text}");
        assert!(echo.daemon.guests().is_empty() && is_empty(&shim.dir.path().join("state")));
    }
}

#[tokio::test]
async fn output_goes_to_a_file_and_is_complete_at_the_exit() {
    let shim = Shim::start(dying(ExitCause::PoweredOff)).await;
    let log = shim.dir.path().join("a folder/log.txt");
    let request = CreateTaskRequest {
        bundle: shim.bundle("a").text(),
        stdout: format!("file://{}", log.display()).replace(' ', "%20"),
        ..create_request("a")
    };
    shim.task.create(soon(), &request).await.unwrap();
    shim.task.start(soon(), &start("a")).await.unwrap();
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "echo ready\r\n");
    let created: TaskCreate = shim.containerd.event("/tasks/create");
    assert_eq!(created.io.stdout, request.stdout);
}

#[tokio::test]
async fn close_io_and_resize_are_taken_without_complaint() {
    let shim = Shim::start(Echo::default()).await;
    shim.run("a").await;
    let close = CloseIORequest { id: "a".into(), stdin: true, ..Default::default() };
    shim.task.close_io(soon(), &close).await.unwrap();
    let resize = containerd_shim_protos::api::ResizePtyRequest { id: "a".into(), ..Default::default() };
    shim.task.resize_pty(soon(), &resize).await.unwrap();
}
