//! Applies a manifest, waits, and goes back where a workload does not come up: Kubernetes itself only marks it.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::kubectl::{Error, Kubectl};
use crate::manifest::{Manifest, Workload};
use crate::{Failure, tell};

/// The annotation in which a Deployment has its revision.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// How often, and how long after another, a controller is asked whether it has seen a change.
const TRIES: u32 = 20;
const INTERVAL: Duration = Duration::from_millis(500);

/// A workload as it was before.
struct Before {
    /// The revision that ran; `None` where the workload is new.
    revision: Option<u64>,
}

/// Applies, waits, and undoes.
///
/// # Errors
///
/// [`Failure`] says in which state the cluster is.
pub fn run(kubectl: &Kubectl, manifest: &Manifest, seconds: u64) -> Result<(), Failure> {
    let unchanged = |error: Error| Failure::Unchanged(error.to_string());
    let mut before = Vec::new();
    for workload in &manifest.workloads {
        before.push(Before { revision: revision(kubectl, workload).map_err(unchanged)? });
    }
    // Of several objects some may have been applied: all of them are looked at.
    let applied = kubectl.feed(&["apply", "-f", "-"], &manifest.text);
    for line in applied.iter().flat_map(|text| text.lines()) {
        tell(line);
    }
    let came = applied.map_err(|error| error.to_string()).and_then(|_| {
        manifest.workloads.iter().try_for_each(|workload| {
            status(kubectl, workload, seconds).map_err(|error| format!("{workload} did not come up: {error}"))
        })
    });
    match came {
        Ok(()) => Ok(()),
        Err(why) => {
            tell(format_args!("{why}; going back"));
            Err(go_back(kubectl, manifest, &before, seconds, why))
        }
    }
}

/// The revision of the template that a workload has now, if it is there.
fn revision(kubectl: &Kubectl, workload: &Workload) -> Result<Option<u64>, Error> {
    let get = workload.command(&["get", &workload.kind, &workload.name, "--ignore-not-found"]);
    let Some(object) = kubectl.json(&get)? else { return Ok(None) };
    if workload.kind == "deployment" {
        let text = object["metadata"]["annotations"][REVISION].as_str();
        return Ok(text.and_then(|text| text.parse().ok()));
    }
    // The other two keep templates as objects of their own; the newest is the current one.
    let all = kubectl.json(&workload.command(&["get", "controllerrevisions"]))?.unwrap_or_default();
    let uid = &object["metadata"]["uid"];
    let owned = |revision: &&Value| {
        let owners = revision["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.iter().any(|owner| &owner["uid"] == uid))
    };
    let all = all["items"].as_array().cloned().unwrap_or_default();
    Ok(all.iter().filter(owned).filter_map(|revision| revision["revision"].as_u64()).max())
}

/// Waits for a rollout. kubectl ends early where the cluster has given it up.
fn status(kubectl: &Kubectl, workload: &Workload, seconds: u64) -> Result<(), Error> {
    let name = workload.to_string();
    let timeout = format!("--timeout={seconds}s");
    let said = kubectl.text(&workload.command(&["rollout", "status", &name, &timeout]))?;
    tell(said.lines().last().unwrap_or_default());
    Ok(())
}

fn go_back(kubectl: &Kubectl, manifest: &Manifest, before: &[Before], seconds: u64, why: String) -> Failure {
    let mut left = Vec::new();
    for (workload, before) in manifest.workloads.iter().zip(before) {
        let Some(revision) = before.revision else {
            left.push(format!("{workload} is new, and has no version before"));
            continue;
        };
        if let Err(error) = undo(kubectl, workload, revision, seconds) {
            left.push(format!("{workload} could not be taken back: {error}"));
        }
    }
    if left.is_empty() {
        Failure::TakenBack(why)
    } else {
        Failure::Open(format!("{why}; {}", left.join("; ")))
    }
}

/// Undoes by number: a workload that the manifest did not change stays as it is.
fn undo(kubectl: &Kubectl, workload: &Workload, revision: u64, seconds: u64) -> Result<(), Error> {
    let name = workload.to_string();
    let to = format!("--to-revision={revision}");
    let failed = if workload.kind == "statefulset" { update_revision(kubectl, workload)? } else { None };
    let said = kubectl.text(&workload.command(&["rollout", "undo", &name, &to]))?;
    tell(said.trim_end());
    if let Some(failed) = failed.filter(|_| !said.contains("skipped rollback")) {
        delete_broken(kubectl, workload, &failed)?;
    }
    status(kubectl, workload, seconds)
}

/// The hash of the template that a StatefulSet is going to.
fn update_revision(kubectl: &Kubectl, workload: &Workload) -> Result<Option<String>, Error> {
    let object =
        kubectl.json(&workload.command(&["get", &workload.kind, &workload.name]))?.unwrap_or_default();
    Ok(object["status"]["updateRevision"].as_str().map(str::to_owned))
}

/// A StatefulSet waits for a pod of the version that failed, also when it has a better one: somebody has to delete that pod.
fn delete_broken(kubectl: &Kubectl, workload: &Workload, failed: &str) -> Result<(), Error> {
    // Not before the controller knows of the way back: it would make the same pod again.
    for _ in 0..TRIES {
        if update_revision(kubectl, workload)?.as_deref() != Some(failed) {
            break;
        }
        sleep(INTERVAL);
    }
    let selector = format!("--selector=controller-revision-hash={failed}");
    let pods = kubectl.json(&workload.command(&["get", "pods", &selector]))?.unwrap_or_default();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        let is_ready = pod["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(ready));
        if let (false, Some(name)) = (is_ready, pod["metadata"]["name"].as_str()) {
            tell(kubectl.text(&workload.command(&["delete", "pod", name, "--wait=false"]))?.trim_end());
        }
    }
    Ok(())
}
