//! What the control plane and the kubelets of two nodes make of the objects, at each look.

use serde_json::{Value, json};

use super::{World, image};

const NODES: [&str; 2] = ["a", "b"];
const VERIFY_ONLY: &str = "org.openeuler.micrun.container.verify_only";
const REVISION: &str = "deployment.kubernetes.io/revision";

pub fn run(world: &mut World) {
    for set in world.all("daemonsets") {
        match set["spec"]["template"]["metadata"]["annotations"].get(VERIFY_ONLY) {
            Some(_) => preparing(world, set),
            None => daemon_set(world, set),
        }
    }
    for pod in world.all("pods") {
        let owner = pod["metadata"]["labels"]["owner"].as_str().map(str::to_owned);
        if owner.is_some_and(|owner| world.get("daemonsets", &owner).is_none()) {
            world.remove("pods", pod["metadata"]["name"].as_str().unwrap());
        }
    }
    for deployment in world.all("deployments") {
        self::deployment(world, deployment);
    }
    for set in world.all("statefulsets") {
        stateful_set(world, set);
    }
}

/// What the digest of the first image consists of.
fn what(object: &Value) -> char {
    let image = object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    image.chars().last().unwrap()
}

fn preparing(world: &mut World, mut set: Value) {
    let nodes: &[&str] = if world.no_nodes { &[] } else { &NODES };
    let name = set["metadata"]["name"].as_str().unwrap().to_owned();
    let mut ready = 0;
    for node in nodes {
        let (restarts, state) = match what(&set) {
            image::ABSENT if *node == "b" => {
                (0, json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such manifest" } }))
            }
            image::REFUSED if *node == "b" => (
                3,
                json!({ "waiting": { "reason": "RunContainerError", "message": "the policy does not allow it" } }),
            ),
            _ => (0, json!({ "running": {} })),
        };
        ready += u64::from(state.get("running").is_some());
        let mut labels = set["spec"]["template"]["metadata"]["labels"].clone();
        labels["owner"] = json!(name);
        world.put("pods", json!({
            "metadata": { "name": format!("{name}-{node}"), "labels": labels },
            "spec": { "nodeName": node },
            "status": { "containerStatuses": [{ "name": "c", "restartCount": restarts, "state": state }] },
        }));
    }
    let generation = set["metadata"]["generation"].clone();
    set["status"] = json!({
        "observedGeneration": generation, "desiredNumberScheduled": nodes.len(), "numberReady": ready,
    });
    world.put("daemonsets", set);
}

/// The number of a template among those that a workload has had. One that comes back becomes the newest.
fn revision(world: &mut World, resource: &str, object: &Value) -> (String, u64) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let template = &object["spec"]["template"];
    let hash = format!("{name}-{}", what(object));
    let owned = |old: &Value| old["metadata"]["ownerReferences"][0]["uid"] == object["metadata"]["uid"];
    let number = |old: &Value| match resource {
        "replicasets" => old["metadata"]["annotations"][REVISION].as_str().unwrap().parse().unwrap(),
        _ => old["revision"].as_u64().unwrap(),
    };
    let newest = world
        .all(resource)
        .iter()
        .filter(|old| owned(old))
        .map(|old| (number(old), old.clone()))
        .max_by_key(|(number, _)| *number);
    let newest_name = newest.as_ref().map(|(_, old)| old["metadata"]["name"].clone());
    let count = newest.map_or(0, |(count, _)| count);
    if newest_name == Some(json!(hash)) {
        return (hash, count);
    }
    let mut labels = template["metadata"]["labels"].clone();
    labels["pod-template-hash"] = json!(hash);
    let mut template = template.clone();
    let owner = json!({ "uid": object["metadata"]["uid"], "controller": true, "kind": object["kind"], "name": name, "apiVersion": "apps/v1" });
    let metadata = json!({
        "name": hash, "labels": labels, "ownerReferences": [owner], "annotations": { REVISION: (count + 1).to_string() },
    });
    let old = match resource {
        "replicasets" => {
            template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
            json!({ "metadata": metadata, "spec": { "replicas": 1, "template": template, "selector": object["spec"]["selector"] } })
        }
        _ => {
            template["$patch"] = json!("replace");
            json!({ "metadata": metadata, "revision": count + 1, "data": { "spec": { "template": template } } })
        }
    };
    world.put(resource, old);
    (hash, count + 1)
}

fn deployment(world: &mut World, mut deployment: Value) {
    let (_, number) = revision(world, "replicasets", &deployment);
    deployment["metadata"]["annotations"][REVISION] = json!(number.to_string());
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
    let stalls = what(&deployment) == image::STALLS;
    let available = replicas - u64::from(stalls);
    let (status, reason) =
        if stalls { ("False", "ProgressDeadlineExceeded") } else { ("True", "NewReplicaSetAvailable") };
    deployment["status"] = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": available, "availableReplicas": available,
        "conditions": [{ "type": "Progressing", "status": status, "reason": reason }],
    });
    world.put("deployments", deployment);
}

fn daemon_set(world: &mut World, mut set: Value) {
    revision(world, "controllerrevisions", &set);
    let nodes = NODES.len() as u64;
    let available = nodes - u64::from(what(&set) == image::STALLS);
    set["status"] = json!({
        "observedGeneration": set["metadata"]["generation"], "desiredNumberScheduled": nodes,
        "updatedNumberScheduled": nodes, "numberReady": available, "numberAvailable": available,
    });
    world.put("daemonsets", set);
}

/// One pod. That of a version which never got ready stays, whatever the template says: so does the real controller.
fn stateful_set(world: &mut World, mut set: Value) {
    let (hash, _) = revision(world, "controllerrevisions", &set);
    let name = format!("{}-0", set["metadata"]["name"].as_str().unwrap());
    let pod = world.get("pods", &name).cloned();
    let is_ready = |pod: &Value| pod["status"]["conditions"][0]["status"] == "True";
    let stuck = pod.as_ref().is_some_and(|pod| !is_ready(pod));
    if !stuck {
        let ready = if what(&set) == image::STALLS { "False" } else { "True" };
        world.put(
            "pods",
            json!({
                "metadata": { "name": name, "labels": { "controller-revision-hash": hash } },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            }),
        );
    }
    let pod = world.get("pods", &name).cloned().unwrap();
    let ready = u64::from(is_ready(&pod));
    let running = pod["metadata"]["labels"]["controller-revision-hash"].clone();
    set["status"] = json!({
        "observedGeneration": set["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1,
        "readyReplicas": ready, "availableReplicas": ready, "currentRevision": running, "updateRevision": hash,
    });
    world.put("statefulsets", set);
}
