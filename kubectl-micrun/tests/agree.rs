//! What the cluster's files, the nodes' files and the shim call the same is called the same.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use micrun_image_spec::annotation::{self, Kind};
use serde::Deserialize as _;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// The text of files, and of the examples of one language on pages.
fn texts(extension: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for path in files_below(&root().join("docs/kubernetes")) {
        let text = || fs::read_to_string(&path).unwrap();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("md") => {
                let page = text();
                let begin = format!("```{extension}\n");
                let fences = page.split(&begin).skip(1);
                texts.extend(fences.map(|rest| rest.split("```").next().unwrap().to_owned()));
            }
            Some(found) if found == extension => texts.push(text()),
            _ => {}
        }
    }
    texts
}

fn objects() -> Vec<Value> {
    let read = |text: &String| {
        let documents = serde_yaml::Deserializer::from_str(text);
        documents.map(|document| Value::deserialize(document).unwrap()).collect::<Vec<_>>()
    };
    texts("yaml").iter().flat_map(read).collect()
}

/// The lines of containerd's configuration, of the layer's files and of the pages.
fn containerd() -> Vec<String> {
    let folder = root().join("meta-micrun/recipes-containers/micrun/files");
    let of_layer = ["containerd-1/config.toml", "containerd-2/50-micrun.toml"];
    let of_layer = of_layer.map(|file| fs::read_to_string(folder.join(file)).unwrap());
    let all: Vec<String> = of_layer.into_iter().chain(texts("toml")).collect();
    all.iter().flat_map(|text| text.lines()).map(|line| line.trim().replace('\'', "\"")).collect()
}

#[test]
fn the_handler_of_the_classes_is_the_name_of_the_runtime() {
    let lines = containerd();
    let ours =
        lines.iter().enumerate().filter(|(_, line)| *line == "runtime_type = \"io.containerd.mica.v2\"");
    let table = |at: usize| lines[..at].iter().rev().find(|line| line.starts_with('[')).unwrap();
    let name = |table: &String| table.rsplit_once("runtimes.").unwrap().1.trim_end_matches(']').to_owned();
    let names: BTreeSet<String> = ours.map(|(at, _)| name(table(at))).collect();
    // The other name is the one of pods without a runtime class, on KubeEdge.
    assert_eq!(names, BTreeSet::from(["mica".to_owned(), "untrusted".to_owned()]));
    let objects = objects();
    let classes: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "RuntimeClass").collect();
    assert!(classes.len() >= 2);
    assert!(classes.iter().all(|class| class["handler"] == "mica"), "{classes:?}");
    let known: Vec<&str> = classes.iter().map(|class| class["metadata"]["name"].as_str().unwrap()).collect();
    for object in &objects {
        let template = &object["spec"]["template"]["spec"]["runtimeClassName"];
        for name in [template, &object["spec"]["runtimeClassName"]].into_iter().filter_map(Value::as_str) {
            assert!(known.contains(&name), "no class is called {name}");
        }
    }
}

#[test]
fn annotations_are_handed_on_and_read() {
    let lines = containerd();
    let lists: BTreeSet<&String> = lines.iter().filter(|line| line.starts_with("pod_annotations")).collect();
    let prefix = annotation::PREFIX;
    let expected = format!("pod_annotations = [\"{prefix}*\", \"{prefix}*/*\"]");
    assert_eq!(lists, BTreeSet::from([&expected]));
    let mut checked = 0;
    for object in objects() {
        for metadata in [&object["metadata"], &object["spec"]["template"]["metadata"]] {
            for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
                let Some(key) = annotation::strip(key) else { continue };
                let name = annotation::addressed(key.name).map_or(key.name, |(_, name)| name);
                let kind = Kind::of(name).unwrap_or_else(|| panic!("nobody reads {name}"));
                kind.check(value.as_str().unwrap()).unwrap();
                checked += 1;
            }
        }
    }
    assert!(checked > 0, "no example has an annotation");
}

#[test]
fn labels_and_resources_have_one_name_each() {
    let pages: String = texts("yaml").concat() + &texts("sh").concat();
    let names = pages.split("micrun.openeuler.org").skip(1).map(|rest| {
        let name = rest.trim_start_matches(['/', '~']).trim_start_matches('1');
        name.split(|byte: char| !byte.is_ascii_alphanumeric() && !"_-.".contains(byte)).next().unwrap()
    });
    let names: BTreeSet<&str> = names.map(|name| name.trim_end_matches('.')).collect();
    assert_eq!(names, BTreeSet::from(["board-xen_arm64", "cores", "runtime"]));
}

#[test]
fn what_prepares_a_rollout_is_what_the_shim_reads() {
    let key = annotation::key(annotation::CONTAINER_VERIFY_ONLY);
    assert_eq!(Kind::of(annotation::CONTAINER_VERIFY_ONLY), Some(Kind::Bool));
    let source = fs::read_to_string(root().join("kubectl-micrun/src/prepare.rs")).unwrap();
    assert!(source.contains(&format!("\"{key}\"")), "{key}");
}
