//! Commands in a guest's shell, as engines ask for them.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use containerd_shim_protos::api::{
    CloseIORequest, CreateTaskRequest, DeleteRequest, ExecProcessRequest, KillRequest, ResizePtyRequest,
    StartRequest, StateRequest, StateResponse, Status, WaitRequest,
};
use containerd_shim_protos::events::task::{TaskExecAdded, TaskExecStarted, TaskExit};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::ttrpc::{self, Code};
use micrun::config::NodeConfig;
use micrun::pedestal::Node;
use micrun_image_spec::board::Boards;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::echo::{Echo, Script};
use support::{SOON, Shim, create_request, kill, refusal, soon, start};

const NONBLOCK: i32 = 0o4000;
const OS: (&str, &str) = ("org.openeuler.micrun.container.os", "micrun-test");

fn guest() -> Echo {
    let mut script = Script { shell: true, ..Script::default() };
    script.can.pause = true;
    Echo::with(script)
}

/// A shim whose container `a` has a shell.
async fn shim() -> Shim {
    let shim = Shim::start(guest()).await;
    run(&shim).await;
    shim
}

/// The same, with so much time for a command.
async fn shim_with(timeout: Duration) -> Shim {
    let mut config = NodeConfig::default();
    config.exec.timeout = timeout;
    let shim = Shim::configured(config, guest()).await;
    run(&shim).await;
    shim
}

async fn run(shim: &Shim) {
    let bundle = shim.bundle("a");
    bundle.annotate(&[OS]);
    shim.create("a", &bundle).await.unwrap();
    shim.task.start(soon(), &start("a")).await.unwrap();
}

/// A command, as an engine writes it.
fn request(exec: &str, words: &[&str]) -> ExecProcessRequest {
    let spec = serde_json::json!({ "args": words, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0 } });
    let any = Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
        value: spec.to_string().into_bytes(),
        ..Default::default()
    };
    let spec = MessageField::some(any);
    ExecProcessRequest { id: "a".to_owned(), exec_id: exec.to_owned(), spec, ..Default::default() }
}

/// A client's end of a command's output.
struct Reader {
    path: PathBuf,
    fifo: File,
}

impl Reader {
    fn new(shim: &Shim, exec: &str) -> Reader {
        let path = shim.dir.path().join(format!("{exec}-stdout"));
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let fifo = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(&path).unwrap();
        Reader { path, fifo }
    }

