//! What is typed, and its end.

use std::io::Write;
use std::time::Instant;

use containerd_shim_protos::api::CloseIORequest;

use crate::client::{Client, run};
use crate::support::echo::{Echo, Script};
use crate::support::{self, SOON, Shim, soon};

fn close_stdin() -> CloseIORequest {
    CloseIORequest { id: "a".into(), stdin: true, ..Default::default() }
}

/// More input than the shim holds, then its end: all of it reaches the guest, however slow that is.
#[tokio::test]
async fn closing_the_input_loses_nothing_of_it() {
    const SIZE: usize = 300_000;
    for terminal in [false, true] {
        let shim = Shim::start(Echo::default()).await;
        let mut client = Client::new(shim.dir.path());
        run(&shim, &client, terminal).await;
        client.expect("echo ready").await;
        let mut sent = 0;
        let mut echoed = 0;
        let deadline = Instant::now() + SOON;
        while echoed < SIZE {
            assert!(Instant::now() < deadline, "{echoed} of {sent} bytes came back");
            if sent < SIZE {
                sent += client.stdin.write(&[b'x'; 4096]).unwrap_or(0);
                if sent >= SIZE {
                    shim.task.close_io(soon(), &close_stdin()).await.unwrap();
                }
            }
            echoed += client.read_some().matches('x').count();
            tokio::task::yield_now().await;
        }
    }
}

/// `echo words | ctr run`: all of it is there, and closed, before the guest runs.
#[tokio::test]
async fn input_from_before_the_start_is_for_the_guest() {
    let late_console = Script { late_console: true, ..Script::default() };
    let shim = Shim::start(Echo::with(late_console)).await;
    let mut client = Client::new(shim.dir.path());
    shim.task.create(soon(), &client.request(&shim, false)).await.unwrap();
    client.write(b"early words");
    shim.task.close_io(soon(), &close_stdin()).await.unwrap();
    shim.task.close_io(soon(), &close_stdin()).await.unwrap();
    shim.task.start(soon(), &support::start("a")).await.unwrap();
    client.expect("early words").await;
}

/// Only CloseIO ends the input. Nothing reads it afterwards, and the guest runs on.
#[tokio::test]
async fn what_is_typed_after_the_end_goes_nowhere() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.replace();
    client.write(b"first");
    client.expect("first").await;
    // Neither stdout nor nothing is stdin.
    shim.task.close_io(soon(), &CloseIORequest { stdin: false, ..close_stdin() }).await.unwrap();
    client.write(b"second");
    client.expect("second").await;
    shim.task.close_io(soon(), &close_stdin()).await.unwrap();
    client.write(b"third");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(client.read_some(), "");
    assert_eq!(crate::client::kill(&shim).await, 137);
}
