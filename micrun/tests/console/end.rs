//! How the streams end with the guest.

use std::io::Read;
use std::time::{Duration, Instant};

use containerd_shim_protos::ttrpc::context;
use micrun::pedestal::ExitCause;

use crate::client::{Client, run};
use crate::support::echo::{Echo, Script};
use crate::support::{self, SOON, Shim, soon};

#[tokio::test]
async fn the_streams_end_with_the_guest_and_a_reader_gets_everything() {
    let dies = Some((Duration::from_millis(50), ExitCause::PoweredOff));
    let shim = Shim::start(Echo::with(Script { dies, ..Script::default() })).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    let mut all = Vec::new();
    client.stdout.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"echo ready\r\n");
}

#[tokio::test]
async fn a_reader_that_is_gone_holds_no_delete_up() {
    let shim = Shim::start(Echo::default()).await;
    let client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    drop(client);
    shim.task.kill(soon(), &support::kill("a", 9)).await.unwrap();
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    let begin = Instant::now();
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "nothing to wait for");
}

#[tokio::test]
async fn a_delete_that_nobody_waits_for_is_finished() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.expect("echo ready").await;
    // A live reader that does not read: the end of the output is waited for, 2 s at most.
    client.flood(200_000).await;
    let deadline = Instant::now() + SOON;
    shim.task.kill(soon(), &support::kill("a", 9)).await.unwrap();
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    let impatient = context::with_duration(Duration::from_millis(100));
    assert!(shim.task.delete(impatient, &support::delete("a")).await.is_err());
    while shim.state("a").await.is_ok() {
        assert!(Instant::now() < deadline, "the id is never free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shim.create("a", &shim.bundle("a")).await.unwrap();
}
