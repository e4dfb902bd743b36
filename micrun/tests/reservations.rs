//! Nothing of a node is given out twice: not among threads, not among processes, not over the protocol.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use containerd_shim_protos::api::CreateTaskRequest;
use containerd_shim_protos::ttrpc::Code;
use micrun::id::{Id, Key};
use micrun::pedestal::{Capabilities, Claim, ExitNotice, FreeMemory, Live};
use micrun::reservations::{self, ReservationError};
use micrun::resources::{Change, Weight};
use micrun::store::{Entry, State, Store};
use micrun_image_spec::units::Mib;
use proptest::prelude::*;
use serde_json::json;
use support::echo::{Echo, Script};
use support::{SOON, Shim, create_request, delete, kill, refusal, soon, start};

const CORES: u32 = 6;

/// A container that takes and frees cores.
struct Taker {
    store: Store,
    key: Key,
    entry: Entry,
}

impl Taker {
    fn new(root: &Path, namespace: &str, id: &str) -> Taker {
        let store = Store::at(root);
        let key = Key { namespace: Id::new(namespace).unwrap(), id: Id::new(id).unwrap() };
        let entry = store.reserve(&key).unwrap();
        Taker { store, key, entry }
    }

    async fn take(&self, cores: &BTreeSet<u32>) -> Result<(), ReservationError> {
        let mut state = State::new(self.key.id.clone()).unwrap();
        state.claims = cores.iter().map(|core| Claim::Core(*core)).collect();
        reservations::take(&self.store, &self.key, &self.entry, &state, &Echo::default()).await
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// One thread's part: the sets of cores that it asks for, one after the other.
fn steps() -> impl Strategy<Value = Vec<BTreeSet<u32>>> {
    prop::collection::vec(prop::collection::btree_set(0..CORES, 0..3), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Each thread is a container of its own. What it got it marks, and no mark may be there already.
    #[test]
    fn threads_never_get_the_same_core(parts in prop::collection::vec(steps(), 2..5)) {
        let root = tempfile::tempdir().unwrap();
        let taken: [AtomicBool; CORES as usize] = Default::default();
        let (twice, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mark = |cores: &BTreeSet<u32>, value: bool| {
            let wrong = cores.iter().filter(|core| taken[**core as usize].swap(value, Ordering::SeqCst) == value);
            twice.fetch_add(wrong.count(), Ordering::SeqCst);
        };
        thread::scope(|scope| {
            for (number, steps) in parts.iter().enumerate() {
                let (root, mark, refused) = (root.path(), &mark, &refused);
                scope.spawn(move || {
                    let taker = Taker::new(root, "threads", &format!("t{number}"));
                    for cores in steps {
                        match runtime().block_on(taker.take(cores)) {
                            Ok(()) => {
                                mark(cores, true);
                                thread::yield_now();
                                mark(cores, false);
                            }
                            Err(ReservationError::Core { .. }) => _ = refused.fetch_add(1, Ordering::SeqCst),
                            Err(error) => panic!("{error}"),
                        }
                        // Gives back whatever it has.
                        runtime().block_on(taker.take(&BTreeSet::new())).unwrap();
                    }
                });
            }
        });
        prop_assert_eq!(twice.into_inner(), 0);
    }
}

/// Where the other process of the next test finds the state directory.
const ROOT_OF_THE_CHILD: &str = "MICRUN_TEST_RESERVATIONS";

/// Two processes ask for the same core, again and again. Who has it makes a file that must not be there.
#[test]
fn two_processes_never_get_the_same_core() {
    const TEST: &str = "two_processes_never_get_the_same_core";
    if let Some(root) = std::env::var_os(ROOT_OF_THE_CHILD) {
        let id = format!("p{}", std::process::id());
        println!("got it {} times", got_the_core(Path::new(&root), &id));
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("state")).unwrap();
    let child = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", TEST, "--nocapture"]).env(ROOT_OF_THE_CHILD, root.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for process in [child(), child()] {
        let output = process.wait_with_output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{text}");
        assert!(text.contains("got it 40 times"), "{text}");
    }
}

/// Until it was had so many times, refusals not counted.
fn got_the_core(root: &Path, id: &str) -> usize {
    let taker = Taker::new(&root.join("state"), "processes", id);
    let (core, mark) = (BTreeSet::from([1]), root.join("core-1"));
    let (begin, mut had) = (Instant::now(), 0);
    while had < 40 {
        match runtime().block_on(taker.take(&core)) {
            Ok(()) => {
                OpenOptions::new().write(true).create_new(true).open(&mark).unwrap();
                thread::yield_now();
                fs::remove_file(&mark).unwrap();
                had += 1;
            }
            Err(ReservationError::Core { holder, .. }) => {
                assert_ne!(holder, taker.key);
                assert!(begin.elapsed() < SOON, "{holder} died with it, after this one had it {had} times");
            }
            Err(error) => panic!("{error}"),
        }
        runtime().block_on(taker.take(&BTreeSet::new())).unwrap();
    }
    had
}

#[tokio::test]
async fn what_a_dead_shim_left_is_held_until_it_is_deleted() {
    let root = tempfile::tempdir().unwrap();
    let core = BTreeSet::from([2]);
    let dead = Taker::new(root.path(), "k8s.io", "dead");
    dead.take(&core).await.unwrap();
    drop(dead);
    let other = Taker::new(root.path(), "default", "other");
    let error = other.take(&core).await.unwrap_err();
    assert!(error.to_string().starts_with("core 2 belongs to container k8s.io/dead; "), "{error}");
    other.store.all().unwrap().iter().find(|(key, _)| key.id.as_str() == "dead").unwrap().1.remove().unwrap();
    other.take(&core).await.unwrap();
}

#[tokio::test]
async fn while_nobody_knows_what_a_container_has_nobody_gets_anything() {
    let root = tempfile::tempdir().unwrap();
    let broken = Taker::new(root.path(), "default", "broken");
    broken.take(&BTreeSet::from([2])).await.unwrap();
    let file = broken.entry.dir().join("state.json");
    let whole = fs::read(&file).unwrap();
    let other = Taker::new(root.path(), "default", "other");
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..cut]).unwrap();
        let error = other.take(&BTreeSet::from([3])).await.unwrap_err();
        assert!(matches!(error, ReservationError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains("default/broken"), "{error}");
        assert!(error.to_string().contains("delete that container"), "{error}");
    }
    other.take(&BTreeSet::new()).await.unwrap();
    broken.entry.remove().unwrap();
    other.take(&BTreeSet::from([2, 3])).await.unwrap();
}

#[tokio::test]
async fn a_refusal_leaves_what_was_there() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (Taker::new(root.path(), "default", "a"), Taker::new(root.path(), "default", "b"));
    first.take(&BTreeSet::from([1])).await.unwrap();
    second.take(&BTreeSet::from([2])).await.unwrap();
    assert!(second.take(&BTreeSet::from([1, 3])).await.is_err());
    assert_eq!(second.entry.claims().unwrap(), [Claim::Core(2)]);
    first.take(&BTreeSet::from([3])).await.unwrap();
}

