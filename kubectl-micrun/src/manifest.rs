//! What a manifest asks for.

use serde::Deserialize as _;
use serde_json::Value;

use crate::kubectl::{self, Kubectl};

/// The handler of our runtime classes: the runtime's name in containerd's configuration.
const HANDLER: &str = "mica";

/// The objects of a file.
pub struct Manifest {
    /// As it was read, which is what is applied.
    pub text: String,
    /// Those that run guests.
    pub workloads: Vec<Workload>,
}

/// A Deployment, DaemonSet or StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// In lower case, as kubectl takes it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace, where it names one.
    pub namespace: Option<String>,
    /// The template of its pods.
    pub template: Value,
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not YAML.
    #[error("the manifest is no YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// Nothing in it runs guests.
    #[error(
        "the manifest has no Deployment, DaemonSet or StatefulSet whose pods have a runtime class with the handler {HANDLER}"
    )]
    NoGuests,
    /// An image may change under its name.
    #[error(
        "{workload}: container {container}: {image} names no digest, so nodes could get different images; write {}@sha256:DIGEST",
        name_of(.image)
    )]
    NoDigest {
        /// Whose pods.
        workload: String,
        /// Which container.
        container: String,
        /// The image.
        image: String,
    },
    /// A class that the cluster does not have.
    #[error("{workload}: {error}; `kubectl apply -k docs/kubernetes/base` makes the runtime classes")]
    NoClass {
        /// Whose pods.
        workload: String,
        /// What kubectl says.
        error: kubectl::Error,
    },
}

/// An image without its tag.
fn name_of(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

impl Manifest {
    /// Finds the workloads with a runtime class in a file with one or several documents, lists of objects included.
    ///
    /// # Errors
    ///
    /// Where it is no YAML.
    pub fn read(text: String) -> Result<Manifest, Error> {
        let mut workloads = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = Value::deserialize(document)?;
            match object["items"].as_array() {
                Some(items) => workloads.extend(items.iter().filter_map(Workload::of)),
                None => workloads.extend(Workload::of(&object)),
            }
        }
        Ok(Manifest { text, workloads })
    }

    /// Forgets the workloads whose runtime class in the cluster is not ours.
    ///
    /// # Errors
    ///
    /// Where the cluster has no such class, or does not answer.
    pub fn keep_guests(&mut self, kubectl: &Kubectl) -> Result<(), Error> {
        let mut kept = Vec::new();
        for workload in std::mem::take(&mut self.workloads) {
            let class = kubectl.json(&["get", "runtimeclass", workload.runtime_class()]);
            let class = class.map_err(|error| Error::NoClass { workload: workload.to_string(), error })?;
            if class.is_some_and(|class| class["handler"] == HANDLER) {
                kept.push(workload);
            }
        }
        self.workloads = kept;
        Ok(())
    }

    /// Whether it can be rolled out: there is something, and every image is named by digest.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        if self.workloads.is_empty() {
            return Err(Error::NoGuests);
        }
        for workload in &self.workloads {
            for container in workload.containers() {
                let image = container["image"].as_str().unwrap_or_default();
                if !has_digest(image) {
                    return Err(Error::NoDigest {
                        workload: workload.to_string(),
                        container: container["name"].as_str().unwrap_or("?").to_owned(),
                        image: image.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn has_digest(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(name, digest)| {
        !name.is_empty() && digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

impl Workload {
    fn of(object: &Value) -> Option<Workload> {
        let kind = object["kind"].as_str()?;
        let known = ["Deployment", "DaemonSet", "StatefulSet"].contains(&kind);
        let template = &object["spec"]["template"];
        template["spec"]["runtimeClassName"].as_str().filter(|_| known)?;
        Some(Workload {
            kind: kind.to_lowercase(),
            name: object["metadata"]["name"].as_str()?.to_owned(),
            namespace: object["metadata"]["namespace"].as_str().map(str::to_owned),
            template: template.clone(),
        })
    }

    /// Containers and init containers: whatever has an image.
    pub fn containers(&self) -> impl Iterator<Item = &Value> {
        let spec = &self.template["spec"];
        let lists = [&spec["initContainers"], &spec["containers"]];
        lists.into_iter().filter_map(Value::as_array).flatten()
    }

    fn runtime_class(&self) -> &str {
        self.template["spec"]["runtimeClassName"].as_str().unwrap_or_default()
    }

    /// A kubectl command about objects in this workload's namespace.
    pub fn command<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let mut words = words.to_vec();
        if let Some(namespace) = &self.namespace {
            words.extend(["--namespace", namespace]);
        }
        words
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:5b1f0c2e8a7d4936b0e1f2a3c4d5968778695a4b3c2d1e0f1a2b3c4d5e6f7080";

    fn manifest(image: &str) -> Manifest {
        Manifest::read(format!(
            "kind: Service\nmetadata: {{name: s}}\n---\nkind: List\nitems:\n- kind: Deployment\n  metadata: {{name: d, \
             namespace: plant}}\n  spec:\n    template:\n      spec:\n        runtimeClassName: mica\n        containers: \
             [{{name: c, image: '{image}'}}]\n- kind: Deployment\n  metadata: {{name: linux}}\n  spec: {{template: \
             {{spec: {{}}}}}}\n"
        ))
        .unwrap()
    }

    #[test]
    fn workloads_with_a_runtime_class_are_found_in_lists_and_documents() {
        let manifest = manifest(&format!("a/b@{DIGEST}"));
        let [workload] = &manifest.workloads[..] else { panic!("{:?}", manifest.workloads) };
        assert_eq!(workload.to_string(), "deployment/d");
        assert_eq!(workload.command(&["get", "pods"]), ["get", "pods", "--namespace", "plant"]);
        assert!(manifest.check().is_ok());
        assert!(matches!(Manifest::read("kind: Pod".to_owned()).unwrap().check(), Err(Error::NoGuests)));
        assert!(Manifest::read("a: [".to_owned()).is_err());
    }

    #[test]
    fn images_without_a_digest_are_refused_with_what_to_write() {
        for image in ["a/b", "a/b:1.3", "r.example:5000/a/b", "a/b@sha256:12", &format!("@{DIGEST}")] {
            let error = manifest(image).check().unwrap_err().to_string();
            assert!(error.contains("names no digest") && error.contains("@sha256:DIGEST"), "{error}");
        }
        let error = manifest("r.example:5000/a/b:1.3").check().unwrap_err().to_string();
        assert!(error.ends_with("write r.example:5000/a/b@sha256:DIGEST"), "{error}");
        assert!(manifest(&format!("r.example:5000/a/b:1.3@{DIGEST}")).check().is_ok());
    }
}
