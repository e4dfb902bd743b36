//! The console over real FIFOs, as engines set them up.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::{CloseIORequest, CreateTaskRequest};
use containerd_shim_protos::ttrpc::context;
use micrun::pedestal::ExitCause;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::echo::{Echo, Script};
use support::{SOON, Shim, create_request, soon, start};

const NONBLOCK: i32 = 0o4000;

/// The FIFOs of a container and the client's ends of them.
struct Client {
    stdin: File,
    stdout: File,
    paths: [PathBuf; 2],
}

impl Client {
    fn new(dir: &Path) -> Client {
        let paths = ["stdin", "stdout"].map(|name| dir.join(name));
        for path in &paths {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        Client::open(paths)
    }

    fn open(paths: [PathBuf; 2]) -> Client {
        let stdout = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(&paths[1]).unwrap();
        let stdin = OpenOptions::new().read(true).write(true).custom_flags(NONBLOCK).open(&paths[0]).unwrap();
        Client { stdin, stdout, paths }
    }

    fn request(&self, shim: &Shim, terminal: bool) -> CreateTaskRequest {
        CreateTaskRequest {
            bundle: shim.bundle("a").text(),
            stdin: self.paths[0].display().to_string(),
            stdout: self.paths[1].display().to_string(),
            terminal,
            ..create_request("a")
        }
    }

    /// Reads until the text is there.
    async fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut seen = String::new();
        while !seen.contains(text) {
            assert!(Instant::now() < deadline, "{text:?} did not come, but {seen:?}");
            seen.push_str(&self.read_some());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen
    }

    fn read_some(&mut self) -> String {
        let mut buffer = [0; 4096];
        match self.stdout.read(&mut buffer) {
            Ok(length) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
            Err(_) => String::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        std::io::Write::write_all(&mut self.stdin, bytes).unwrap();
    }
}

async fn run(shim: &Shim, client: &Client, terminal: bool) {
    shim.task.create(soon(), &client.request(shim, terminal)).await.unwrap();
    shim.task.start(soon(), &start("a")).await.unwrap();
}

#[tokio::test]
async fn what_is_typed_reaches_the_guest_and_its_answer_the_client() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.expect("echo ready").await;
    client.write(b"hello\n");
    client.expect("hello").await;
}

#[tokio::test]
async fn ctrl_c_stops_the_guest_on_a_terminal_and_is_data_in_a_pipe() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, true).await;
    client.expect("echo ready").await;
    client.write(b"\x03");
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 130);

    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.write(b"a\x03b");
    client.expect("a\x03b").await;
}

#[tokio::test]
async fn clients_come_and_go() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.expect("echo ready").await;
    for round in ["first", "second", "third"] {
        let paths = client.paths.clone();
        drop(client);
        client = Client::open(paths);
        client.write(round.as_bytes());
        client.expect(round).await;
    }
}

#[tokio::test]
async fn an_absent_reader_stalls_nobody_and_is_told_what_it_missed() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.expect("echo ready").await;
    // More than the FIFO and the ring hold, typed and echoed while nobody reads.
    let chunk = vec![b'x'; 32 * 1024];
    let deadline = Instant::now() + SOON;
    let mut typed = 0;
    while typed < 40 * chunk.len() {
        assert!(Instant::now() < deadline, "the guest stalled after {typed} bytes");
        match std::io::Write::write(&mut client.stdin, &chunk) {
            Ok(length) => typed += length,
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
    client.expect("bytes of output lost").await;
}

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

/// More input than the shim holds, then its end: all of it reaches the guest, however slow that is.
#[tokio::test]
async fn closing_the_input_loses_nothing_of_it() {
    const SIZE: usize = 300_000;
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.expect("echo ready").await;
    let mut sent = 0;
    let mut echoed = 0;
    let deadline = Instant::now() + SOON;
    while echoed < SIZE {
        assert!(Instant::now() < deadline, "{echoed} of {sent} bytes came back");
        if sent < SIZE {
            sent += std::io::Write::write(&mut client.stdin, &[b'x'; 4096]).unwrap_or(0);
            if sent >= SIZE {
                let close = CloseIORequest { id: "a".into(), stdin: true, ..Default::default() };
                shim.task.close_io(soon(), &close).await.unwrap();
            }
        }
        echoed += client.read_some().matches('x').count();
        tokio::task::yield_now().await;
    }
}

/// A Delete whose deadline passes is carried out all the same, and the id is free afterwards.
#[tokio::test]
async fn a_delete_that_nobody_waits_for_is_finished() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, false).await;
    client.expect("echo ready").await;
    // A live reader that does not read: the end of the output is waited for, 2 s at most.
    let mut typed = 0;
    let deadline = Instant::now() + SOON;
    while typed < 200_000 {
        assert!(Instant::now() < deadline);
        match std::io::Write::write(&mut client.stdin, &[b'x'; 4096]) {
            Ok(length) => typed += length,
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
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