#[tokio::test]
async fn a_hanging_process_with_the_lock_is_told_of() {
    let root = tempfile::tempdir().unwrap();
    let taker = Taker::new(root.path(), "default", "a");
    let _lock = taker.store.try_lock().unwrap().unwrap();
    let error = taker.take(&BTreeSet::from([1])).await.unwrap_err();
    assert!(matches!(error, ReservationError::Locked(_)), "{error}");
}

fn claiming(claims: &[Claim]) -> Script {
    Script { claims: claims.to_vec(), ..Script::default() }
}

#[tokio::test]
async fn the_second_taker_is_refused_until_the_first_is_deleted() {
    let shim = Shim::start(Echo::with(claiming(&[Claim::Core(1)]))).await;
    shim.run("a").await;
    let (code, text) = refusal(shim.create("b", &shim.bundle("b")).await);
    assert_eq!(code, Code::RESOURCE_EXHAUSTED);
    assert!(text.contains("container test/b: core 1 belongs to container test/a; delete"), "{text}");
    assert!(!shim.state_dir("b").exists(), "nothing is left of the second");

    shim.task.kill(soon(), &kill("a", 9)).await.unwrap();
    shim.task.wait(soon(), &support::wait("a")).await.unwrap();
    let (_, text) = refusal(shim.create("b", &shim.bundle("b")).await);
    assert!(text.contains("test/a"), "a guest that ended is still somebody's: {text}");
    shim.task.delete(soon(), &delete("a")).await.unwrap();
    shim.run("b").await;
}

