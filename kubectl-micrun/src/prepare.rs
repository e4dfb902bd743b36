//! Has every node pull and verify the images of a workload, in pods that run no guest.
//!
//! A DaemonSet does it: the cluster itself knows which nodes its pods may run on. Its pods have the workload's runtime class, so that
//! each container is created by the shim, with everything that Create refuses; the annotation `container.verify_only` has it
//! stop before there is a guest.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::kubectl::{Error, Kubectl};
use crate::manifest::{Manifest, Workload};
use crate::tell;

/// The annotation that the shim goes by.
const VERIFY_ONLY: &str = "org.openeuler.micrun.container.verify_only";

/// The label of the pods. They have none of the workload's: no Service and no budget counts them.
const LABEL: &str = "micrun.openeuler.org/prepares";

/// How often the cluster is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often a container is tried that its node refuses. Pulling is tried until the time is over.
const TRIES: u64 = 3;

/// What of a pod decides where it runs, how its images are pulled, and whether its namespace admits it. Nothing else is taken
/// over.
const POD: [&str; 8] = [
    "hostNetwork",
    "imagePullSecrets",
    "nodeSelector",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
];

/// The resources of which a share stays: a guest that is too large for a node is refused there. Others, such as cores, belong
/// to the old guest still.
const LIMITS: [&str; 2] = ["cpu", "memory"];

/// Prepares one workload after the other.
///
/// # Errors
///
/// Where a node cannot pull or verify an image in time. The DaemonSet is gone again.
pub fn all(kubectl: &Kubectl, manifest: &Manifest, seconds: u64) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(seconds);
    for workload in &manifest.workloads {
        let daemon_set = daemon_set(workload);
        let name = name_of(workload);
        let create = workload.command(&["create", "-f", "-"]);
        kubectl.feed(&create, &daemon_set.to_string()).map_err(|error| match error {
            Error::Failed { said, .. } if said.contains("AlreadyExists") || said.contains("already exists") => format!(
                "{workload} is being prepared by somebody else, or was when they were interrupted; in that case: kubectl \
                 delete daemonset {name}"
            ),
            other => format!("{workload}: {other}"),
        })?;
        let prepared = wait(kubectl, workload, &name, end);
        // Its pods have room that the new ones may need.
        let delete =
            workload.command(&["delete", "daemonset", &name, "--cascade=foreground", "--timeout=60s"]);
        if let Err(error) = kubectl.text(&delete) {
            tell(format_args!("{workload}: what prepared it is left behind: {error}"));
        }
        prepared.map_err(|why| format!("{workload} is not prepared: {why}"))?;
    }
    Ok(())
}

fn name_of(workload: &Workload) -> String {
    format!("micrun-prepare-{}-{}", workload.kind, workload.name)
}

/// The DaemonSet for a workload.
pub fn daemon_set(workload: &Workload) -> Value {
    let template = &workload.template;
    // A label holds 63 characters; what they have to tell apart is within the first ones.
    let label: String = format!("{}-{}", workload.kind, workload.name).chars().take(60).collect();
    let label = label.trim_end_matches(['-', '.']).to_owned();
    let mut annotations = template["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.insert(VERIFY_ONLY.to_owned(), json!("yes"));
    let mut spec: Map<String, Value> = POD
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), template["spec"].get(key)?.clone())))
        .collect();
    let affinity = &template["spec"]["affinity"]["nodeAffinity"];
    if !affinity.is_null() {
        spec.insert("affinity".to_owned(), json!({ "nodeAffinity": affinity }));
    }
    spec.insert("automountServiceAccountToken".to_owned(), json!(false));
    spec.insert("enableServiceLinks".to_owned(), json!(false));
    spec.insert("terminationGracePeriodSeconds".to_owned(), json!(1));
    spec.insert("containers".to_owned(), workload.containers().map(container).collect());
    let mut metadata = json!({ "name": name_of(workload), "labels": { LABEL: label } });
    if let Some(namespace) = &workload.namespace {
        metadata["namespace"] = json!(namespace);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata,
        "spec": {
            "selector": { "matchLabels": { LABEL: label } },
            "template": { "metadata": { "labels": { LABEL: label }, "annotations": annotations }, "spec": spec },
        },
    })
}

/// A container as far as its image, and what its guest may have, are concerned.
fn container(original: &Value) -> Value {
    let limit = |name: &str| Some((name.to_owned(), original["resources"]["limits"].get(name)?.clone()));
    let limits: Map<String, Value> = LIMITS.into_iter().filter_map(limit).collect();
    let mut container = json!({
        "name": original["name"],
        "image": original["image"],
        "imagePullPolicy": "IfNotPresent",
        // The old guest has its share of the node still.
        "resources": { "limits": limits, "requests": { "cpu": "0", "memory": "0" } },
    });
    if let Some(security) = original.get("securityContext") {
        container["securityContext"] = security.clone();
    }
    container
}

