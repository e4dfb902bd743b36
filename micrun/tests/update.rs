//! Update: what the engine asks for, applied to a living guest, all of it or nothing.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use containerd_shim_protos::ttrpc::{self, Code};
use micrun::pedestal::{Capabilities, ExitNotice, Live};
use micrun::resources::{Change, Weight};
use micrun_image_spec::units::Mib;
use serde_json::json;
use support::echo::{Echo, Script};
use support::{Shim, refusal, soon};

const ALL: Live = Live { cpu: true, memory: true };

fn guests(live: Live, refuse_change: Option<Change>) -> Echo {
    let can = Capabilities { ask: false, force: true, pause: false, live, exit: ExitNotice::Event };
    Echo::with(Script { can, refuse_change, ..Script::default() })
}

async fn update(shim: &Shim, resources: serde_json::Value) -> ttrpc::Result<()> {
    shim.task.update(soon(), &support::update("a", resources)).await.map(drop)
}

#[tokio::test]
async fn what_is_asked_for_is_applied_once() {
    let echo = guests(ALL, None);
    let shim = Shim::start(echo.clone()).await;
    shim.run("a").await;
    let asked = json!({ "cpu": { "shares": 2048, "cpus": "2" }, "memory": { "limit": 100 << 20 } });
    update(&shim, asked.clone()).await.unwrap();
    let expected = [
        Change::MaxMemory(Mib(100)),
        Change::Memory(Mib(100)),
        Change::Cpus("2".parse().unwrap()),
        Change::Weight(Weight::of_guest(512)),
    ];
    assert_eq!(echo.daemon.changes("test/a"), expected);
    // kubelet's CPU manager repeats itself every ten seconds.
    update(&shim, asked).await.unwrap();
    update(&shim, json!({ "cpu": { "cpus": "2" } })).await.unwrap();
    assert_eq!(echo.daemon.changes("test/a"), expected);
}

#[tokio::test]
async fn a_change_that_fails_undoes_those_before_it() {
    let echo = guests(ALL, Some(Change::Weight(Weight::of_guest(512))));
    let shim = Shim::start(echo.clone()).await;
    shim.run("a").await;
    let asked = json!({ "cpu": { "shares": 2048, "cpus": "1" } });
    let said = update(&shim, asked).await.unwrap_err().to_string();
    assert!(said.contains("not this"), "{said}");
    let cores = |text: &str| Change::Cpus(text.parse().unwrap());
    assert_eq!(echo.daemon.changes("test/a"), [cores("1"), cores("0-3")]);
    // As before: the same update is tried again, and another one starts from what the guest has.
    update(&shim, json!({ "cpu": { "cpus": "0-3" } })).await.unwrap();
    assert_eq!(echo.daemon.changes("test/a").len(), 2);
}

#[tokio::test]
async fn what_the_pedestal_cannot_change_is_refused_and_the_rest_not_begun() {
    let echo = guests(Live { cpu: true, memory: false }, None);
    let shim = Shim::start(echo.clone()).await;
    shim.run("a").await;
    let asked = json!({ "cpu": { "shares": 2048 }, "memory": { "limit": 100 << 20 } });
    assert_eq!(refusal(update(&shim, asked).await).0, Code::UNIMPLEMENTED);
    assert_eq!(echo.daemon.changes("test/a"), []);
    update(&shim, json!({})).await.unwrap();
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let shim = Shim::start(guests(ALL, None)).await;
    shim.run("a").await;
    for asked in [json!({ "cpu": { "cpus": "7-9" } }), json!({ "cpu": { "cpus": "x" } }), json!([1])] {
        assert_eq!(refusal(update(&shim, asked).await).0, Code::INVALID_ARGUMENT);
    }
}

#[tokio::test]
async fn a_console_that_comes_with_the_start_is_connected_then() {
    let shim = Shim::start(Echo::with(Script { late_console: true, ..Script::default() })).await;
    let output = shim.dir.path().join("output");
    let bundle = shim.bundle("a");
    let request = containerd_shim_protos::api::CreateTaskRequest {
        bundle: bundle.text(),
        stdout: format!("file://{}", output.display()),
        ..support::create_request("a")
    };
    shim.task.create(soon(), &request).await.unwrap();
    shim.task.start(soon(), &support::start("a")).await.unwrap();
    let limit = std::time::Instant::now() + support::SOON;
    while !std::fs::read_to_string(&output).is_ok_and(|text| text.contains("echo ready")) {
        assert!(std::time::Instant::now() < limit, "nothing was said");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
