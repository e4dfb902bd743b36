//! The points, and what a test can have happen there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// What is to happen where: `kill` or `hold`, a blank, and the name of a point. Taken by the first process that
/// passes there.
const ARMED: &str = "/run/micrun-crash-point";

/// Its name afterwards. Who is held goes on when it is removed.
const REACHED: &str = "/run/micrun-crash-point.reached";

macro_rules! points {
    ($($point:ident $name:literal,)*) => {
        /// A step that this process has just taken.
        #[derive(Clone, Copy)]
        pub(crate) enum Point {
            $($point,)*
        }

        impl Point {
            fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)*
                }
            }
        }

        /// All names, in the order of a container's life, a line each.
        pub fn list() -> String {
            [$($name, "\n",)*].concat()
        }
    };
}

// A point that is nowhere in the code is a warning of the compiler's; one that no test reaches fails the test.
points! {
    StartAddressed "start: address written",
    StartBound "start: socket bound",
    StartSpawned "start: server started",
    ServeBegun "serve: begun",
    ServeListening "serve: listening",
    CreateAddressed "create: address written",
    CreateReserved "create: directory reserved",
    CreateMounted "create: image mounted",
    CreateCopied "create: firmware copied",
    StateWritten "create: state written under another name",
    CreateClaimed "create: state saved, with claims",
    NetworkTapped "network: tap made",
    NetworkCoupled "network: interface coupled",
    EmulatorStarted "create: emulator started",
    EmulatorReady "create: emulator ready",
    CreateMade "create: guest made",
    CreateRecorded "create: record saved",
    CreateConnected "create: streams open",
    CreateTold "create: event queued",
    StartRuns "task start: guest runs",
    StartTold "task start: event queued",
    EventTaken "event: containerd has it",
    Paused "pause: guest paused",
    PauseTold "pause: event queued",
    Resumed "resume: guest resumed",
    KillSent "kill: guest killed",
    ExitDrained "exit: console drained",
    ExitSet "exit: state set",
    ExitTold "exit: event queued",
    DeleteDestroyed "task delete: guest destroyed",
    DeleteRemoved "task delete: files removed",
    DeleteClosed "task delete: streams closed",
    DeleteTold "task delete: event queued",
    ShutdownAsked "shutdown: asked for",
    ShutdownUnbound "shutdown: socket removed",
    ShutdownFlushed "shutdown: last events told",
    ActionFreed "delete action: guest freed",
    ActionRemoved "delete action: files removed",
    ActionUnbound "delete action: socket removed",
    RecoveryFreed "create again: earlier guest freed",
    RecoveryCleared "create again: earlier files removed",
}

/// Does what was ordered for this point, if anything was.
pub(crate) fn pass(point: Point) {
    let Ok(order) = fs::read_to_string(ARMED) else { return };
    let Some((what, name)) = order.split_once(' ') else { return };
    if name != point.name() || fs::rename(ARMED, REACHED).is_err() {
        return;
    }
    if what == "kill" {
        // Cannot fail; and if it did, the test would see a process that lives.
        let _ = kill_process(getpid(), Signal::KILL);
    }
    while Path::new(REACHED).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
