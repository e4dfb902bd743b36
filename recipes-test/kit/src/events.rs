//! containerd's event stream, as `ctr events` prints it: the one place where `ctr` shows a task's exit status.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{Console, Containerd, wait};

/// Follows all events from its start on.
#[derive(Debug)]
pub struct Events {
    ctr: Console,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Such as `/tasks/exit`.
    pub topic: String,
    /// Its fields.
    pub body: Value,
}

impl Events {
    /// Subscribes, and returns when the subscription is in place: a label of the namespace is set until its event comes.
    pub(crate) fn follow(containerd: &Containerd) -> Result<Self> {
        let events = Self { ctr: Console::pipes(containerd, &["events"])? };
        let namespace = containerd.containers();
        wait::until("containerd to send events", || {
            containerd.run_ctr(["namespace", "label", namespace, "events=followed"])?;
            Ok(events.ctr.seen().contains("/namespaces/update").then_some(()))
        })?;
        Ok(events)
    }

    /// The PID of `ctr events` outside of the namespace.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.ctr.pid()
    }

    /// The events of a task so far, in the order they came.
    pub fn of_task(&self, id: &str) -> Vec<Event> {
        let seen = self.ctr.seen();
        let whole = seen.rfind('\n').map_or("", |end| &seen[..end]);
        whole.lines().filter_map(parse).filter(|event| event.body["container_id"] == id).collect()
    }

    /// Waits for the task's exit and returns its exit status.
    ///
    /// # Errors
    /// If it does not end, or the event has no status.
    pub fn exit_status(&self, id: &str) -> Result<i32> {
        let exit = wait::until(&format!("task {id} to end"), || {
            Ok(self
                .of_task(id)
                .into_iter()
                .find(|event| event.topic == "/tasks/exit" && event.body["id"] == id))
        })?;
        match exit.body.get("exit_status") {
            // ctr leaves out a field that is 0.
            None => Ok(0),
            Some(status) => {
                let status = status.as_i64().and_then(|status| i32::try_from(status).ok());
                status.with_context(|| format!("the exit event shows no status: {}", exit.body))
            }
        }
    }
}

/// `2026-11-22 04:33:02.1 +0000 UTC <namespace> <topic> <json>`
fn parse(line: &str) -> Option<Event> {
    let at = line.find(" /")?;
    let (topic, body) = line[at + 1..].split_once(' ')?;
    Some(Event { topic: topic.to_owned(), body: serde_json::from_str(body).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_ctr_is_an_event() {
        let line =
            "2026-11-22 04:33:02.1 +0000 UTC ns /tasks/exit {\"container_id\":\"a\",\"exit_status\":137}";
        let event = parse(line).unwrap();
        assert_eq!(event.topic, "/tasks/exit");
        assert_eq!(event.body["exit_status"], 137);
        assert!(parse("ctr: connection refused").is_none());
    }
}
