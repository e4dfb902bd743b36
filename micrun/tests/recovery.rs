//! What a dead shim left, found by another process: whole, damaged, or written by another build.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::ttrpc::Code;
use micrun::id::{Id, Key};
use micrun::pedestal::{self, Capabilities, Claim, Driver};
use micrun::process::ProcessId;
use micrun::recovery;
use micrun::store::{Entry, Look, Store};
use support::echo::{Echo, Script};
use support::{Shim, is_empty, kill, refusal, soon};

fn key(id: &str) -> Key {
    Key { namespace: Id::new("test").unwrap(), id: Id::new(id).unwrap() }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim_end().to_owned()
}

/// A guest of an earlier shim that was killed, and the same driver for the next shim.
async fn orphan(script: Script) -> (Echo, tempfile::TempDir) {
    let echo = Echo::default();
    let shim = Shim::start(echo.clone()).await;
    shim.run("a").await;
    let Shim { dir, .. } = shim;
    assert_eq!(echo.daemon.guests(), ["test/a"]);
    (Echo { script, ..echo }, dir)
}

/// The state file of the orphan, in the state directory of another shim.
fn leave(shim: &Shim, text: &str) -> PathBuf {
    let dir = shim.state_dir("a");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("state.json"), text).unwrap();
    fs::write(dir.join("firmware.elf"), "left behind").unwrap();
    dir
}

#[tokio::test]
async fn a_guest_whose_state_is_damaged_is_freed_by_its_name() {
    let half = format!(r#"{{"version":1,"boot_id":"{}","pod":"a","#, boot_id());
    for text in ["", "{", "null", "\0\0\0\0", &half] {
        let (echo, _dir) = orphan(Script::default()).await;
        let shim = Shim::start(echo.clone()).await;
        leave(&shim, text);
        shim.create("a", &shim.bundle("a")).await.unwrap();
        assert_eq!(echo.daemon.guests(), ["test/a"], "one guest, the new one, after {text:?}");
        shim.task.delete(soon(), &support::delete("a")).await.unwrap();
        assert!(echo.daemon.guests().is_empty() && is_empty(&shim.dir.path().join("state")), "{text:?}");
    }
}

#[tokio::test]
async fn a_guest_of_a_newer_build_is_freed_by_what_is_understood() {
    let records = [
        r#"{"driver":"echo","data":{"name":"test/a"}}"#,
        r#"{"driver":"echo","data":{"name":"test/a","more":[1]}}"#,
        "null",
    ];
    for record in records {
        let (echo, _dir) = orphan(Script::default()).await;
        let shim = Shim::start(echo.clone()).await;
        let boot_id = boot_id();
        leave(
            &shim,
            &format!(
                r#"{{"version":2,"boot_id":"{boot_id}","pod":"p","pid":1,"guest":{record},"new":{{}}}}"#
            ),
        );
        let drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(echo.clone())];
        let entry = Store::at(shim.dir.path().join("state")).find(&key("a")).unwrap();
        assert_eq!(entry.look().pod(), Some(&Id::new("p").unwrap()));
        recovery::free(&drivers, &key("a"), &entry).await.unwrap();
        assert!(echo.daemon.guests().is_empty(), "{record}");
    }
}

#[tokio::test]
async fn what_cannot_be_freed_is_told_with_the_file_and_the_remedy() {
    let newer = format!(
        r#"{{"version":7,"boot_id":"{}","pod":"a","pid":1,"guest":{{"driver":"moon","data":{{}}}}}}"#,
        boot_id()
    );
    let table = [
        ("{", "end the guest, and remove the directory"),
        (&newer, "delete the container with the newer one"),
    ];
    for (text, remedy) in table {
        let (echo, _dir) = orphan(Script { fail_destroy: true, ..Script::default() }).await;
        let shim = Shim::start(echo.clone()).await;
        let dir = leave(&shim, text);
        let (code, said) = refusal(shim.create("a", &shim.bundle("a")).await);
        assert_eq!(code, Code::INTERNAL);
        assert!(said.contains(&dir.display().to_string()) && said.contains(remedy), "{said}");
        assert!(dir.join("state.json").exists(), "whoever comes next finds what is known");
    }
}

