//! Containers that end by themselves when their time is over. The clock is tokio's own and leaps over every wait, so the
//! container is used directly: sockets have deadlines that it would leap over, too.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use micrun::config::NodeConfig;
use micrun::console::{Loggers, Stdio};
use micrun::container::Container;
use micrun::container::create::{Context, CreateRequest};
use micrun::container::events::Events;
use micrun::container::state::Status;
use micrun::id::{Id, Key};
use micrun::pedestal::{Capabilities, Node};
use micrun::store::Store;
use micrun_image_spec::board::Boards;
use support::Bundle;
use support::echo::{Echo, Script};
use tokio::time::Instant;

/// A guest that is started, and the time that it may run.
async fn started(script: Script, time: &str) -> (tempfile::TempDir, Container) {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let (events, _) = Events::queue();
    let context = Context {
        drivers: vec![Arc::new(Echo::with(script))],
        node: Ok(Node::new(Boards::builtin(), [])),
        config: Ok(NodeConfig::default()),
        store: Store::at(dir.path().join("state")),
        events,
        loggers: Loggers::default(),
    };
    let bundle = Bundle::new(dir.path().join("bundle"));
    let prefix = "org.openeuler.micrun.container.auto_close";
    bundle.annotate(&[(prefix, "true"), (&format!("{prefix}_timeout"), time)]);
    let key = Key { namespace: Id::new("test").unwrap(), id: Id::new("a").unwrap() };
    let request = CreateRequest {
        key,
        bundle: bundle.path,
        is_sandbox: false,
        network: None,
        mounts: Vec::new(),
        stdio: Stdio::default(),
    };
    let container = context.create(request).await.unwrap();
    container.start().await.unwrap();
    (dir, container)
}

const LISTENS: Capabilities = Capabilities {
    ask: true,
    force: true,
    pause: true,
    live: micrun::pedestal::Live::NOTHING,
    exit: micrun::pedestal::ExitNotice::Event,
};

#[tokio::test(start_paused = true)]
async fn a_guest_whose_time_is_over_ends_as_by_sigterm() {
    let (_dir, container) = started(Script::default(), "5m").await;
    let begin = Instant::now();
    assert_eq!(container.wait().await.unwrap().status, 143);
    assert_eq!(begin.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_not_follow_is_forced_ten_seconds_later() {
    let (_dir, container) = started(Script { can: LISTENS, obeys: false, ..Script::default() }, "60").await;
    let begin = Instant::now();
    assert_eq!(container.wait().await.unwrap().status, 143);
    assert_eq!(begin.elapsed().as_secs(), 70);
}

#[tokio::test(start_paused = true)]
async fn time_goes_on_while_a_guest_is_paused() {
    let (_dir, container) = started(Script { can: LISTENS, ..Script::default() }, "60").await;
    let begin = Instant::now();
    tokio::time::sleep(Duration::from_secs(20)).await;
    container.pause().await.unwrap();
    assert_eq!(container.wait().await.unwrap().status, 143);
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn without_a_time_a_guest_runs_on() {
    let (_dir, container) = started(Script::default(), "0").await;
    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
    assert_eq!(container.snapshot().status, Status::Running);
    container.kill(9).await.unwrap();
    assert_eq!(container.wait().await.unwrap().status, 137);
}
