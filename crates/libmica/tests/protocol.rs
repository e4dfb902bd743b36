//! The client against a server that splits, hangs, dies and lies.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::io::Write as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::time::Duration;

use libmica::{ClientName, Create, Error, Key, Micad, Pedestal, Setting, State};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

fn guest() -> ClientName {
    ClientName::new("guest-a").unwrap()
}

fn message() -> Create {
    Create::new(guest(), "/lib/firmware/a.elf", Pedestal::Baremetal)
}

/// A directory with a micad's create socket and guest-a's, of which one is served.
struct Fake {
    directory: TempDir,
    _create: StdListener,
}

impl Fake {
    fn new() -> Fake {
        let directory = tempfile::tempdir().unwrap();
        let create = StdListener::bind(directory.path().join("mica-create.socket")).unwrap();
        Fake { directory, _create: create }
    }

    fn micad(&self) -> Micad {
        Micad::new(self.directory.path())
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(self.directory.path().join("guest-a.socket")).unwrap()
    }
}

/// One connection: what was received by a single read, and the pieces that are answered.
fn answer(listener: UnixListener, pieces: Vec<Vec<u8>>) -> JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let received = receive(&mut stream).await;
        for piece in pieces {
            stream.write_all(&piece).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        received
    })
}

async fn receive(stream: &mut UnixStream) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let length = stream.read(&mut buffer).await.unwrap();
    buffer.truncate(length);
    buffer
}

#[tokio::test]
async fn create_is_one_write_to_the_create_socket() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("mica-create.socket")).unwrap();
    let server = answer(listener, vec![b"MICA-SUCCESS".to_vec()]);
    Micad::new(directory.path()).create(&message()).await.unwrap();
    assert!(server.await.unwrap() == message().encode().unwrap());
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("mica-create.socket")).unwrap();
    let server = answer(listener, vec![b"guest-a is already createdMICA-FAILED".to_vec()]);
    let error = Micad::new(directory.path()).create(&message()).await.unwrap_err();
    assert!(matches!(&error, Error::NameTaken { name } if name == "guest-a"), "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_reason_is_the_daemons_own() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("mica-create.socket")).unwrap();
    let server = answer(listener, vec![b"No such file: /lib/firmware/a.elfMICA-FAILED".to_vec()]);
    let error = Micad::new(directory.path()).create(&message()).await.unwrap_err();
    assert_eq!(error.to_string(), "micad refused `create guest-a`: No such file: /lib/firmware/a.elf");
    server.await.unwrap();
}

#[tokio::test]
async fn control_messages_arrive_as_they_are() {
    let fake = Fake::new();
    let commands: [(&[u8], _); 3] = [(b"start", None), (b"rm", None), (b"set memory 64", Some(64))];
    for (expected, memory) in commands {
        let server = answer(fake.listen(), vec![b"MICA-SUCCESS".to_vec()]);
        match (expected, memory) {
            (b"start", _) => fake.micad().start(&guest()).await.unwrap(),
            (b"rm", _) => fake.micad().remove(&guest()).await.unwrap(),
            (_, memory) => {
                let setting = Setting::new(Key::Memory, memory.unwrap()).unwrap();
                fake.micad().set(&guest(), setting).await.unwrap();
            }
        }
        assert_eq!(server.await.unwrap(), expected);
        std::fs::remove_file(fake.directory.path().join("guest-a.socket")).unwrap();
    }
}

