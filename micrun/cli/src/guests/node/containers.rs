//! The container of a guest, and the labels by which containerd's restart monitor looks after it.

use micrun_unix_grpc::containerd::containers::{
    self, Container, OneContainer, OneContainerRequest, Runtime, UpdateContainerRequest,
};
use micrun_unix_grpc::containerd::{Any, FieldMask, Nothing};

use super::images::{GUEST, Labels};
use super::{Node, NodeError, optional, spec};
use crate::guests::model::{Generation, Restart};

/// The label with [`Generation::id`].
pub const GENERATION: &str = "org.openeuler.micrun.guest.generation";
/// What the restart monitor goes by (core/runtime/restart in containerd). Every one of its labels begins so.
const MONITOR: &str = "containerd.io/restart.";
/// The runtime's name.
const RUNTIME: &str = "io.containerd.mica.v2";
const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// The name of the root file system of a version.
pub fn snapshot_key(guest: &str, generation: &Generation) -> String {
    format!("micrun-guest-{guest}-{}", generation.id())
}

/// The labels that the restart monitor goes by; none for a guest that it leaves alone.
pub fn monitor_labels(restart: Restart, log: &str) -> Labels {
    let mut labels = Labels::new();
    if let Some(policy) = restart.policy() {
        let mut add = |key: &str, value: &str| labels.insert(format!("{MONITOR}{key}"), value.to_owned());
        add("status", "running");
        add("policy", &policy);
        if !log.is_empty() {
            add("loguri", log);
        }
    }
    labels
}

/// Whether these labels are the monitor's concern in the same way; how often it acted does not matter.
pub fn is_monitored_as(labels: &Labels, wanted: &Labels) -> bool {
    let of_monitor = labels.iter().filter(|(key, _)| key.starts_with(MONITOR) && !key.ends_with(".count"));
    of_monitor.eq(wanted.iter())
}

/// Whether the monitor starts such a container as soon as containerd runs. Where it asks for the last exit status, it does not:
/// after a boot there is none.
pub fn is_started_at_boot(labels: &Labels) -> bool {
    labels.get(&format!("{MONITOR}policy")).is_some_and(|policy| policy == "always")
}

impl Node {
    /// The container of this name.
    ///
    /// # Errors
    ///
    /// If containerd does not answer.
    pub fn container(&self, name: &str) -> Result<Option<Container>, NodeError> {
        let request = OneContainerRequest { id: name.to_owned() };
        let answer =
            self.call(containers::SERVICE, "Get", &request, || format!("look for the container {name}"));
        Ok(optional::<OneContainer>(answer)?.and_then(|answer| answer.container))
    }

    /// Makes a guest's container. Its root file system must be prepared.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub fn create_container(&self, name: &str, generation: &Generation) -> Result<(), NodeError> {
        let value = spec::of(&self.namespace, name, generation).to_string().into_bytes();
        let labels = [(GUEST, name), (GENERATION, &generation.id())];
        let container = Container {
            id: name.to_owned(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            image: format!("{}@{}", super::images::repository(name), generation.digest),
            runtime: Some(Runtime { name: RUNTIME.to_owned() }),
            spec: Some(Any { type_url: SPEC.to_owned(), value }),
            snapshotter: self.snapshotter.clone(),
            snapshot: snapshot_key(name, generation),
        };
        let request = OneContainer { container: Some(container) };
        self.call::<Nothing>(containers::SERVICE, "Create", &request, || format!("make the container {name}"))
            .map(drop)
    }

    /// Removes a container without a task.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub fn delete_container(&self, name: &str) -> Result<(), NodeError> {
        let request = OneContainerRequest { id: name.to_owned() };
        let answer = self.call::<Nothing>(containers::SERVICE, "Delete", &request, || {
            format!("remove the container {name}")
        });
        optional(answer).map(drop)
    }

    /// Gives a container to the restart monitor, or, with no labels, takes it away from it.
    ///
    /// # Errors
    ///
    /// If containerd refuses.
    pub fn set_monitor(&self, container: &Container, wanted: &Labels) -> Result<(), NodeError> {
        let mut labels = container.labels.clone();
        labels.retain(|key, _| !key.starts_with(MONITOR));
        labels.extend(wanted.clone());
        if labels == container.labels {
            return Ok(());
        }
        let container = Container { labels, ..container.clone() };
        let doing = || format!("change the labels of {}", container.id);
        let mask = FieldMask { paths: vec!["labels".to_owned()] };
        let request = UpdateContainerRequest { container: Some(container.clone()), mask: Some(mask) };
        self.call::<Nothing>(containers::SERVICE, "Update", &request, doing).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monitor_is_told_what_was_declared() {
        assert!(monitor_labels(Restart::No, "file:///x").is_empty());
        let labels = monitor_labels(Restart::OnFailure(Some(3)), "file:///x");
        assert_eq!(labels["containerd.io/restart.policy"], "on-failure:3");
        assert_eq!(labels["containerd.io/restart.loguri"], "file:///x");
        let mut found = labels.clone();
        found.insert(GUEST.to_owned(), "motor".to_owned());
        found.insert("containerd.io/restart.count".to_owned(), "2".to_owned());
        assert!(is_monitored_as(&found, &labels));
        assert!(!is_monitored_as(&found, &Labels::new()));
    }
}
