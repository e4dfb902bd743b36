//! The pedestal trait, held against back ends that a daemon owns, that cannot be killed, or that say nothing
//! when a guest ends.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::time::Duration;

use micrun::pedestal::{Capabilities, Driver, Event, ExitCause, ExitNotice, Live};
use micrun::store::Store;
use support::echo::{Echo, Script};
use support::{Shim, is_empty, kill, refusal, soon, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn with(can: Capabilities, obeys: bool) -> Echo {
    Echo::with(Script { can, obeys, ..Script::default() })
}

const UNKILLABLE: Capabilities =
    Capabilities { ask: true, force: false, pause: false, live: Live::NOTHING, exit: ExitNotice::Event };

#[tokio::test]
async fn a_guest_that_listens_is_asked_first() {
    let can = Capabilities { ask: true, force: true, ..UNKILLABLE };
    let shim = Shim::start(with(can, true)).await;
    shim.run("a").await;
    shim.task.kill(soon(), &kill("a", 15)).await.unwrap();
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 143);
}

#[tokio::test]
async fn a_guest_that_does_not_follow_runs_on_until_it_is_forced() {
    let can = Capabilities { ask: true, force: true, ..UNKILLABLE };
    let shim = Shim::start(with(can, false)).await;
    shim.run("a").await;
    shim.task.kill(soon(), &kill("a", 15)).await.unwrap();
    let wait = support::wait("a");
    let early = tokio::time::timeout(Duration::from_millis(100), shim.task.wait(soon(), &wait)).await;
    assert!(early.is_err(), "only the engine escalates");
    shim.task.kill(soon(), &kill("a", 9)).await.unwrap();
    assert_eq!(shim.task.wait(soon(), &wait).await.unwrap().exit_status, 137);
}

#[tokio::test]
async fn a_guest_whose_clock_stands_still_is_not_asked() {
    let can = Capabilities { ask: true, force: true, pause: true, ..UNKILLABLE };
    let shim = Shim::start(with(can, false)).await;
    shim.run("a").await;
    shim.task.pause(soon(), &support::pause("a")).await.unwrap();
    shim.task.kill(soon(), &kill("a", 15)).await.unwrap();
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 143);
}

#[tokio::test]
async fn an_unkillable_guest_is_asked_waited_for_and_given_up() {
    let shim = Shim::start(with(UNKILLABLE, false)).await;
    shim.run("a").await;
    shim.task.kill(soon(), &kill("a", 9)).await.unwrap();
    // Two seconds of waiting, then the engine is told, and nothing is left behind.
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 137);
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    assert!(is_empty(&shim.dir.path().join("state")));
}

#[tokio::test]
async fn an_unkillable_guest_that_follows_ends_at_once() {
    let shim = Shim::start(with(UNKILLABLE, true)).await;
    shim.run("a").await;
    let begin = std::time::Instant::now();
    shim.task.kill(soon(), &kill("a", 9)).await.unwrap();
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "the wait is for guests that do not follow");
}

#[tokio::test]
async fn a_back_end_without_events_is_believed_when_it_took_the_stop() {
    let can =
        Capabilities { ask: true, force: false, pause: false, live: Live::NOTHING, exit: ExitNotice::Never };
    let shim = Shim::start(with(can, true)).await;
    shim.run("a").await;
    shim.task.kill(soon(), &kill("a", 15)).await.unwrap();
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 143);
}

#[tokio::test]
async fn a_driver_that_loses_its_guest_without_a_word_has_failed() {
    let shim = Shim::start(Echo::with(Script { falls_silent: true, ..Script::default() })).await;
    shim.run("a").await;
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 255);
}

#[tokio::test]
async fn a_start_that_fails_ends_the_container_and_frees_the_guest() {
    let echo = Echo::with(Script { fail_start: true, ..Script::default() });
    let shim = Shim::start(echo.clone()).await;
    shim.create("a", &shim.bundle("a")).await.unwrap();
    let (_, text) = refusal(shim.task.start(soon(), &start("a")).await);
    assert!(text.contains("it will not"), "{text}");
    assert_eq!(shim.task.wait(soon(), &support::wait("a")).await.unwrap().exit_status, 255);
    shim.task.delete(soon(), &support::delete("a")).await.unwrap();
    assert!(echo.daemon.guests().is_empty());
}

/// What the `delete` action and a restarted shim do: all they have is the record on disk.
#[tokio::test]
async fn another_process_adopts_or_destroys_by_the_record_alone() {
    let echo = Echo::default();
    let shim = Shim::start(echo.clone()).await;
    shim.run("a").await;
    let key = micrun::id::Key {
        namespace: micrun::id::Id::new("test").unwrap(),
        id: micrun::id::Id::new("a").unwrap(),
    };
    let state = Store::at(shim.dir.path().join("state")).find(&key).unwrap().load().unwrap();
    let record = state.guest.unwrap();

    let mut adopted = echo.adopt(&record).await.unwrap();
    let mut console = adopted.console.unwrap();
    let mut text = vec![0; 12];
    console.read_exact(&mut text).await.unwrap();
    assert_eq!(text, b"echo ready\r\n");
    console.write_all(b"hello").await.unwrap();
    console.read_exact(&mut text[..5]).await.unwrap();
    assert_eq!(&text[..5], b"hello");
    adopted.guest.force().await.unwrap();
    assert!(matches!(adopted.events.recv().await, Some(Event::Exited(ExitCause::Stopped))));

    echo.destroy(&record).await.unwrap();
    echo.destroy(&record).await.unwrap();
    assert!(echo.daemon.guests().is_empty());
    assert!(echo.adopt(&record).await.is_err(), "what is destroyed cannot be adopted");
}

/// A shim that was killed leaves its directory; the next one frees the guest before it takes the name.
#[tokio::test]
async fn what_a_killed_shim_left_is_freed_by_the_next_create() {
    let echo = Echo::default();
    let shim = Shim::start(echo.clone()).await;
    let key = micrun::id::Key {
        namespace: micrun::id::Id::new("test").unwrap(),
        id: micrun::id::Id::new("a").unwrap(),
    };
    {
        let entry = Store::at(shim.dir.path().join("state")).reserve(&key).unwrap();
        let mut state = micrun::store::State::new(key.id.clone()).unwrap();
        state.guest = Some(micrun::pedestal::Record {
            driver: "echo".into(),
            data: serde_json::json!({"name": "test/a"}),
        });
        entry.save(&state).unwrap();
        std::fs::write(entry.dir().join("firmware.elf"), "left behind").unwrap();
    }
    shim.create("a", &shim.bundle("a")).await.unwrap();
    assert_eq!(echo.daemon.guests(), ["test/a"], "one guest, the new one");
}

#[tokio::test]
async fn a_driver_that_lacks_something_says_what_and_what_to_do() {
    let shim = Shim::start(Echo::with(Script { absent: true, ..Script::default() })).await;
    let said = shim.create("a", &shim.bundle("a")).await.unwrap_err().to_string();
    assert!(said.contains("the echo daemon is away; call it back"), "{said}");
    assert!(is_empty(&shim.dir.path().join("state")));
}
