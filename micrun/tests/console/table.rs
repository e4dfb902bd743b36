//! What `run` and `attach` promise, in each of their forms.

use std::io::Read;

use containerd_shim_protos::api::{CreateTaskRequest, ResizePtyRequest};
use micrun::config::NodeConfig;

use crate::client::{Client, kill, make_fifo, open_reader, run, run_request};
use crate::support::echo::Echo;
use crate::support::{self, Shim, soon};

/// One line of the table: which streams the engine names, and what Ctrl-C is.
struct Form {
    command: &'static str,
    stdin: bool,
    stderr: bool,
    terminal: bool,
    ctrl_c: Key,
}

#[derive(PartialEq)]
enum Key {
    CannotBeTyped,
    Data,
    Stop,
}

const FORMS: [Form; 5] = [
    Form { command: "run -d", stdin: false, stderr: true, terminal: false, ctrl_c: Key::CannotBeTyped },
    Form { command: "run", stdin: false, stderr: true, terminal: false, ctrl_c: Key::CannotBeTyped },
    Form { command: "run -i", stdin: true, stderr: true, terminal: false, ctrl_c: Key::Data },
    Form { command: "run -t", stdin: false, stderr: false, terminal: true, ctrl_c: Key::CannotBeTyped },
    Form { command: "run -it", stdin: true, stderr: false, terminal: true, ctrl_c: Key::Stop },
];

#[tokio::test]
async fn every_form_of_run() {
    for form in FORMS {
        let shim = Shim::start(Echo::default()).await;
        let mut client = Client::new(shim.dir.path());
        let mut request = client.request(&shim, form.terminal);
        if !form.stdin {
            request.stdin = String::new();
        }
        let stderr = form.stderr.then(|| {
            let path = make_fifo(shim.dir.path(), "stderr");
            request.stderr = path.display().to_string();
            open_reader(&path)
        });
        run_request(&shim, &request).await;
        client.expect("echo ready").await;
        match form.ctrl_c {
            Key::CannotBeTyped => {}
            Key::Data => {
                client.write(b"a\x03b");
                client.expect("a\x03b").await;
            }
            Key::Stop => client.write(b"a\x03b"),
        }
        let status = match form.ctrl_c {
            Key::Stop => shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status,
            _ => kill(&shim).await,
        };
        let expected = if form.ctrl_c == Key::Stop { 130 } else { 137 };
        assert_eq!(status, expected, "{}", form.command);
        shim.task.delete(soon(), &support::delete("a")).await.unwrap();
        if let Some(mut stderr) = stderr {
            let mut all = Vec::new();
            stderr.read_to_end(&mut all).unwrap();
            assert!(all.is_empty(), "{}: a guest has one console", form.command);
        }
    }
}

#[tokio::test]
async fn a_container_may_have_no_streams_at_all() {
    let shim = Shim::start(Echo::default()).await;
    let bundle = shim.bundle("a").text();
    run_request(&shim, &CreateTaskRequest { bundle, ..support::create_request("a") }).await;
    assert_eq!(kill(&shim).await, 137);
}

#[tokio::test]
async fn clients_come_and_go() {
    for terminal in [false, true] {
        let shim = Shim::start(Echo::default()).await;
        let mut client = Client::new(shim.dir.path());
        run(&shim, &client, terminal).await;
        client.expect("echo ready").await;
        for round in ["first", "second", "third"] {
            client.replace();
            client.write(round.as_bytes());
            client.expect(round).await;
        }
    }
}

/// Detaching is the client's business, and so are all other keys.
#[tokio::test]
async fn every_key_but_ctrl_c_is_the_guests() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, true).await;
    client.expect("echo ready").await;
    client.write(b"[\x10\x11\x04\x1a\x1c\x7f\x1b[A]");
    client.expect("[\x10\x11\x04\x1a\x1c\x7f\x1b[A]").await;
    client.write(b"still there");
    client.expect("still there").await;
}

#[tokio::test]
async fn a_node_can_leave_ctrl_c_to_the_guest() {
    let mut config = NodeConfig::default();
    config.console.ctrl_c = false;
    let shim = Shim::configured(config, Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    run(&shim, &client, true).await;
    client.write(b"a\x03b");
    client.expect("a\x03b").await;
}

/// The size of a terminal means nothing to a serial line. It is taken at any time while the container is there.
#[tokio::test]
async fn a_terminal_may_have_any_size() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    let resize = ResizePtyRequest { id: "a".into(), width: 132, height: 43, ..Default::default() };
    assert!(shim.task.resize_pty(soon(), &resize).await.is_err(), "there is no container yet");
    shim.task.create(soon(), &client.request(&shim, true)).await.unwrap();
    shim.task.resize_pty(soon(), &resize).await.unwrap();
    shim.task.start(soon(), &support::start("a")).await.unwrap();
    shim.task.resize_pty(soon(), &resize).await.unwrap();
    assert_eq!(client.expect("ready\r\n").await, "echo ready\r\n", "the guest sees nothing of it");
    kill(&shim).await;
    shim.task.resize_pty(soon(), &resize).await.unwrap();
}