#[tokio::test]
async fn of_two_at_once_one_is_made() {
    let shim = Shim::start(Echo::with(claiming(&[Claim::Coprocessor("m4".to_owned())]))).await;
    let (a, b) = (shim.bundle("a"), shim.bundle("b"));
    let (first, second) = tokio::join!(shim.create("a", &a), shim.create("b", &b));
    assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|ok| **ok).count(), 1);
}

#[tokio::test]
async fn memory_is_promised_once_and_after_the_start_the_hypervisor_counts_it() {
    let free = FreeMemory { guests: BTreeSet::new(), free: Mib(100) };
    let script = Script { free: Some(free), ..claiming(&[Claim::Memory(Mib(60))]) };
    let shim = Shim::start(Echo::with(script)).await;
    shim.create("a", &shim.bundle("a")).await.unwrap();
    let (code, text) = refusal(shim.create("b", &shim.bundle("b")).await);
    assert_eq!(code, Code::RESOURCE_EXHAUSTED);
    assert!(text.contains("needs 60 MiB") && text.contains("60 MiB are promised to test/a"), "{text}");
    shim.task.start(soon(), &start("a")).await.unwrap();
    shim.create("b", &shim.bundle("b")).await.unwrap();
}

#[tokio::test]
async fn a_guest_that_moves_to_other_cores_has_those_and_no_others() {
    let can = Capabilities {
        ask: false,
        force: true,
        pause: false,
        live: Live { cpu: true, memory: true },
        exit: ExitNotice::Event,
    };
    let script = Script {
        can,
        refuse_change: Some(Change::Weight(Weight::of_guest(512))),
        ..claiming(&[Claim::Core(1)])
    };
    let shim = Shim::start(Echo::with(script)).await;
    shim.run("a").await;
    let other = Taker::new(&shim.dir.path().join("state"), "k8s.io", "other");
    other.take(&BTreeSet::from([3])).await.unwrap();
    let update = async |cpu: serde_json::Value| {
        shim.task.update(soon(), &support::update("a", json!({ "cpu": cpu }))).await.map(drop)
    };
    let has = || {
        let all = other.store.all().unwrap();
        all.into_iter().find(|(key, _)| key.id.as_str() == "a").unwrap().1.claims().unwrap()
    };

    let (code, text) = refusal(update(json!({ "cpus": "2-3" })).await);
    assert_eq!(code, Code::RESOURCE_EXHAUSTED);
    assert!(text.contains("core 3 belongs to container k8s.io/other"), "{text}");
    assert_eq!(has(), [Claim::Core(1)]);
    update(json!({ "cpus": "2" })).await.unwrap();
    assert_eq!(has(), [Claim::Core(2)]);
    assert!(update(json!({ "cpus": "0-1", "shares": 2048 })).await.is_err(), "its weight cannot change");
    assert_eq!(has(), [Claim::Core(2)]);
    other.take(&BTreeSet::from([0, 1, 3])).await.unwrap();
}

#[tokio::test]
async fn a_guest_that_could_not_be_freed_keeps_what_it_has() {
    let echo = Echo::with(Script { fail_destroy: true, ..claiming(&[Claim::Core(1)]) });
    let shim = Shim::start(echo.clone()).await;
    let bundle = shim.bundle("a");
    let stdout = shim.dir.path().join("no/such/fifo").display().to_string();
    let request = CreateTaskRequest { bundle: bundle.text(), stdout, ..create_request("a") };
    let (_, text) = refusal(shim.task.create(soon(), &request).await);
    assert!(text.contains("still there: freeing an echo guest: it stays"), "{text}");
    assert_eq!(echo.daemon.guests(), ["test/a"]);
    let (_, text) = refusal(shim.create("b", &shim.bundle("b")).await);
    assert!(text.contains("core 1 belongs to container test/a"), "{text}");
}
