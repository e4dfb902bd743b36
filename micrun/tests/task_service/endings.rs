//! How containers end, and who is told.

use containerd_shim_protos::api::Status;
use containerd_shim_protos::ttrpc::Code;
use micrun::pedestal::ExitCause;

use crate::dying;
use crate::support::echo::Echo;
use crate::support::{self, Shim, kill, refusal, soon};

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
