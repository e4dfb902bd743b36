//! Plays a story with a real shim, and looks after each step whether everything is as the model says.

use std::collections::HashMap;

use containerd_shim_protos::api::{
    CloseIORequest, ExecProcessRequest, ForwardRequest, ResizePtyRequest, Status, WaitResponse,
};
use containerd_shim_protos::events::task::{
    TaskCreate, TaskDelete, TaskExit, TaskPaused, TaskResumed, TaskStart,
};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc;
use micrun::pedestal::{Event, ExitNotice};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::pure::{Answer, Model, Phase, Told};
use crate::story::{Act, SANDBOX, Step, Story};
use crate::support::echo::Echo;
use crate::support::{self, Shim, kill, soon, start};

/// What the shim did and the model did not say.
pub type Difference = String;

/// Plays it.
///
/// # Errors
///
/// The first difference.
pub async fn play(story: &Story) -> Result<(), Difference> {
    let echo = Echo::with(story.world.script());
    let shim = Shim::start(echo.clone()).await;
    let mut player = Player { shim, echo, model: Model::new(story.world.clone()), waiting: HashMap::new() };
    for step in &story.steps {
        player
            .step(step, story.world.can.exit)
            .await
            .map_err(|difference| format!("{step:?}: {difference}"))?;
    }
    player.compare_events().await
}

struct Player {
    shim: Shim,
    echo: Echo,
    model: Model,
    /// Who waits for the end of a container.
    waiting: HashMap<&'static str, Vec<JoinHandle<ttrpc::Result<WaitResponse>>>>,
}

impl Player {
    async fn step(&mut self, step: &Step, notice: ExitNotice) -> Result<(), Difference> {
        let expected = self.model.step(step);
        let answer = match &step.act {
            Act::Wait if expected == Answer::Later => self.begin_to_wait(step.name),
            Act::Ends(_) if notice == ExitNotice::Never => Answer::Nothing,
            act => match event(act) {
                Some(event) => self.happens(step.name, event).await,
                None => self.call(step).await?,
            },
        };
        same("the answer", &answer, &expected)?;
        self.compare_ends().await?;
        self.compare_states().await
    }

    fn begin_to_wait(&mut self, name: &'static str) -> Answer {
        let task = self.shim.task.clone();
        let wait = tokio::spawn(async move { task.wait(soon(), &support::wait(name)).await });
        self.waiting.entry(name).or_default().push(wait);
        Answer::Later
    }

    async fn happens(&self, name: &str, event: Event) -> Answer {
        self.echo.daemon.happens(&format!("test/{name}"), event);
        // Goes through the container's own queue, behind the event.
        let _ = self.shim.task.stats(soon(), &support::stats(name)).await;
        Answer::Nothing
    }

    async fn call(&self, Step { name, act }: &Step) -> Result<Answer, Difference> {
        let (task, id) = (&self.shim.task, (*name).to_owned());
        let done = match act {
            Act::Create => {
                let bundle = self.shim.bundle(name);
                if *name == SANDBOX {
                    bundle.annotate(&[("io.kubernetes.cri.container-type", "sandbox")]);
                }
                self.shim.create(name, &bundle).await.map(drop)
            }
            Act::Start => task.start(soon(), &start(name)).await.map(drop),
            Act::Kill(signal) => task.kill(soon(), &kill(name, *signal)).await.map(drop),
            Act::Pause => task.pause(soon(), &support::pause(name)).await.map(drop),
            Act::Resume => task.resume(soon(), &support::resume(name)).await.map(drop),
            Act::Update(shares) => {
                let asked = shares.map_or(json!({}), |shares| json!({ "cpu": { "shares": shares } }));
                task.update(soon(), &support::update(name, asked)).await.map(drop)
            }
            Act::Stats => task.stats(soon(), &support::stats(name)).await.map(drop),
            Act::State => self.shim.state(name).await.map(drop),
            Act::Pids => task.pids(soon(), &support::pids(name)).await.map(|pids| {
                assert_eq!(pids.processes.len(), 1, "clients take none for a leaked shim");
            }),
            Act::Connect => task.connect(soon(), &support::connect(name)).await.map(|connected| {
                assert_ne!(connected.task_pid, 0, "clients do not kill 0");
            }),
            Act::CloseIo => {
                let request = CloseIORequest { id, stdin: true, ..Default::default() };
                task.close_io(soon(), &request).await.map(drop)
            }
            Act::ResizePty => {
                let request = ResizePtyRequest { id, width: 80, height: 24, ..Default::default() };
                task.resize_pty(soon(), &request).await.map(drop)
            }
            Act::Checkpoint => task.checkpoint(soon(), &support::checkpoint(name)).await.map(drop),
            Act::Exec => {
                let request = ExecProcessRequest { id, exec_id: "e".to_owned(), ..Default::default() };
                task.exec(soon(), &request).await.map(drop)
            }
            Act::Shutdown => task.shutdown(soon(), &support::shutdown(name)).await.map(drop),
            Act::Wait => {
                let exit = task.wait(soon(), &support::wait(name)).await;
                return answered(exit.map(|exit| Answer::Exit(exit.exit_status)));
            }
            Act::Delete => {
                let deleted = task.delete(soon(), &support::delete(name)).await;
                return answered(deleted.map(|deleted| Answer::Exit(deleted.exit_status)));
            }
            Act::Ends(_) | Act::StandsStill | Act::GoesOn | Act::LosesItsConsole => {
                return Ok(Answer::Nothing);
            }
        };
        answered(done.map(|()| Answer::Done))
    }