    /// All of it, to its end.
    async fn rest(mut self) -> String {
        let (mut all, deadline) = (Vec::new(), Instant::now() + SOON);
        loop {
            assert!(Instant::now() < deadline, "no end behind {:?}", String::from_utf8_lossy(&all));
            let mut buffer = [0; 4096];
            match self.fifo.read(&mut buffer) {
                Ok(0) => return String::from_utf8(all).unwrap(),
                Ok(length) => all.extend_from_slice(&buffer[..length]),
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }
}

trait Execs {
    async fn add(&self, exec: &str, words: &[&str]) -> ttrpc::Result<()>;
    async fn begin(&self, exec: &str) -> ttrpc::Result<u32>;
    async fn look(&self, exec: &str) -> ttrpc::Result<StateResponse>;
    async fn ended(&self, exec: &str) -> ttrpc::Result<u32>;
    async fn signal(&self, exec: &str, signal: u32) -> ttrpc::Result<()>;
    async fn forget(&self, exec: &str) -> ttrpc::Result<u32>;
    /// Runs a command from Exec to Delete: its output and its status.
    async fn exec(&self, exec: &str, words: &[&str]) -> (String, u32);
}

impl Execs for Shim {
    async fn add(&self, exec: &str, words: &[&str]) -> ttrpc::Result<()> {
        self.task.exec(soon(), &request(exec, words)).await.map(drop)
    }

    async fn begin(&self, exec: &str) -> ttrpc::Result<u32> {
        let request = StartRequest { exec_id: exec.to_owned(), ..start("a") };
        Ok(self.task.start(soon(), &request).await?.pid)
    }

    async fn look(&self, exec: &str) -> ttrpc::Result<StateResponse> {
        let request = StateRequest { id: "a".to_owned(), exec_id: exec.to_owned(), ..Default::default() };
        self.task.state(soon(), &request).await
    }

    async fn ended(&self, exec: &str) -> ttrpc::Result<u32> {
        let request = WaitRequest { exec_id: exec.to_owned(), ..support::wait("a") };
        Ok(self.task.wait(soon(), &request).await?.exit_status)
    }

    async fn signal(&self, exec: &str, signal: u32) -> ttrpc::Result<()> {
        let request = KillRequest { exec_id: exec.to_owned(), ..kill("a", signal) };
        self.task.kill(soon(), &request).await.map(drop)
    }

    async fn forget(&self, exec: &str) -> ttrpc::Result<u32> {
        let request = DeleteRequest { exec_id: exec.to_owned(), ..support::delete("a") };
        Ok(self.task.delete(soon(), &request).await?.exit_status)
    }

    async fn exec(&self, exec: &str, words: &[&str]) -> (String, u32) {
        let reader = Reader::new(self, exec);
        let request =
            ExecProcessRequest { stdout: reader.path.display().to_string(), ..request(exec, words) };
        self.task.exec(soon(), &request).await.unwrap();
        self.begin(exec).await.unwrap();
        let (output, status) = tokio::join!(reader.rest(), self.ended(exec));
        assert_eq!(self.forget(exec).await.unwrap(), *status.as_ref().unwrap());
        (output, status.unwrap())
    }
}

#[tokio::test]
async fn a_command_from_exec_to_delete() {
    let shim = shim().await;
    let reader = Reader::new(&shim, "e");
    let stdout = reader.path.display().to_string();
    let request = ExecProcessRequest { stdout: stdout.clone(), ..request("e", &["echo", "hi"]) };
    shim.task.exec(soon(), &request).await.unwrap();
    let state = shim.look("e").await.unwrap();
    assert_eq!((state.status, state.id, state.stdout), (Status::CREATED.into(), "e".to_owned(), stdout));
    assert_ne!(state.pid, 0);

    assert_eq!(shim.begin("e").await.unwrap(), state.pid);
    assert_eq!(shim.ended("e").await.unwrap(), 0);
    let ended = shim.look("e").await.unwrap();
    assert_eq!((ended.status, ended.exit_status), (Status::STOPPED.into(), 0));
    assert!(ended.exited_at.is_some());
    assert_eq!(reader.rest().await, "hi\n");
    assert_eq!(shim.task.pids(soon(), &support::pids("a")).await.unwrap().processes.len(), 1);
    assert_eq!(shim.forget("e").await.unwrap(), 0);
    assert_eq!(refusal(shim.look("e").await).0, Code::NOT_FOUND);
    assert_eq!(shim.state("a").await.unwrap().status, Status::RUNNING.into());

    let topics = shim.containerd.wait_for(5).await;
    assert_eq!(topics[2..], ["/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"]);
    let added: TaskExecAdded = shim.containerd.event("/tasks/exec-added");
    assert_eq!((added.container_id.as_str(), added.exec_id.as_str()), ("a", "e"));
    let started: TaskExecStarted = shim.containerd.event("/tasks/exec-started");
    assert_eq!((started.container_id.as_str(), started.exec_id.as_str(), started.pid), ("a", "e", state.pid));
    let exit: TaskExit = shim.containerd.event("/tasks/exit");
    assert_eq!((exit.container_id.as_str(), exit.id.as_str(), exit.exit_status), ("a", "e", 0));
    assert_eq!(exit.pid, state.pid);
}

#[tokio::test]
async fn the_shell_says_whether_a_command_failed() {
    let shim = shim().await;
    let unknown = "unknown command: nonsense (try help)\n".to_owned();
    assert_eq!(shim.exec("e1", &["nonsense"]).await, (unknown, 1));
    assert_eq!(shim.exec("e2", &["echo", "two", "words"]).await, ("two words\n".to_owned(), 0));
    assert_eq!(shim.exec("e3", &["echo two  blanks"]).await, ("two  blanks\n".to_owned(), 0));
    assert_eq!(shim.exec("e4", &["echo", "micrun> "]).await, ("micrun> \n".to_owned(), 0));
    let (output, status) = shim.exec("e5", &["lines", "20000"]).await;
    assert_eq!((output.len(), status), (20_000 * 12, 0), "nothing is lost or added");
    assert!(output.ends_with("line 019999\n"));
}

#[tokio::test]
async fn a_terminal_and_a_file_get_their_forms() {
    let shim = shim().await;
    let file = shim.dir.path().join("logs/exec.log");
    for (exec, terminal) in [("e1", true), ("e2", false)] {
        let stdout = format!("file://{}", file.display());
        let request = ExecProcessRequest { stdout, terminal, ..request(exec, &["echo", "hi"]) };
        shim.task.exec(soon(), &request).await.unwrap();
        shim.begin(exec).await.unwrap();
        assert_eq!(shim.ended(exec).await.unwrap(), 0);
        assert_eq!(shim.look(exec).await.unwrap().terminal, terminal);
        shim.forget(exec).await.unwrap();
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "hi\r\nhi\n");
}

#[tokio::test]
async fn each_call_is_refused_in_the_wrong_state_and_in_runcs_words() {
    let shim = shim().await;
    for answer in [
        refusal(shim.begin("x").await),
        refusal(shim.look("x").await),
        refusal(shim.ended("x").await),
        refusal(shim.signal("x", 9).await),
        refusal(shim.forget("x").await),
    ] {
        assert_eq!(answer, (Code::NOT_FOUND, "container a: process does not exist x".to_owned()));
    }
    let (close, resize) = (
        CloseIORequest { id: "a".into(), exec_id: "x".into(), stdin: true, ..Default::default() },
        ResizePtyRequest { id: "a".into(), exec_id: "x".into(), ..Default::default() },
    );
    assert_eq!(refusal(shim.task.close_io(soon(), &close).await).0, Code::NOT_FOUND);
    assert_eq!(refusal(shim.task.resize_pty(soon(), &resize).await).0, Code::NOT_FOUND);

    let failed = |answer: (Code, String), words: &str| {
        assert_eq!(answer, (Code::FAILED_PRECONDITION, format!("container a: {words}")));
    };
    shim.add("e", &["burn", "300"]).await.unwrap();
    let taken = refusal(shim.add("e", &["help"]).await);
    assert_eq!(taken, (Code::ALREADY_EXISTS, "container a: exec e already exists".to_owned()));
    failed(refusal(shim.signal("e", 9).await), "process not created");
    shim.begin("e").await.unwrap();
    failed(refusal(shim.begin("e").await), "cannot start a running process");
    failed(refusal(shim.forget("e").await), "cannot delete a running process");
    let close = CloseIORequest { exec_id: "e".into(), ..close };
    let resize = ResizePtyRequest { exec_id: "e".into(), ..resize };
    shim.task.close_io(soon(), &close).await.unwrap();
    shim.task.resize_pty(soon(), &resize).await.unwrap();
    assert_eq!(refusal(shim.signal("e", 99).await).0, Code::INVALID_ARGUMENT);
    shim.signal("e", 28).await.unwrap();
    assert_eq!(shim.ended("e").await.unwrap(), 0, "a change of the window's size ends nothing");
    failed(refusal(shim.begin("e").await), "cannot start a stopped process");
    let late = refusal(shim.signal("e", 9).await);
    assert_eq!(late, (Code::NOT_FOUND, "container a: process already finished".to_owned()));
}

#[tokio::test]
async fn only_a_running_guest_takes_commands() {
    let shim = Shim::start(guest()).await;
    let bundle = shim.bundle("a");
    bundle.annotate(&[OS]);
    shim.create("a", &bundle).await.unwrap();
    let refused = async |words: &str| {
        let answer = refusal(shim.add("e", &["help"]).await);
        assert_eq!(answer, (Code::FAILED_PRECONDITION, format!("container a: {words}")));
    };
    refused("cannot exec in a created state").await;
    shim.task.start(soon(), &start("a")).await.unwrap();
    shim.add("early", &["echo", "hi"]).await.unwrap();
    shim.add("never", &["echo", "hi"]).await.unwrap();
    shim.task.pause(soon(), &support::pause("a")).await.unwrap();
    refused("cannot exec in a paused state").await;
    assert_eq!(refusal(shim.begin("early").await).1, "container a: cannot exec in a paused state");
    shim.task.resume(soon(), &support::resume("a")).await.unwrap();
    shim.begin("early").await.unwrap();
    assert_eq!(shim.ended("early").await.unwrap(), 0);
    shim.task.kill(soon(), &kill("a", 9)).await.unwrap();
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    refused("cannot exec in a stopped state").await;
    let gone = refusal(shim.begin("never").await);
    assert_eq!(gone, (Code::FAILED_PRECONDITION, "container a: init process is not running".to_owned()));
    shim.forget("never").await.unwrap();
    shim.forget("early").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    let shim = Shim::start(guest()).await;
    let table = [
        (None, "does not say which operating system"),
        (Some("baremetal"), "no OS profile says how the shell of baremetal looks"),
    ];
    for (os, expected) in table {
        let bundle = shim.bundle("a");
        bundle.annotate(&os.map(|os| (OS.0, os)).into_iter().collect::<Vec<_>>());
        shim.create("a", &bundle).await.unwrap();
        shim.task.start(soon(), &start("a")).await.unwrap();
        let (code, text) = refusal(shim.add("e", &["help"]).await);
        assert_eq!(code, Code::UNIMPLEMENTED, "{text}");
        assert!(text.contains(expected), "{text}");
        shim.task.kill(soon(), &kill("a", 9)).await.unwrap();
        shim.task.wait(soon(), &support::wait("a")).await.unwrap();
        shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    }
    run(&shim).await;
    for words in [&["a\nb"][..], &["\x03"], &[]] {
        assert_eq!(refusal(shim.add("e", words).await).0, Code::INVALID_ARGUMENT, "{words:?}");
    }
    let bad_spec = Any { value: b"{\"args\": 7}".to_vec(), ..Default::default() };
    let bad = ExecProcessRequest { spec: MessageField::some(bad_spec), ..request("e", &[]) };
    assert_eq!(refusal(shim.task.exec(soon(), &bad).await).0, Code::INVALID_ARGUMENT);
    let bad = request("../e", &["help"]);
    assert_eq!(refusal(shim.task.exec(soon(), &bad).await).0, Code::INVALID_ARGUMENT);
    assert_eq!(shim.exec("e", &["echo", "hi"]).await, ("hi\n".to_owned(), 0), "nothing is left of all that");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_over_and_the_next_one_waits_for_the_prompt() {
    let shim = shim_with(Duration::from_millis(1500)).await;
    assert_eq!(shim.exec("slow", &["burn", "2000"]).await, (String::new(), 124));
    assert_eq!(shim.exec("next", &["echo", "hi"]).await, ("hi\n".to_owned(), 0));
    assert_eq!(shim.exec("never", &["burn", "3600000"]).await.1, 124);
    assert_eq!(
        shim.exec("behind", &["echo", "hi"]).await,
        (String::new(), 124),
        "the line is not even typed"
    );
    assert_eq!(shim.state("a").await.unwrap().status, Status::RUNNING.into());
}

#[tokio::test]
async fn a_command_is_killed_alone() {
    let shim = shim().await;
    for (exec, signal, status) in [("e1", 9, 137), ("e2", 15, 143)] {
        shim.add(exec, &["burn", "100"]).await.unwrap();
        shim.begin(exec).await.unwrap();
        shim.signal(exec, signal).await.unwrap();
        assert_eq!(shim.ended(exec).await.unwrap(), status);
    }
    assert_eq!(shim.exec("e3", &["echo", "hi"]).await, ("hi\n".to_owned(), 0));
}

#[tokio::test]
async fn commands_take_turns() {
    let shim = shim().await;
    shim.add("burns", &["burn", "300"]).await.unwrap();
    shim.add("waits", &["burn", "3600000"]).await.unwrap();
    shim.begin("burns").await.unwrap();
    shim.begin("waits").await.unwrap();
    shim.signal("waits", 9).await.unwrap();
    assert_eq!(shim.ended("waits").await.unwrap(), 137, "it was not typed, and is not waited for");
    let (first, second) =
        tokio::join!(shim.exec("e1", &["echo", "first"]), shim.exec("e2", &["echo", "second"]));
    assert_eq!((first, second), (("first\n".to_owned(), 0), ("second\n".to_owned(), 0)));
    assert_eq!(shim.ended("burns").await.unwrap(), 0);
}

#[tokio::test]
async fn an_attached_client_sees_it_and_its_keys_wait() {
    let shim = Shim::start(guest()).await;
    let bundle = shim.bundle("a");
    bundle.annotate(&[OS]);
    let mut reader = Reader::new(&shim, "a");
    let stdin = shim.dir.path().join("a-stdin");
    mknodat(CWD, &stdin, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut keys = OpenOptions::new().read(true).write(true).open(&stdin).unwrap();
    let create = CreateTaskRequest {
        bundle: bundle.text(),
        stdin: stdin.display().to_string(),
        stdout: reader.path.display().to_string(),
        ..create_request("a")
    };
    shim.task.create(soon(), &create).await.unwrap();
    shim.task.start(soon(), &start("a")).await.unwrap();
    let mut type_keys = |text: &str| std::io::Write::write_all(&mut keys, text.as_bytes()).unwrap();
    type_keys("half");
    let mut seen = String::new();
    let mut see = async |text: &str| {
        let deadline = Instant::now() + SOON;
        while !seen.contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not in {seen:?}");
            let mut buffer = [0; 4096];
            let length = reader.fifo.read(&mut buffer).unwrap_or(0);
            seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    see("micrun> half").await;
    assert_eq!(shim.exec("e1", &["echo", "hi"]).await, ("hi\n".to_owned(), 0));
    see("micrun> echo hi\r\nhi\r\nmicrun> ").await;
    shim.add("e2", &["burn", "300"]).await.unwrap();
    shim.begin("e2").await.unwrap();
    see("burn 300").await;
    type_keys("echo mine\r");
    assert_eq!(shim.ended("e2").await.unwrap(), 0);
    see("micrun> echo mine\r\nmine\r\n").await;
}

#[tokio::test]
async fn the_end_of_the_guest_ends_its_commands_first() {
    let table = [
        (&["poweroff"][..], None, "", 137, 0),
        (&["crash"], None, "FAULT: on purpose\n", 255, 255),
        (&["burn", "3600000"], Some(9), "", 137, 137),
        (&["burn", "3600000"], Some(15), "", 137, 143),
    ];
    for (words, signal, output, status, container) in table {
        let shim = shim().await;
        let reader = Reader::new(&shim, "e");
        let request = ExecProcessRequest { stdout: reader.path.display().to_string(), ..request("e", words) };
        shim.task.exec(soon(), &request).await.unwrap();
        shim.begin("e").await.unwrap();
        if let Some(signal) = signal {
            shim.task.kill(soon(), &kill("a", signal)).await.unwrap();
        }
        assert_eq!(shim.ended("e").await.unwrap(), status, "{words:?}");
        assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, container);
        assert_eq!(reader.rest().await, output, "{words:?}");
        shim.containerd.wait_for(6).await;
        let exits: Vec<TaskExit> = shim
            .containerd
            .told()
            .iter()
            .filter(|told| told.envelope.topic == "/tasks/exit")
            .map(|told| TaskExit::parse_from_bytes(&told.envelope.event.value).unwrap())
            .collect();
        let ids: Vec<&str> = exits.iter().map(|exit| exit.id.as_str()).collect();
        assert_eq!(ids, ["e", "a"], "{words:?}");
        shim.task.delete(soon(), &support::delete("a")).await.unwrap();
        assert_eq!(refusal(shim.look("e").await).0, Code::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_node_says_how_a_shell_looks() {
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("own.yaml");
    let text = "name: own-os\ndescription: ours\nshell:\n  prompts: [\"micrun> \"]\n  line_end: cr\n  \
                fresh_prompt: \"\\r\"\n  errors: [\"sorry\"]\n";
    fs::write(&profile, text).unwrap();
    let mut node = Node::new(Boards::builtin(), []);
    node.os_dir = dir.path().to_owned();
    let shim = Shim::on(node, guest()).await;
    let bundle = shim.bundle("a");
    bundle.annotate(&[(OS.0, "own-os")]);
    shim.create("a", &bundle).await.unwrap();
    shim.task.start(soon(), &start("a")).await.unwrap();
    assert_eq!(shim.exec("e", &["echo", "sorry"]).await, ("sorry\n".to_owned(), 1));

    fs::write(&profile, text.replace("name:", "title:")).unwrap();
    let bundle = shim.bundle("b");
    bundle.annotate(&[OS]);
    let (code, text) = refusal(shim.create("b", &bundle).await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(text.contains("own.yaml line 1: unknown field `title`"), "{text}");
}

#[tokio::test]
async fn without_a_console_there_is_nobody_to_talk_to() {
    let script = Script { shell: true, late_console: true, ..Script::default() };
    let shim = Shim::start(Echo::with(script)).await;
    let bundle = shim.bundle("a");
    bundle.annotate(&[OS]);
    shim.create("a", &bundle).await.unwrap();
    shim.task.start(soon(), &start("a")).await.unwrap();
    // The console comes a moment after the start.
    let deadline = Instant::now() + SOON;
    while let Err(error) = shim.add("e", &["echo", "hi"]).await {
        let (code, text) = refusal::<()>(Err(error));
        assert_eq!(
            (code, text.as_str()),
            (Code::FAILED_PRECONDITION, "container a: the guest's console is not there now")
        );
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    shim.begin("e").await.unwrap();
    assert_eq!(shim.ended("e").await.unwrap(), 0);
}
