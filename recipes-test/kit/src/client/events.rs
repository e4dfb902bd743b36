//! containerd's event service: what its subscribers see, in the order in which they see it.

use anyhow::{Context as _, Result, ensure};
use micrun_unix_grpc::containerd::events::{self, Envelope, OfProcess, OfTask, SubscribeRequest};
use micrun_unix_grpc::{Call, Channel};
use prost::Message;

use super::{Client, PATIENCE};
use crate::Containerd;

/// An event of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Such as `/tasks/exit`.
    pub topic: String,
    /// The container.
    pub container: String,
    /// The exec, or the container again; empty where the event is of no single process.
    pub id: String,
    /// Of an exit.
    pub status: Option<u32>,
}

/// All events of tasks from its beginning on. Those that were read stay.
pub struct Subscription {
    channel: Channel,
    call: Call,
    seen: Vec<Told>,
}

impl Containerd {
    /// Subscribes to the events of tasks. What happens after this returns is seen.
    ///
    /// # Errors
    /// If containerd does not answer.
    pub fn subscribe(&self) -> Result<Subscription> {
        let Client { channel } = self.client()?;
        let filter = format!(r#"namespace=={},topic~="^/tasks/""#, self.containers());
        // What this brings about itself: once it comes, nothing is missed any more.
        let mark = format!(r#"namespace=={},topic=="/namespaces/update""#, self.containers());
        let request = SubscribeRequest { filters: vec![filter, mark] };
        let call = channel.subscribe(events::SERVICE, "Subscribe", &request)?;
        let mut subscription = Subscription { channel, call, seen: Vec::new() };
        crate::wait::until("the subscription to be in place", || {
            self.run_ctr(["namespace", "label", self.containers(), "events=subscribed"])?;
            Ok(subscription.read(std::time::Duration::from_millis(200))?.then_some(()))
        })?;
        Ok(subscription)
    }
}

impl Subscription {
    /// Reads one event; whether there was one.
    fn read(&mut self, patience: std::time::Duration) -> Result<bool> {
        let envelope: Envelope = match self.channel.next(&mut self.call, patience) {
            Ok(envelope) => envelope,
            Err(micrun_unix_grpc::GrpcError::Silence(_)) => return Ok(false),
            Err(error) => return Err(error).context("containerd ended the subscription"),
        };
        self.seen.extend(told(&envelope)?);
        Ok(true)
    }

    /// Waits for an event, and gives it.
    ///
    /// # Errors
    /// If it does not come.
    pub fn wait_for(&mut self, topic: &str, container: &str) -> Result<Told> {
        let is_it = |told: &&Told| told.topic == topic && told.container == container;
        loop {
            if let Some(told) = self.seen.iter().find(is_it) {
                return Ok(told.clone());
            }
            ensure!(self.read(PATIENCE)?, "no {topic} of {container} among {:?}", self.seen);
        }
    }

    /// What subscribers have seen of a container, topics alone, up to this one.
    ///
    /// # Errors
    /// If the last one does not come.
    pub fn topics_until(&mut self, last: &str, container: &str) -> Result<Vec<String>> {
        self.wait_for(last, container)?;
        Ok(self.of(container).map(|told| told.topic.clone()).collect())
    }

    /// What subscribers have seen of a container so far.
    pub fn of(&self, container: &str) -> impl Iterator<Item = &Told> {
        self.seen.iter().filter(move |told| told.container == container)
    }
}

fn told(envelope: &Envelope) -> Result<Option<Told>> {
    let topic = envelope.topic.clone();
    let bytes = envelope.event.as_ref().map(|event| event.value.as_slice()).unwrap_or_default();
    let told = match topic.as_str() {
        "/tasks/exit" | "/tasks/exec-added" | "/tasks/exec-started" => {
            let OfProcess { container, id, status } = OfProcess::decode(bytes)?;
            let status = (topic == "/tasks/exit").then_some(status);
            Told { topic, container, id, status }
        }
        _ if topic.starts_with("/tasks/") => {
            let OfTask { container } = OfTask::decode(bytes)?;
            Told { topic, container, id: String::new(), status: None }
        }
        _ => return Ok(None),
    };
    Ok(Some(told))
}