/// What the first version wrote. A later build that cannot read it would leave the guests of running shims behind.
#[tokio::test]
async fn state_of_version_1_is_read() {
    let mut seen = Vec::new();
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/state")).unwrap() {
        let file = file.unwrap().path();
        let root = tempfile::tempdir().unwrap();
        let entry = Store::at(root.path()).reserve(&key("a")).unwrap();
        // A real process in the place of the emulator, which is to be ended.
        let mut emulator = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(emulator.id()).unwrap();
        let text = fs::read_to_string(&file).unwrap().replace("BOOT", &boot_id());
        let text = text.replace("\"start_time\":815", &format!("\"start_time\":{}", process.start_time));
        let text = text.replace("4711", &process.pid.to_string());
        fs::write(entry.dir().join("state.json"), &text).unwrap();

        let state = entry.load().unwrap_or_else(|| panic!("{}: {:?}", file.display(), entry.look()));
        assert_eq!((state.pod.as_str(), state.pid), ("a", process.pid));
        let record = state.guest.clone().unwrap();
        match record.driver.as_str() {
            "qemu" => {
                pedestal::destroy(&pedestal::drivers(), &record).await.unwrap();
                assert!(!process.is_alive(), "the emulator is ended");
            }
            "micad" => {
                assert_eq!(state.claims, [Claim::Core(3), Claim::Coprocessor("m4".into())]);
                // There is no daemon here, so there is no client; but the record was understood.
                pedestal::destroy(&pedestal::drivers(), &record).await.unwrap();
            }
            _ => assert_eq!(entry.claims().unwrap().len(), 2),
        }
        let _ = emulator.kill();
        emulator.wait().unwrap();
        // What this build writes has all of it, so that an older one of the same version can read it, too.
        entry.save(&state).unwrap();
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let (mut written, old) =
            (read(&fs::read_to_string(entry.dir().join("state.json")).unwrap()), read(&text));
        for (key, value) in old.as_object().unwrap() {
            assert_eq!(written[key].take(), *value, "{key} of {}", file.display());
        }
        seen.push(record.driver);
    }
    seen.sort();
    assert_eq!(seen, ["micad", "qemu", "xen"]);
}

#[test]
fn no_state_is_nothing_to_free_and_another_boot_neither() {
    let root = tempfile::tempdir().unwrap();
    let entry: Entry = Store::at(root.path()).reserve(&key("a")).unwrap();
    assert!(matches!(entry.look(), Look::Nothing));
    let text = r#"{"version":1,"boot_id":"another","pod":"a","pid":1,"guest":{"driver":"qemu","data":{}}}"#;
    fs::write(entry.dir().join("state.json"), text).unwrap();
    assert!(matches!(entry.look(), Look::Nothing));
}

/// containerd may be away for long, and somebody may pause and resume meanwhile. Memory stays bounded, and what
/// counts is told in order.
#[tokio::test]
async fn events_that_wait_are_bounded_and_none_of_a_life_is_lost() {
    let script = Script::default();
    let can = Capabilities { pause: true, ..script.can };
    let mut shim = Shim::start(Echo::with(Script { can, ..script })).await;
    shim.containerd.go_away().await;
    shim.run("a").await;
    for _ in 0..600 {
        shim.task.pause(soon(), &support::pause("a")).await.unwrap();
        shim.task.resume(soon(), &support::resume("a")).await.unwrap();
    }
    shim.task.kill(soon(), &kill("a", 9)).await.unwrap();
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    shim.containerd.come_back().await;
    let deadline = tokio::time::Instant::now() + support::SOON;
    while shim.containerd.topics().last().is_none_or(|topic| topic != "/tasks/delete") {
        assert!(tokio::time::Instant::now() < deadline, "the last event does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let topics = shim.containerd.topics();
    assert!(topics.len() <= 1030, "{} events waited", topics.len());
    assert_eq!(topics[..3], ["/tasks/create", "/tasks/start", "/tasks/paused"]);
    assert_eq!(topics[topics.len() - 2..], ["/tasks/exit", "/tasks/delete"]);
}
