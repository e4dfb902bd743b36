//! What docs/ shows of Kubernetes, against the schemas of its releases, without a cluster: YAML files, examples on pages, and
//! what kustomize makes of the base. Unknown fields are refused.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::{Unpacked, Workspace, note, shell, step, wheel};

use super::lint::tracked;

/// The oldest and the newest release whose schemas the validator carries.
const RELEASES: [&str; 2] = ["1.25", "1.37"];

/// The Debian suite of the kubectl that renders kustomizations: the newest stable one.
const SUITE: &str = "trixie";

/// Kinds of which no release has a schema: what kustomize reads, it checks itself; node-feature-discovery's are custom.
const WITHOUT_SCHEMA: [&str; 2] = ["kustomize.config.k8s.io/", "nfd.k8s-sigs.io/"];

/// The page that names the releases.
const PAGE: &str = "docs/kubernetes/README.md";

/// Checks all of it.
pub fn run(workspace: &Workspace) -> Result<()> {
    let files = tracked(workspace)?;
    let read = |file: &str| {
        std::fs::read_to_string(workspace.root().join(file)).with_context(|| format!("cannot read {file}"))
    };
    let mut objects = Vec::new();
    let mut rendered = 0;
    for file in files.iter().filter(|file| file.starts_with("docs/")) {
        if file.ends_with(".yaml") {
            objects.extend(documents(file, &read(file)?));
        } else if file.ends_with(".md") {
            for fence in fences(&read(file)?) {
                objects.extend(documents(file, &fence));
            }
        }
        if let Some(folder) = file.strip_suffix("/kustomization.yaml") {
            let mut kustomize = Command::new(kubectl(workspace)?);
            kustomize.arg("kustomize").arg(workspace.root().join(folder));
            objects.extend(documents(&format!("kustomize {folder}"), &shell::output(&mut kustomize)?));
            rendered += 1;
        }
    }
    ensure!(
        !objects.is_empty() && rendered > 0,
        "docs/ has no Kubernetes objects any more: this looks in the wrong place"
    );
    let releases = RELEASES.join(" and ");
    ensure!(
        read(PAGE)?.contains(&format!("Kubernetes {releases}")),
        "{PAGE} names other releases than {releases}"
    );
    validate(workspace, &objects)
}

/// The kubectl of the tests; unpacked once.
pub fn kubectl(workspace: &Workspace) -> Result<std::path::PathBuf> {
    Unpacked::of(workspace, "kubectl", SUITE)?.program("kubectl")
}

/// An object: where it stands, and its text.
type Object = (String, String);

/// The Kubernetes objects among the documents of a text.
fn documents(place: &str, text: &str) -> Vec<Object> {
    let is_object = |document: &&str| {
        let version = document.lines().find_map(|line| line.strip_prefix("apiVersion: "));
        version.is_some_and(|version| !WITHOUT_SCHEMA.iter().any(|group| version.starts_with(group)))
    };
    text.split("\n---\n")
        .filter(is_object)
        .map(|document| (place.to_owned(), format!("{document}\n")))
        .collect()
}

/// The examples of a page that say they are YAML.
fn fences(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line.trim() == "```yaml") {
        let example: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        found.push(example.join("\n"));
    }
    found
}

fn validate(workspace: &Workspace, objects: &[Object]) -> Result<()> {
    let validator = wheel::KUBERNETES.ensure(workspace)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    for (number, (place, text)) in objects.iter().enumerate() {
        // The validator names files: they are called after where the object stands.
        let name = format!("{number}-{}.yaml", place.replace(['/', ' '], "-"));
        std::fs::write(folder.path().join(&name), text).with_context(|| format!("cannot write {name}"))?;
    }
    for release in RELEASES {
        let said = against(&validator, release, folder.path())?;
        let passed = said.lines().filter(|line| line.starts_with("INFO ")).count();
        ensure!(
            passed == objects.len(),
            "{passed} of {} objects are Kubernetes {release}:\n{said}",
            objects.len()
        );
        note(format_args!("{passed} objects are Kubernetes {release}"));
    }
    Ok(())
}

/// What the validator says. An object of a kind that it does not know is no failure to it.
fn against(validator: &Path, release: &str, folder: &Path) -> Result<String> {
    let mut names: Vec<_> = folder.read_dir()?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    names.sort();
    let mut command = Command::new(validator);
    command.current_dir(folder).args(["--strict", "-k", release]);
    step(format_args!("{} of docs/", shell::line(&command)));
    let output = shell::capture(command.args(names))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_on_pages_and_in_files() {
        let page = "a\n```yaml\napiVersion: v1\nkind: Pod\n```\n```sh\napiVersion: no\n```\n```yaml\nname: other\n```\n";
        let found: Vec<Object> = fences(page).iter().flat_map(|fence| documents("p", fence)).collect();
        assert_eq!(found, [("p".to_owned(), "apiVersion: v1\nkind: Pod\n".to_owned())]);
        let file = "# x\napiVersion: v1\nkind: A\n---\napiVersion: nfd.k8s-sigs.io/v1alpha1\nkind: B\n---\napiVersion: v1\nkind: C\n";
        assert_eq!(documents("f", file).len(), 2);
    }
}
