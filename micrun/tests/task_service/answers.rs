//! What is answered where there is nothing to be done: codes, and sentences.

use containerd_shim_protos::api::{ConnectRequest, ExecProcessRequest, KillRequest, Status};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::Code;

use crate::support::echo::Echo;
use crate::support::{self, Shim, kill, refusal, soon, start};

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