fn wait(kubectl: &Kubectl, workload: &Workload, name: &str, end: Instant) -> Result<(), String> {
    let mut told = BTreeSet::new();
    loop {
        // An answer that does not come is a reason to ask again: nothing was changed yet.
        let state = look(kubectl, workload, name);
        let lacking = match &state {
            Ok(State { ready, nodes, .. }) if nodes > &0 && ready == nodes => {
                tell(format_args!("{workload}: prepared on {ready} of {nodes} nodes"));
                return Ok(());
            }
            Ok(State { nodes: 0, seen: true, .. }) => {
                return Err(
                    "no node may run its pods: look at the labels, taints and runtime classes of the nodes"
                        .to_owned(),
                );
            }
            Ok(state) => {
                if told.insert(format!("prepared on {} of {} nodes", state.ready, state.nodes)) {
                    tell(format_args!("{workload}: prepared on {} of {} nodes", state.ready, state.nodes));
                }
                for Problem { text, .. } in &state.problems {
                    if told.insert(text.clone()) {
                        tell(format_args!("{workload}: {text}"));
                    }
                }
                if let Some(Problem { text, .. }) =
                    state.problems.iter().find(|problem| problem.tries >= TRIES)
                {
                    return Err(text.clone());
                }
                state
                    .problems
                    .first()
                    .map_or("its pods have not started".to_owned(), |problem| problem.text.clone())
            }
            Err(error) => error.to_string(),
        };
        if Instant::now() >= end {
            return Err(format!("time is over: {lacking}"));
        }
        sleep(INTERVAL);
    }
}

/// How far it is.
struct State {
    /// Whether the cluster has looked at it yet.
    seen: bool,
    nodes: u64,
    ready: u64,
    problems: Vec<Problem>,
}

struct Problem {
    text: String,
    /// How often the node has refused to start it.
    tries: u64,
}

fn look(kubectl: &Kubectl, workload: &Workload, name: &str) -> Result<State, Error> {
    let set = kubectl.json(&workload.command(&["get", "daemonset", name]))?.unwrap_or_default();
    let number = |key: &str| set["status"][key].as_u64().unwrap_or_default();
    let generation = set["metadata"]["generation"].as_u64().unwrap_or(1);
    let label = set["metadata"]["labels"][LABEL].as_str().unwrap_or_default();
    let selector = format!("--selector={LABEL}={label}");
    let pods = kubectl.json(&workload.command(&["get", "pods", &selector]))?.unwrap_or_default();
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    Ok(State {
        seen: number("observedGeneration") >= generation,
        nodes: number("desiredNumberScheduled"),
        ready: number("numberReady"),
        problems: pods.iter().flat_map(problems).collect(),
    })
}

/// What keeps a pod from being ready, in the words of its node or of the scheduler.
fn problems(pod: &Value) -> Vec<Problem> {
    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let node = pod["spec"]["nodeName"].as_str().unwrap_or("no node yet").to_owned();
    let mut found = Vec::new();
    for container in list(&pod["status"]["containerStatuses"]) {
        let waiting = &container["state"]["waiting"];
        let ended = [&container["state"]["terminated"], &container["lastState"]["terminated"]];
        let why = ended.iter().find_map(|ended| ended["message"].as_str());
        let Some(reason) = waiting["reason"].as_str().or(why.and(Some("refused"))) else { continue };
        if ["ContainerCreating", "PodInitializing"].contains(&reason) {
            continue;
        }
        let message = why.or(waiting["message"].as_str()).unwrap_or("no message");
        let text = format!("{node}: {}: {reason}: {message}", container["name"].as_str().unwrap_or("?"));
        found.push(Problem { text, tries: container["restartCount"].as_u64().unwrap_or_default() });
    }
    for condition in list(&pod["status"]["conditions"]) {
        if condition["type"] == "PodScheduled" && condition["status"] == "False" {
            let message = condition["message"].as_str().unwrap_or("it is not scheduled");
            found.push(Problem { text: format!("{node}: {message}"), tries: 0 });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_prepare_share_nothing_with_those_that_run() {
        let manifest =
            Manifest::read(include_str!("../../docs/kubernetes/examples/daemonset.yaml").to_owned()).unwrap();
        let set = daemon_set(&manifest.workloads[0]);
        assert_eq!(set["metadata"]["name"], "micrun-prepare-daemonset-motor");
        let pod = &set["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"], json!({ LABEL: "daemonset-motor" }));
        assert_eq!(pod["metadata"]["annotations"][VERIFY_ONLY], "yes");
        assert_eq!(pod["spec"]["runtimeClassName"], "mica-no-emulator");
        assert_eq!(pod["spec"]["nodeSelector"], json!({ "micrun.openeuler.org/board-xen_arm64": "true" }));
        assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(1));
        let [container] = &pod["spec"]["containers"].as_array().unwrap()[..] else { panic!("{pod}") };
        assert_eq!(
            container["resources"]["limits"],
            json!({ "memory": "32Mi" }),
            "its core is the old guest's still"
        );
        assert!(container.get("startupProbe").is_none() && pod["spec"].get("priorityClassName").is_none());
    }

    #[test]
    fn what_keeps_a_pod_is_told_in_its_nodes_words() {
        let status = |status: Value| json!({ "spec": { "nodeName": "b" }, "status": { "containerStatuses": [status] } });
        let texts = |pod: &Value| problems(pod).into_iter().map(|problem| problem.text).collect::<Vec<_>>();
        let pulling = json!({ "name": "c", "state": { "waiting": { "reason": "ImagePullBackOff", "message": "gone" } } });
        assert_eq!(texts(&status(pulling)), ["b: c: ImagePullBackOff: gone"]);
        let refused = json!({
            "name": "c", "restartCount": 3, "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
            "lastState": { "terminated": { "reason": "StartError", "message": "the board is another one" } },
        });
        assert_eq!(texts(&status(refused.clone())), ["b: c: CrashLoopBackOff: the board is another one"]);
        assert_eq!(problems(&status(refused))[0].tries, TRIES);
        let coming = json!({ "name": "c", "state": { "waiting": { "reason": "ContainerCreating" } } });
        assert!(texts(&status(coming)).is_empty());
        let pending = json!({ "status": { "conditions": [
            { "type": "PodScheduled", "status": "False", "message": "Insufficient memory" }] } });
        assert_eq!(texts(&pending), ["no node yet: Insufficient memory"]);
    }
}