    /// Where a guest has ended, whoever waits is told, and later ones are.
    async fn compare_ends(&mut self) -> Result<(), Difference> {
        let told: Vec<Told> =
            self.model.told.iter().filter(|(topic, ..)| *topic == "exit").cloned().collect();
        for (name, waiting) in &mut self.waiting {
            let there = self.model.containers().find(|(other, _)| other == name).map(|(_, phase)| phase);
            if there.is_some_and(|phase| !matches!(phase, Phase::Stopped(_))) {
                continue;
            }
            let last = told.iter().rev().find(|(_, other, _)| other == name);
            let status = last.and_then(|(.., status)| *status);
            for wait in waiting.drain(..) {
                let exit = wait.await.unwrap().map_err(|error| format!("a Wait from before: {error}"))?;
                same("the answer to a Wait from before", &Some(exit.exit_status), &status)?;
            }
        }
        for (name, phase) in self.model.containers() {
            if let Phase::Stopped(status) = phase {
                let exit = self.shim.task.wait(soon(), &support::wait(name)).await;
                same(&format!("{name}'s end"), &exit.map(|exit| exit.exit_status).ok(), &Some(status))?;
            }
        }
        Ok(())
    }

    async fn compare_states(&self) -> Result<(), Difference> {
        let mut guests = self.echo.daemon.guests();
        guests.sort();
        let names = self.model.containers().map(|(name, _)| name).filter(|name| *name != SANDBOX);
        let names: Vec<String> = names.map(|name| format!("test/{name}")).collect();
        same("the guests that there are", &guests, &names)?;
        for (name, phase) in self.model.containers() {
            let state = self.shim.state(name).await.map_err(|error| format!("{name}'s state: {error}"))?;
            let (status, exit) = match phase {
                Phase::Created => (Status::CREATED, None),
                Phase::Running => (Status::RUNNING, None),
                Phase::Paused => (Status::PAUSED, None),
                Phase::Stopped(exit) => (Status::STOPPED, Some(exit)),
            };
            same(&format!("{name}'s state"), &state.status.enum_value_or_default(), &status)?;
            same(&format!("{name}'s exit status"), &state.exit_status, &exit.unwrap_or(0))?;
            same(&format!("{name} has ended"), &state.exited_at.is_some(), &exit.is_some())?;
            same(&format!("{name}'s pid"), &state.pid, &std::process::id())?;
        }
        Ok(())
    }

    async fn compare_events(&self) -> Result<(), Difference> {
        self.shim.containerd.wait_for(self.model.told.len()).await;
        let told: Vec<Told> = self.shim.containerd.told().iter().map(read).collect();
        same("what subscribers were told", &told, &self.model.told)
    }
}

fn event(act: &Act) -> Option<Event> {
    match act {
        Act::Ends(cause) => Some(Event::Exited(cause.clone())),
        Act::StandsStill => Some(Event::Paused),
        Act::GoesOn => Some(Event::Resumed),
        Act::LosesItsConsole => Some(Event::ConsoleLost("a cable".to_owned())),
        _ => None,
    }
}

fn answered(result: ttrpc::Result<Answer>) -> Result<Answer, Difference> {
    match result {
        Ok(answer) => Ok(answer),
        Err(ttrpc::Error::RpcStatus(status)) => Ok(Answer::Refused(status.code())),
        Err(other) => Err(format!("no answer: {other}")),
    }
}

fn read(request: &ForwardRequest) -> Told {
    let event = &request.envelope.event.value;
    macro_rules! of {
        ($kind:ident) => {
            $kind::parse_from_bytes(event).unwrap().container_id
        };
    }
    match request.envelope.topic.as_str() {
        "/tasks/create" => ("create", of!(TaskCreate), None),
        "/tasks/start" => ("start", of!(TaskStart), None),
        "/tasks/paused" => ("paused", of!(TaskPaused), None),
        "/tasks/resumed" => ("resumed", of!(TaskResumed), None),
        "/tasks/exit" => {
            let exit = TaskExit::parse_from_bytes(event).unwrap();
            assert_eq!(exit.id, exit.container_id, "the container itself has ended");
            ("exit", exit.id, Some(exit.exit_status))
        }
        "/tasks/delete" => {
            let delete = TaskDelete::parse_from_bytes(event).unwrap();
            ("delete", delete.container_id, Some(delete.exit_status))
        }
        _ => ("another topic", String::new(), None),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Result<(), Difference> {
    match is == should {
        true => Ok(()),
        false => Err(format!("{what} is {is:?} and should be {should:?}")),
    }
}
