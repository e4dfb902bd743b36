//! The model: containers as a few fields, and what each call ought to answer. It knows nothing of the shim's code,
//! but the words for what can happen.

use std::collections::BTreeMap;

use containerd_shim_protos::ttrpc::Code;
use micrun::pedestal::{ExitCause, ExitNotice};

use crate::story::{Act, SANDBOX, Step, World};

/// What a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Created,
    Running,
    Paused,
    Stopped(u32),
}

/// What a call answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// Wait's, and Delete's.
    Exit(u32),
    /// Wait, of a guest that has not ended: the answer comes when it does.
    Later,
    Refused(Code),
    /// Not a call, or none that anybody sees.
    Nothing,
}

/// What subscribers are told: the topic's last word, the container, and a status where it has ended.
pub type Told = (&'static str, String, Option<u32>);

#[derive(Debug)]
struct Container {
    phase: Phase,
    /// The signal of the last Kill that counts.
    killed: Option<u32>,
    /// 1024 are one weight's worth, which a guest has unless somebody says otherwise.
    shares: u64,
}

/// All of a shim.
pub struct Model {
    world: World,
    sandbox: World,
    containers: BTreeMap<&'static str, Container>,
    ending: bool,
    pub told: Vec<Told>,
}

impl Model {
    pub fn new(world: World) -> Model {
        let sandbox = World::of_sandbox();
        Model { world, sandbox, containers: BTreeMap::new(), ending: false, told: Vec::new() }
    }

    /// What a container runs on.
    fn world(&self, name: &str) -> &World {
        if name == SANDBOX { &self.sandbox } else { &self.world }
    }

    /// The containers that there are.
    pub fn containers(&self) -> impl Iterator<Item = (&'static str, Phase)> {
        self.containers.iter().map(|(name, container)| (*name, container.phase))
    }

    /// Does one step and says what it answers.
    pub fn step(&mut self, step: &Step) -> Answer {
        match step.act {
            Act::Shutdown => {
                self.ending |= self.containers.is_empty();
                Answer::Done
            }
            Act::Create => self.create(step.name),
            _ => match self.containers.get(step.name).map(|container| container.phase) {
                Some(phase) => self.act(step.name, &step.act, phase),
                None if is_call(&step.act) => Answer::Refused(Code::NOT_FOUND),
                None => Answer::Nothing,
            },
        }
    }

    fn create(&mut self, name: &'static str) -> Answer {
        if name.contains('/') {
            return Answer::Refused(Code::INVALID_ARGUMENT);
        }
        if self.ending {
            return Answer::Refused(Code::UNAVAILABLE);
        }
        if self.containers.contains_key(name) {
            return Answer::Refused(Code::ALREADY_EXISTS);
        }
        let container = Container { phase: Phase::Created, killed: None, shares: 1024 };
        self.containers.insert(name, container);
        self.tell("create", name, None);
        Answer::Done
    }

    fn act(&mut self, name: &'static str, act: &Act, phase: Phase) -> Answer {
        use Phase::{Created, Paused, Running, Stopped};
        match (act, phase) {
            (Act::Start, Created) if self.world(name).fails_to_start => {
                self.force(name);
                Answer::Refused(Code::INTERNAL)
            }
            (Act::Start, Created) => self.turn(name, Running, "start"),
            (Act::Pause, Running) if !self.world(name).can.pause => Answer::Refused(Code::UNIMPLEMENTED),
            (Act::Pause, Running) => self.turn(name, Paused, "paused"),
            (Act::Resume, Paused) => self.turn(name, Running, "resumed"),
            (Act::StandsStill | Act::GoesOn, _) if name == SANDBOX => Answer::Nothing,
            (Act::StandsStill, Running) => self.turn(name, Paused, "paused").into_nothing(),
            (Act::GoesOn, Paused) => self.turn(name, Running, "resumed").into_nothing(),
            (Act::Kill(_), Stopped(_)) => Answer::Refused(Code::NOT_FOUND),
            (Act::Kill(signal), _) => self.kill(name, *signal, phase),
            (Act::Update(shares), Created | Running | Paused) => self.update(name, *shares),
            (Act::Delete, Created | Stopped(_)) => self.delete(name, phase),
            // Nobody tells of it, and so nobody knows.
            (Act::Ends(_), _) if self.world(name).can.exit == ExitNotice::Never => Answer::Nothing,
            (Act::Ends(cause), Created | Running | Paused) => {
                self.ends(name, cause);
                Answer::Nothing
            }
            (Act::Wait, Stopped(status)) => Answer::Exit(status),
            (Act::Wait, _) => Answer::Later,
            (Act::Checkpoint, _) | (Act::Exec, Running) => Answer::Refused(Code::UNIMPLEMENTED),
            (Act::Stats | Act::State | Act::Pids | Act::Connect | Act::CloseIo | Act::ResizePty, _) => {
                Answer::Done
            }
            (act, _) if is_call(act) => Answer::Refused(Code::FAILED_PRECONDITION),
            _ => Answer::Nothing,
        }
    }

    fn turn(&mut self, name: &'static str, phase: Phase, topic: &'static str) -> Answer {
        self.container(name).phase = phase;
        self.tell(topic, name, None);
        Answer::Done
    }

    fn kill(&mut self, name: &'static str, signal: u32, phase: Phase) -> Answer {
        match signal {
            0 | 17 | 18 | 23 | 28 => return Answer::Done,
            1..=64 => {}
            _ => return Answer::Refused(Code::INVALID_ARGUMENT),
        }
        self.container(name).killed = Some(signal);
        let World { can, obeys, .. } = *self.world(name);
        let never_tells = can.exit == ExitNotice::Never;
        let listens = can.ask && phase == Phase::Running && signal != 9;
        if !listens || obeys || never_tells {
            self.force(name);
        }
        Answer::Done
    }

    /// The guest is ended, one way or the other: those that cannot be forced obey in these worlds.
    fn force(&mut self, name: &'static str) {
        self.ends(name, &ExitCause::Stopped);
    }

    fn ends(&mut self, name: &'static str, cause: &ExitCause) {
        let container = self.container(name);
        let status = match (container.killed, cause) {
            (Some(signal), _) => 128 + signal,
            (None, ExitCause::PoweredOff) => 0,
            (None, ExitCause::Code(code)) => u32::from(*code),
            (None, _) => 255,
        };
        container.phase = Phase::Stopped(status);
        self.tell("exit", name, Some(status));
    }

    fn update(&mut self, name: &'static str, shares: Option<u64>) -> Answer {
        let live = self.world(name).can.live.cpu;
        let container = self.container(name);
        match shares {
            Some(shares) if shares != container.shares && !live => Answer::Refused(Code::UNIMPLEMENTED),
            asked => {
                container.shares = asked.unwrap_or(container.shares);
                Answer::Done
            }
        }
    }

    fn delete(&mut self, name: &'static str, phase: Phase) -> Answer {
        if phase == Phase::Created {
            self.container(name).killed = Some(9);
            self.force(name);
        }
        let Some(Container { phase: Phase::Stopped(status), .. }) = self.containers.remove(name) else {
            unreachable!("only what has ended is deleted");
        };
        self.tell("delete", name, Some(status));
        Answer::Exit(status)
    }

    fn container(&mut self, name: &'static str) -> &mut Container {
        self.containers.get_mut(name).unwrap()
    }

    fn tell(&mut self, topic: &'static str, name: &str, status: Option<u32>) {
        self.told.push((topic, name.to_owned(), status));
    }
}

impl Answer {
    /// The same without anybody who asked.
    fn into_nothing(self) -> Answer {
        Answer::Nothing
    }
}

/// Whether the engine asks for it, or it happens by itself.
pub fn is_call(act: &Act) -> bool {
    !matches!(act, Act::Ends(_) | Act::StandsStill | Act::GoesOn | Act::LosesItsConsole)
}
