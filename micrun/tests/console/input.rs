//! What is typed, and its end.

use std::io::Write;
use std::time::{Duration, Instant};

use containerd_shim_protos::api::CloseIORequest;
use micrun::pedestal::Node;
use micrun_image_spec::board::Boards;

use crate::client::{Client, run, run_request};
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
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.read_some(), "");
    assert_eq!(crate::client::kill(&shim).await, 137);
}

/// A shell that reads slowly is typed at slowly, and still gets everything.
#[tokio::test]
async fn nothing_is_typed_faster_than_the_guests_system_reads() {
    let profiles = tempfile::tempdir().unwrap();
    let profile = "name: slow\ndescription: a shell that polls\ninput: { bytes: 2, interval_ms: 20 }\n";
    std::fs::write(profiles.path().join("slow.yaml"), profile).unwrap();
    let mut node = Node::new(Boards::builtin(), []);
    node.os_dir = profiles.path().to_owned();
    let shim = Shim::on(node, Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    let request = client.request(&shim, true);
    shim.bundle("a").annotate(&[("org.openeuler.micrun.container.os", "slow")]);
    run_request(&shim, &request).await;
    client.expect("echo ready").await;
    let begin = Instant::now();
    client.write(b"0123456789");
    client.expect("0123456789").await;
    // Five pairs with four pauses between them.
    assert!(begin.elapsed() >= Duration::from_millis(80), "it took {:?}", begin.elapsed());
    // What waits to be typed holds no Ctrl-C up.
    client.write(&[b'x'; 10_000]);
    client.write(b"\x03");
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 130);
}
