//! `file://` and `binary://`. The logging programs are lines of shell.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::CreateTaskRequest;
use micrun::pedestal::ExitCause;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use crate::client::{Client, kill, run_request};
use crate::support::echo::{Echo, Script};
use crate::support::{self, SOON, Shim, create_request, is_empty, refusal, soon};

/// A logging program: `sh -c SCRIPT`, with `$d` for the directory that it writes to.
fn program(dir: &Path, script: &str) -> String {
    let script = format!("d={}; {script}", dir.display());
    format!("binary:///bin/sh?-c={}", percent_encode(script.as_bytes(), NON_ALPHANUMERIC))
}

/// Writes both streams to files and says when it is done.
const COLLECT: &str =
    "cat <&3 >$d/out 5>&- & cat <&4 >$d/err 5>&- & exec 3<&- 4<&- 5>&-; wait; echo done >$d/end";

/// The Create of a container `a` whose output goes to one URI, as all engines name it.
fn logged(shim: &Shim, uri: &str) -> CreateTaskRequest {
    let bundle = shim.bundle("a").text();
    CreateTaskRequest { bundle, stdout: uri.to_owned(), stderr: uri.to_owned(), ..create_request("a") }
}

/// A guest that prints its line and ends.
fn short_lived() -> Echo {
    let dies = Some((Duration::from_millis(50), ExitCause::PoweredOff));
    Echo::with(Script { dies, ..Script::default() })
}

async fn eventually(path: &Path, holds: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if holds(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "{} holds {text:?}", path.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn out(shim: &Shim) -> PathBuf {
    shim.dir.path().join("out")
}

#[tokio::test]
async fn a_file_is_complete_when_the_exit_is_told() {
    let shim = Shim::start(short_lived()).await;
    let log = shim.dir.path().join("new folder/a.log");
    let uri = format!("file://{}", log.display().to_string().replace(' ', "%20"));
    run_request(&shim, &logged(&shim, &uri)).await;
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "echo ready\r\n");
}

#[tokio::test]
async fn a_file_is_appended_to() {
    let shim = Shim::start(short_lived()).await;
    fs::write(out(&shim), "before\n").unwrap();
    run_request(&shim, &logged(&shim, &format!("file://{}", out(&shim).display()))).await;
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    assert_eq!(fs::read_to_string(out(&shim)).unwrap(), "before\necho ready\r\n");
}

#[tokio::test]
async fn a_program_gets_everything_and_sees_the_end_of_both_streams() {
    for terminal in [false, true] {
        let shim = Shim::start(short_lived()).await;
        let dir = shim.dir.path();
        run_request(&shim, &CreateTaskRequest { terminal, ..logged(&shim, &program(dir, COLLECT)) }).await;
        shim.task.wait(soon(), &support::wait("a")).await.unwrap();
        shim.task.delete(soon(), &support::delete("a")).await.unwrap();
        eventually(&dir.join("end"), |text| text == "done\n").await;
        assert_eq!(fs::read_to_string(out(&shim)).unwrap(), "echo ready\r\n");
        assert_eq!(fs::read_to_string(dir.join("err")).unwrap(), "");
        assert!(soon_gone(&shim).await, "nobody waits for it any more");
    }
}

async fn soon_gone(shim: &Shim) -> bool {
    tokio::time::timeout(SOON, shim.loggers.gone()).await.is_ok()
}

/// The contract to the letter: two variables, descriptors 0 to 5, arguments in order, one process for both streams.
#[tokio::test]
async fn what_a_program_is_started_with() {
    let script = "fds=$(sleep 0.2; ls /proc/$$/fd); null=$(readlink /proc/$$/fd/[012]); exec 5>&-; echo \"$fds\" >$d/fds; \
        tr '\\0' '\\n' </proc/$$/environ >$d/env; tr '\\0' ' ' </proc/$$/cmdline >>$d/args; \
        echo \"$null\" >$d/null; exec cat <&3";
    let shim = Shim::start(Echo::default()).await;
    let dir = shim.dir.path();
    let uri = format!("{}&key=one%20word", program(dir, script));
    run_request(&shim, &logged(&shim, &uri)).await;
    let env = eventually(&dir.join("env"), |text| text.lines().count() == 2).await;
    let mut env: Vec<&str> = env.lines().collect();
    env.sort_unstable();
    assert_eq!(env, ["CONTAINER_ID=a", "CONTAINER_NAMESPACE=test"]);
    eventually(&dir.join("null"), |text| text == "/dev/null\n".repeat(3)).await;
    let fds = fs::read_to_string(dir.join("fds")).unwrap();
    // What whoever runs the tests lets every program have is not the shim's.
    let own: Vec<&str> = fds.lines().filter(|fd| !is_handed_down(fd)).collect();
    // 6 is the shell's own, for the answer of `ls`.
    assert_eq!(own, ["0", "1", "2", "3", "4", "5", "6"]);
    let args = fs::read_to_string(dir.join("args")).unwrap();
    assert!(args.starts_with("/bin/sh -c d=") && args.ends_with(" key one word "), "{args}");
    assert_eq!(args.matches("/bin/sh").count(), 1, "it was started once");
}

/// True for a descriptor above 5 that this process hands to every child (O_CLOEXEC is missing, proc_pid_fdinfo(5)).
fn is_handed_down(fd: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
    let closed_on_exec = u32::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & 0o2_000_000 != 0);
    fd.parse::<u32>().unwrap() > 5 && !info.is_empty() && !closed_on_exec
}

