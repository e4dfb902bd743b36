//! What can happen to containers, and how a story is made up.

use std::fmt;
use std::time::Duration;

use micrun::pedestal::{Capabilities, ExitCause, ExitNotice, Live};
use proptest::prelude::*;

use crate::support::echo::Script;

/// The containers of a story; the last is no id at all.
const NAMES: [&str; 4] = ["a", "b", SANDBOX, "../x"];

/// The one that is a pod's sandbox, in all stories.
pub const SANDBOX: &str = "p";

/// Signals: none, three that end a guest, five that do not, the highest, and one beyond it.
const SIGNALS: [u32; 11] = [0, 1, 9, 15, 17, 18, 23, 28, 2, 64, 65];

/// What happens: a call of the engine's, or something to a guest.
#[derive(Clone)]
pub struct Step {
    pub name: &'static str,
    pub act: Act,
}

/// What is done, or happens, to a container.
#[derive(Clone, Debug)]
pub enum Act {
    Create,
    Start,
    Kill(u32),
    Pause,
    Resume,
    /// CPU shares, or nothing.
    Update(Option<u64>),
    Stats,
    State,
    Wait,
    Pids,
    Connect,
    CloseIo,
    ResizePty,
    Checkpoint,
    /// A command, to guests that have no shell.
    Exec,
    Delete,
    /// Of the shim, whatever the name.
    Shutdown,
    /// The guest ends, and its pedestal says how.
    Ends(ExitCause),
    /// The pedestal pauses the guest, unasked.
    StandsStill,
    /// And lets it go on.
    GoesOn,
    LosesItsConsole,
}

/// What guests run on.
#[derive(Clone, Debug)]
pub struct World {
    pub can: Capabilities,
    /// A guest that is asked to stop does so.
    pub obeys: bool,
    pub fails_to_start: bool,
}

/// A pedestal, and what happens on it.
#[derive(Clone)]
pub struct Story {
    pub world: World,
    pub steps: Vec<Step>,
}

impl World {
    pub fn script(&self) -> Script {
        Script { can: self.can, obeys: self.obeys, fail_start: self.fails_to_start, ..Script::default() }
    }

    /// What a sandbox is, whatever the guests run on: it takes every Update, too.
    pub fn of_sandbox() -> World {
        let (exit, live) = (ExitNotice::Never, Live { cpu: true, memory: true });
        let can = Capabilities { ask: false, force: true, pause: false, live, exit };
        World { can, obeys: true, fails_to_start: false }
    }

    /// Guests that cannot be forced obey here: those that do not keep everyone waiting for two seconds, and
    /// tests/pedestal.rs has them.
    fn any() -> impl Strategy<Value = World> {
        let exit = prop_oneof![
            4 => Just(ExitNotice::Event),
            1 => Just(ExitNotice::Poll(Duration::from_secs(1))),
            1 => Just(ExitNotice::Never),
        ];
        let live = any::<bool>().prop_map(|cpu| Live { cpu, memory: false });
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.1));
        (flags, exit, live).prop_map(|((ask, force, pause, obeys, fails_to_start), exit, live)| World {
            can: Capabilities { ask: ask || !force, force, pause, live, exit },
            obeys: obeys || !force,
            fails_to_start,
        })
    }
}

impl Step {
    /// Something at random; what moves a container on comes more often.
    fn any() -> impl Strategy<Value = Step> {
        let name = prop_oneof![8 => Just(0), 5 => Just(1), 3 => Just(2), 1 => Just(3)];
        let cause = prop_oneof![
            Just(ExitCause::PoweredOff),
            any::<u8>().prop_map(ExitCause::Code),
            Just(ExitCause::Reset),
            Just(ExitCause::Crashed("a fault".to_owned())),
            Just(ExitCause::Failed("no pedestal".to_owned())),
        ];
        let shares = prop::option::of(prop::sample::select(vec![512, 1024, 2048]));
        let act = prop_oneof![
            9 => Just(Act::Create),
            9 => Just(Act::Start),
            6 => prop::sample::select(SIGNALS.to_vec()).prop_map(Act::Kill),
            3 => Just(Act::Pause),
            3 => Just(Act::Resume),
            2 => shares.prop_map(Act::Update),
            1 => Just(Act::Stats),
            1 => Just(Act::State),
            2 => Just(Act::Wait),
            1 => Just(Act::Pids),
            1 => Just(Act::Connect),
            1 => Just(Act::CloseIo),
            1 => Just(Act::ResizePty),
            1 => Just(Act::Checkpoint),
            1 => Just(Act::Exec),
            6 => Just(Act::Delete),
            1 => Just(Act::Shutdown),
            3 => cause.prop_map(Act::Ends),
            1 => Just(Act::StandsStill),
            1 => Just(Act::GoesOn),
            1 => Just(Act::LosesItsConsole),
        ];
        (name, act).prop_map(|(name, act)| Step { name: NAMES[name], act })
    }
}

impl Story {
    pub fn any() -> impl Strategy<Value = Story> {
        let steps = prop::collection::vec(Step::any(), 1..40);
        (World::any(), steps).prop_map(|(world, steps)| Story { world, steps })
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.name, self.act)
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "guests: {:?}", self.world)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}