#[tokio::test]
async fn an_answer_is_found_however_it_is_split() {
    let status =
        format!("{:<30}{:<20}{:<20}rpmsg-tty(/dev/ttyRPMSG0) MICA-SUCCESS", "guest-a", "3", "Running");
    for at in 0..=status.len() {
        let fake = Fake::new();
        let (first, second) = status.as_bytes().split_at(at);
        let server = answer(fake.listen(), vec![first.to_vec(), second.to_vec()]);
        let status =
            fake.micad().status(&guest()).await.unwrap_or_else(|error| panic!("split at {at}: {error}"));
        assert_eq!((status.state, status.ttys(Path::new("/dev")).count()), (State::Running, 1));
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_failure_is_found_however_it_is_split() {
    let failure = b"Invalid command: staMICA-FAILED";
    for at in 0..=failure.len() {
        let fake = Fake::new();
        let (first, second) = failure.split_at(at);
        let server = answer(fake.listen(), vec![first.to_vec(), second.to_vec()]);
        let error = fake.micad().start(&guest()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Refused { reason, .. } if reason == "Invalid command: sta"),
            "{at}: {error}"
        );
        server.await.unwrap();
    }
}

#[tokio::test]
async fn an_end_before_the_marker_is_a_failure() {
    for cut in ["", "M", "MICA-", "MICA-SUCC", "guest-a     3"] {
        let fake = Fake::new();
        let server = answer(fake.listen(), vec![cut.as_bytes().to_vec()]);
        let error = fake.micad().stop(&guest()).await.unwrap_err();
        assert!(matches!(&error, Error::Broken { got, .. } if got == cut), "{cut:?}: {error}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_daemon_that_dies_with_the_request_unread_is_a_failure() {
    let fake = Fake::new();
    let listener = fake.listen();
    let server = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let error = fake.micad().stop(&guest()).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_a_child_of_the_daemon_holds_ends_with_the_marker() {
    let fake = Fake::new();
    let listener = fake.listen();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        receive(&mut stream).await;
        stream.write_all(b"MICA-SUCCESS").await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    });
    fake.micad().start(&guest()).await.unwrap();
    server.abort();
}

#[tokio::test]
async fn an_endless_answer_is_cut_short() {
    let fake = Fake::new();
    let listener = fake.listen();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.write_all(&[b'x'; 512]).await.is_ok() {}
    });
    let error = fake.micad().status(&guest()).await.unwrap_err();
    assert!(matches!(error, Error::Nonsense { .. }), "{error}");
    assert!(error.to_string().len() < 1000);
    server.await.unwrap();
}

#[tokio::test]
async fn a_status_without_a_state_is_no_status() {
    let fake = Fake::new();
    let server = answer(fake.listen(), vec![b"hello MICA-SUCCESS".to_vec()]);
    let error = fake.micad().status(&guest()).await.unwrap_err();
    assert!(matches!(&error, Error::Nonsense { got, .. } if got == "hello "), "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn without_micad_the_error_says_to_start_it() {
    let directory = tempfile::tempdir().unwrap();
    for place in [directory.path().to_owned(), directory.path().join("missing")] {
        let create = Micad::new(&place).create(&message()).await.unwrap_err();
        let start = Micad::new(&place).start(&guest()).await.unwrap_err();
        for error in [create, start] {
            assert!(matches!(error, Error::Absent { .. }), "{error}");
            assert!(error.to_string().contains("systemctl start micad"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_client_that_micad_does_not_know_is_told_apart() {
    let fake = Fake::new();
    let error = fake.micad().start(&guest()).await.unwrap_err();
    assert!(matches!(&error, Error::UnknownClient { name, .. } if name == "guest-a"), "{error}");
}

#[tokio::test]
async fn a_stale_socket_says_that_the_daemon_died() {
    let fake = Fake::new();
    drop(fake.listen()); // the file stays
    let error = fake.micad().start(&guest()).await.unwrap_err();
    assert!(matches!(error, Error::Dead { .. }), "{error}");
    assert!(error.to_string().contains("systemctl restart micad"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_hung_daemon_runs_into_the_deadline() {
    let fake = Fake::new();
    let _listener = fake.listen(); // takes connections, never answers
    let error = fake.micad().patience(Duration::from_secs(5)).start(&guest()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { limit, .. } if limit == Duration::from_secs(35)), "{error}");
    assert!(error.to_string().contains("within 35 s: it is busy with other guests, hung or dead"), "{error}");
}

#[tokio::test]
async fn a_full_queue_is_waited_for() {
    let fake = Fake::new();
    let path = fake.directory.path().join("guest-a.socket");
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = UnixStream::connect(&path).await {
        queued.push(stream);
    }
    let micad = fake.micad();
    let start = tokio::spawn(async move { micad.start(&guest()).await });
    sleep(Duration::from_millis(10)).await;
    for stream in queued {
        drop(stream);
        drop(listener.accept().await.unwrap());
    }
    let server = answer(listener, vec![b"MICA-SUCCESS".to_vec()]);
    timeout(Duration::from_secs(30), start).await.unwrap().unwrap().unwrap();
    server.await.unwrap();
}

#[test]
fn reasons_stay_one_line() {
    let mut words = Vec::new();
    write!(words, "a\u{1b}[31m\nb{}", "x".repeat(1000)).unwrap();
    let error = Error::Refused { doing: "start a".to_owned(), reason: String::from_utf8(words).unwrap() };
    let text = error.to_string();
    assert!(text.starts_with("micad refused `start a`: a\\u{1b}[31m\\nbxxx") && text.len() < 400, "{text}");
    let silent = Error::Refused { doing: "start a".to_owned(), reason: String::new() };
    assert!(silent.to_string().contains("its log has it"), "{silent}");
}