/// Create waits until the program is ready, so that it misses nothing.
#[tokio::test]
async fn readiness_is_waited_for() {
    let shim = Shim::start(Echo::default()).await;
    let script = "sleep 0.3; echo ready >$d/ready; printf x >&5; exec cat <&3 >$d/out";
    shim.task.create(soon(), &logged(&shim, &program(shim.dir.path(), script))).await.unwrap();
    assert_eq!(fs::read_to_string(shim.dir.path().join("ready")).unwrap(), "ready\n");
}

#[tokio::test]
async fn a_program_that_cannot_be_used_fails_the_create_and_nothing_is_left() {
    let echo = Echo::default();
    let shim = Shim::start(echo.clone()).await;
    let strict = program(shim.dir.path(), "exit 3").replace("binary:", "binary-v2:");
    for (uri, reason) in [
        ("binary:///no/such/program?a=b", "No such file"),
        (strict.as_str(), "ended before it was ready"),
        ("binary://relative", "use a FIFO"),
        ("npipe:////./pipe/x", "use a FIFO"),
    ] {
        let (_, said) = refusal(shim.task.create(soon(), &logged(&shim, uri)).await);
        assert!(said.contains(uri) && said.contains(reason), "{said}");
        assert!(echo.daemon.guests().is_empty() && is_empty(&shim.state_dir("a")), "{uri} left something");
    }
    shim.run("a").await;
}

#[tokio::test]
async fn a_program_that_is_never_ready_is_given_up_and_ended() {
    let shim = Shim::start(Echo::default()).await;
    let script = "echo $$ >$d/pid; exec sleep 600";
    let (_, said) =
        refusal(shim.task.create(soon(), &logged(&shim, &program(shim.dir.path(), script))).await);
    assert!(said.contains("not ready after 10 s"), "{said}");
    let pid = fs::read_to_string(shim.dir.path().join("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "it runs on, or nobody waited for it");
}

#[tokio::test]
async fn a_program_that_dies_takes_nobody_with_it() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    let uri = program(shim.dir.path(), "exec 5>&-; head -c 4 <&3 >$d/out; exit 1");
    let request = CreateTaskRequest { stdout: uri.clone(), stderr: uri, ..client.request(&shim, false) };
    run_request(&shim, &request).await;
    eventually(&out(&shim), |text| text == "echo").await;
    assert!(soon_gone(&shim).await, "nobody waits for it");
    client.flood(300_000).await;
    assert_eq!(kill(&shim).await, 137);
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
}

/// A program that takes nothing stalls neither the guest nor its end, and is ended in its turn: SIGTERM after 10 s, and
/// SIGKILL 2 s later.
#[tokio::test]
async fn a_program_that_hangs_stalls_nobody() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    let script = "trap 'echo asked >>$d/asked' TERM; echo $$ >$d/pid; exec 5>&-; while :; do sleep 0.1; done";
    let stdout = program(shim.dir.path(), script);
    run_request(&shim, &CreateTaskRequest { stdout, ..client.request(&shim, false) }).await;
    client.flood(1_300_000).await;
    assert_eq!(kill(&shim).await, 137);
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    assert!(!shim.dir.path().join("asked").exists(), "it has 10 s first");
    assert!(soon_gone(&shim).await, "it was not ended");
    assert_eq!(fs::read_to_string(shim.dir.path().join("asked")).unwrap(), "asked\n");
    let pid = fs::read_to_string(shim.dir.path().join("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

/// A program that was slow and comes back reads what the ring has kept, and how much it has not.
#[tokio::test]
async fn a_slow_program_is_told_what_it_missed() {
    let shim = Shim::start(Echo::default()).await;
    let mut client = Client::new(shim.dir.path());
    let wait_for_go = "exec 5>&-; until test -e $d/go; do sleep 0.02; done; exec cat <&3 >$d/out";
    let stdout = program(shim.dir.path(), wait_for_go);
    run_request(&shim, &CreateTaskRequest { stdout, ..client.request(&shim, false) }).await;
    client.flood(1_300_000).await;
    fs::File::create(shim.dir.path().join("go")).unwrap().write_all(b"").unwrap();
    client.type_all(b"the end").await;
    let seen = eventually(&out(&shim), |text| text.ends_with("the end")).await;
    assert!(seen.contains("bytes of output lost"), "{} bytes came", seen.len());
}
