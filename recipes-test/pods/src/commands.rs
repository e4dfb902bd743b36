//! Exec, attach, port-forward. The last two and the streams of the first go through containerd's streaming server.

use anyhow::{Result, ensure};
use micrun_testkit::cri::{self, ERROR, STDERR, STDOUT, State, WebSocket};

use crate::node::{FIRMWARE, SHELL, Stage, Story};
use crate::story;

pub fn stories() -> Vec<Story> {
    vec![
        story("exec: output, status, a time that is over", exec_sync),
        story("exec: streams", exec),
        story("attach, leave, attach again", attach),
        story("attach to a terminal", terminal),
        story("port-forward reaches nothing", port_forward),
    ]
}

fn exec_sync(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("exec-sync", &[SHELL])?;
    let id = stage.start(&pod, cri::container("rtos", &FIRMWARE.image()))?;
    for (command, output, status) in [
        (&["echo", "one  two"][..], "one  two\n", 0),
        (&["nonsense"], "unknown command: nonsense (try help)\n", 1),
    ] {
        let done = stage.cri.exec_sync(&id, command, 20)?;
        let came = (String::from_utf8_lossy(&done.stdout).into_owned(), done.exit_code);
        ensure!(came == (output.to_owned(), status), "{command:?} gave {came:?}");
        ensure!(done.stderr.is_empty(), "a guest has one console");
    }
    // A probe that takes too long: an error to kubelet, and the guest goes on.
    let late = stage.cri.exec_sync(&id, &["burn", "4000"], 1).err().map(|error| error.to_string());
    ensure!(late.as_ref().is_some_and(|said| said.contains("timeout")), "the time was not over: {late:?}");
    let done = stage.cri.exec_sync(&id, &["echo", "again"], 20)?;
    ensure!((done.stdout.as_slice(), done.exit_code) == (b"again\n", 0), "{done:?}");
    ensure!(stage.cri.status(&id)?.is() == State::Running, "a probe ended its guest");
    stage.end(&pod)
}

/// `kubectl exec`: the status comes as JSON on a channel of its own.
fn exec(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("exec", &[SHELL])?;
    let id = stage.guest(&pod, "rtos")?;
    let run = |command: &[&str], tty: bool| -> Result<[String; 4]> {
        WebSocket::open(stage, &stage.cri.exec(&id, command, tty)?)?.rest()
    };
    let all = run(&["echo", "one  two"], false)?;
    ensure!(all[usize::from(STDOUT)] == "one  two\n" && all[usize::from(STDERR)].is_empty(), "{all:?}");
    ensure!(all[usize::from(ERROR)].contains("\"Success\""), "{all:?}");
    let all = run(&["nonsense"], true)?;
    ensure!(all[usize::from(STDOUT)].contains("unknown command: nonsense"), "{all:?}");
    let status = &all[usize::from(ERROR)];
    ensure!(status.contains("NonZeroExitCode") && status.contains("\"message\":\"1\""), "{status}");
    stage.end(&pod)
}

fn attach(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("attach", &[])?;
    let config = cri::messages::ContainerConfig { stdin: true, ..cri::container("rtos", &FIRMWARE.image()) };
    let id = stage.start(&pod, config)?;
    stage.wait_for_log("rtos", 0, FIRMWARE.banner)?;
    for visit in ["first", "second"] {
        let mut client = WebSocket::open(stage, &stage.cri.attach(&id, true, false)?)?;
        client.type_bytes(format!("echo {visit}\r").as_bytes())?;
        client.wait_for(&format!("\n{visit}"))?;
        client.close()?;
        stage.wait_for_log("rtos", 0, &format!("\n{visit}"))?;
    }
    ensure!(stage.cri.status(&id)?.is() == State::Running, "the guest ended with its visitor");
    stage.end(&pod)
}

fn terminal(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("terminal", &[])?;
    let config = cri::messages::ContainerConfig {
        stdin: true,
        tty: true,
        ..cri::container("rtos", &FIRMWARE.image())
    };
    let id = stage.start(&pod, config)?;
    stage.wait_for_log("rtos", 0, FIRMWARE.banner)?;
    let mut client = WebSocket::open(stage, &stage.cri.attach(&id, true, true)?)?;
    client.type_bytes(b"echo typed\r")?;
    client.wait_for("\ntyped")?;
    // The only key that is not the guest's.
    client.type_bytes(&[0x03])?;
    stage.ended(&id, 130, "Error")?;
    drop(client);
    stage.end(&pod)
}

/// A guest has no interface of the pod's, so in the pod's network nobody listens. containerd says so; the pod lives on.
fn port_forward(stage: &mut Stage<'_>) -> Result<()> {
    let pod = stage.pod("port-forward", &[])?;
    let id = stage.guest(&pod, "rtos")?;
    let mut stream = WebSocket::open(stage, &stage.cri.port_forward(&pod.id, 80)?)?;
    stream.type_bytes(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    while let Some(piece) = stream.receive()? {
        // Each channel begins with the port's number. The second one is for errors.
        if piece.channel == 1 && piece.bytes != 80_u16.to_le_bytes() {
            said += &String::from_utf8_lossy(&piece.bytes);
            break;
        }
        ensure!(piece.bytes == 80_u16.to_le_bytes(), "somebody answered: {piece:?}");
    }
    ensure!(said.contains("refused") || said.contains("error forwarding port"), "{said:?}");
    ensure!(stage.cri.status(&id)?.is() == State::Running, "port-forward ended the guest");
    drop(stream);
    stage.end(&pod)
}
