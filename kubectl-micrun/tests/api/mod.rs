//! A Kubernetes API on a loopback port: as much of it as kubectl needs for rollouts, with controllers and two nodes whose
//! behaviour is decided by the digest of an image.

mod controllers;
mod http;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What an image does: a digit that its digest consists of.
pub mod image {
    /// Comes up.
    pub const GOOD: char = '1';
    /// Comes up, too.
    pub const BETTER: char = '2';
    /// Is pulled and verified, and its guest never becomes ready.
    pub const STALLS: char = '3';
    /// Cannot be pulled on node b.
    pub const ABSENT: char = '4';
    /// The shim of node b refuses it.
    pub const REFUSED: char = '5';
}

/// The kinds that exist: their group and version, resource, kind, and whether they have a namespace.
const KINDS: [(&str, &str, &str, bool); 7] = [
    ("apis/apps/v1", "deployments", "Deployment", true),
    ("apis/apps/v1", "daemonsets", "DaemonSet", true),
    ("apis/apps/v1", "statefulsets", "StatefulSet", true),
    ("apis/apps/v1", "replicasets", "ReplicaSet", true),
    ("apis/apps/v1", "controllerrevisions", "ControllerRevision", true),
    ("api/v1", "pods", "Pod", true),
    ("apis/node.k8s.io/v1", "runtimeclasses", "RuntimeClass", false),
];

/// The server; it ends with the test's process.
pub struct Api {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    gone: Arc<AtomicBool>,
}

/// All that is in the cluster.
#[derive(Default)]
pub struct World {
    /// By resource and name. There is one namespace.
    objects: BTreeMap<(String, String), Value>,
    version: u64,
    /// What was written, as `POST daemonsets/x`.
    log: Vec<String>,
    /// Fails what begins with this.
    fail: Option<String>,
    /// The server stops answering when something that begins with this was written.
    vanish: Option<String>,
    /// No node has the labels that pods ask for.
    no_nodes: bool,
}

impl Api {
    /// A cluster with the runtime class of guests, and one of others.
    pub fn start() -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let api = Api { address, world: Arc::default(), gone: Arc::default() };
        for (name, handler) in [("mica", "mica"), ("kata", "kata")] {
            let class = json!({ "metadata": { "name": name }, "handler": handler });
            api.world().put("runtimeclasses", class);
        }
        let (world, gone) = (Arc::clone(&api.world), Arc::clone(&api.gone));
        thread::spawn(move || http::serve(&listener, &world, &gone));
        let world = Arc::clone(&api.world);
        thread::spawn(move || {
            loop {
                controllers::run(&mut world.lock().unwrap());
                thread::sleep(Duration::from_millis(20));
            }
        });
        api
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Answers nobody any more.
    pub fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }
}

impl World {
    /// Refuses writes that begin so.
    pub fn fail(&mut self, what: &str) {
        self.fail = Some(what.to_owned());
    }

    /// Stops answering after such a write.
    pub fn vanish_after(&mut self, what: &str) {
        self.vanish = Some(what.to_owned());
    }

    pub fn without_nodes(&mut self) {
        self.no_nodes = true;
    }

    /// What was written so far.
    pub fn log(&self) -> Vec<String> {
        self.log.clone()
    }

    /// The image that a workload's template names now.
    pub fn image(&self, resource: &str, name: &str) -> Option<String> {
        let object = self.get(resource, name)?;
        Some(object["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?.to_owned())
    }

    pub fn names(&self, resource: &str) -> Vec<String> {
        self.objects.keys().filter(|(kind, _)| kind == resource).map(|(_, name)| name.clone()).collect()
    }

    fn get(&self, resource: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(resource.to_owned(), name.to_owned()))
    }

    /// Stores an object. Its generation counts changes of its `spec`, as everywhere in Kubernetes.
    fn put(&mut self, resource: &str, mut object: Value) -> Value {
        let (group, _, kind, namespaced) = *KINDS.iter().find(|(_, name, ..)| *name == resource).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let old = self.get(resource, &name).cloned().unwrap_or_default();
        let group = group.trim_start_matches("apis/").trim_start_matches("api/");
        object["apiVersion"] = json!(group);
        object["kind"] = json!(kind);
        if namespaced {
            object["metadata"]["namespace"] = json!("default");
        }
        // What the real one fills in.
        match resource {
            "deployments" => object["spec"]["strategy"]["type"] = json!("RollingUpdate"),
            "daemonsets" | "statefulsets" => {
                object["spec"]["updateStrategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": {} });
            }
            _ => {}
        }
        object["metadata"]["uid"] = json!(format!("{resource}-{name}"));
        let generation = old["metadata"]["generation"].as_u64().unwrap_or(0);
        let changed = old["spec"] != object["spec"];
        object["metadata"]["generation"] = json!(generation + u64::from(changed));
        object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if old != object {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.objects.insert((resource.to_owned(), name), object.clone());
        }
        object
    }

    fn remove(&mut self, resource: &str, name: &str) -> bool {
        self.version += 1;
        self.objects.remove(&(resource.to_owned(), name.to_owned())).is_some()
    }

    fn all(&self, resource: &str) -> Vec<Value> {
        let of_kind = self.objects.iter().filter(|((kind, _), _)| kind == resource);
        of_kind.map(|(_, object)| object.clone()).collect()
    }
}
