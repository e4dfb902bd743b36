//! Rollouts as a user runs them: the program, a real kubectl, and an API that behaves as a cluster does.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod api;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use api::{Api, image};

struct Cluster {
    api: Api,
    home: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Cluster {
        let (api, home) = (Api::start(), tempfile::tempdir().unwrap());
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- {{name: test, cluster: {{server: \
             'http://{}'}}}}\nusers:\n- {{name: test, user: {{}}}}\ncontexts:\n- {{name: test, context: {{cluster: test, user: \
             test}}}}\n",
            api.address
        );
        std::fs::write(home.path().join("config"), config).unwrap();
        Cluster { api, home }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-micrun"));
        command.args(words).env("HOME", self.home.path()).env("KUBECONFIG", self.home.path().join("config"));
        command.output().unwrap()
    }

    fn file(&self, text: &str) -> String {
        let file = self.home.path().join("manifest.yaml");
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn rollout(&self, kind: &str, image: char) -> (Option<i32>, String) {
        let file = self.file(&workload(kind, image));
        told(&self.run(&["rollout", "-f", &file, "--timeout", "20s", "--prepare-timeout", "4s"]))
    }

    /// The digit of the image that the workload has now.
    fn image(&self, kind: &str) -> Option<char> {
        self.api.world().image(&format!("{}s", kind.to_lowercase()), "motor")?.chars().last()
    }

    fn prepared_by(&self) -> Vec<String> {
        let mut names = self.api.world().names("daemonsets");
        names.retain(|name| name.starts_with("micrun-prepare"));
        names
    }
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn workload(kind: &str, image: char) -> String {
    let digest = image.to_string().repeat(64);
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: motor}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: \
         motor}}}}\n  template:\n    metadata: {{labels: {{app: motor}}}}\n    spec:\n      runtimeClassName: mica\n      \
         containers: [{{name: c, image: 'r.example/motor@sha256:{digest}'}}]\n"
    )
    .replace("  replicas: 1\n", if kind == "DaemonSet" { "" } else { "  replicas: 1\n" })
}

const KINDS: [&str; 3] = ["Deployment", "DaemonSet", "StatefulSet"];

#[test]
fn a_good_version_is_prepared_everywhere_and_then_applied() {
    for kind in KINDS {
        let cluster = Cluster::start();
        for image in [image::GOOD, image::BETTER] {
            let (status, said) = cluster.rollout(kind, image);
            assert_eq!(status, Some(0), "{kind}: {said}");
            assert!(said.contains("prepared on 2 of 2 nodes"), "{said}");
            assert_eq!(cluster.image(kind), Some(image));
            assert!(cluster.prepared_by().is_empty(), "nothing is left of it");
        }
        let log = cluster.api.world().log();
        let at = |what: &str| log.iter().position(|line| line.starts_with(what)).unwrap();
        let resource = kind.to_lowercase();
        let created = format!("POST daemonsets/micrun-prepare-{resource}-motor");
        assert!(at(&created) < at("DELETE daemonsets/micrun-prepare"), "{log:?}");
        assert!(at("DELETE daemonsets/micrun-prepare") < at(&format!("POST {resource}s/motor")), "{log:?}");
    }
}

#[test]
fn an_image_that_one_node_cannot_have_is_not_rolled_out_at_all() {
    for (image, why) in [
        (image::ABSENT, "time is over: b: c: ImagePullBackOff: no such manifest"),
        (image::REFUSED, "b: c: RunContainerError: the policy does not allow it"),
    ] {
        let cluster = Cluster::start();
        assert_eq!(cluster.rollout("Deployment", image::GOOD).0, Some(0));
        let (status, said) = cluster.rollout("Deployment", image);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(why) && said.contains("prepared on 1 of 2 nodes"), "{said}");
        assert!(said.ends_with("nothing was changed\n"), "{said}");
        assert_eq!(cluster.image("Deployment"), Some(image::GOOD));
        assert!(cluster.prepared_by().is_empty());
    }
}

#[test]
fn a_version_that_does_not_come_up_is_taken_back() {
    for kind in KINDS {
        let cluster = Cluster::start();
        assert_eq!(cluster.rollout(kind, image::GOOD).0, Some(0));
        // kubectl waits for the first two as long as it is told.
        let file = cluster.file(&workload(kind, image::STALLS));
        let (status, said) = told(&cluster.run(&["rollout", "-f", &file, "--timeout", "3s"]));
        assert_eq!(status, Some(3), "{kind}: {said}");
        assert!(said.contains("did not come up") && said.ends_with("the version before runs\n"), "{said}");
        assert_eq!(cluster.image(kind), Some(image::GOOD), "{kind}");
        let pods = cluster.api.world().log().into_iter().filter(|line| line.starts_with("DELETE pods/"));
        assert_eq!(
            pods.count(),
            usize::from(kind == "StatefulSet"),
            "a broken pod would hold up the way back"
        );
    }
}

#[test]
fn a_stalled_deployment_is_taken_back_before_the_time_is_over() {
    let cluster = Cluster::start();
    assert_eq!(cluster.rollout("Deployment", image::GOOD).0, Some(0));
    let begin = Instant::now();
    let file = cluster.file(&workload("Deployment", image::STALLS));
    let (status, said) = told(&cluster.run(&["rollout", "-f", &file, "--timeout", "10m"]));
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("exceeded its progress deadline"), "{said}");
    assert!(begin.elapsed() < Duration::from_mins(5));
}

#[test]
fn what_cannot_be_taken_back_is_said() {
    let cluster = Cluster::start();
    let (status, said) = cluster.rollout("Deployment", image::STALLS);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("deployment/motor is new") && said.ends_with("somebody has to look\n"), "{said}");

    let cluster = Cluster::start();
    assert_eq!(cluster.rollout("DaemonSet", image::GOOD).0, Some(0));
    let file = cluster.file(&workload("DaemonSet", image::STALLS));
    // The apply is a patch as well; the way back is the second one.
    cluster.api.world().vanish_after("PATCH daemonsets/motor");
    let (status, said) = told(&cluster.run(&["rollout", "-f", &file, "--timeout", "3s"]));
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("could not be taken back"), "{said}");
}

#[test]
fn a_cluster_that_does_not_answer_is_not_changed() {
    let cluster = Cluster::start();
    cluster.api.leave();
    let (status, said) = cluster.rollout("Deployment", image::GOOD);
    assert_eq!(status, Some(1), "{said}");
    assert!(cluster.api.world().log().is_empty());

    let cluster = Cluster::start();
    cluster.api.world().without_nodes();
    let (status, said) = cluster.rollout("Deployment", image::GOOD);
    assert!(status == Some(1) && said.contains("no node may run its pods"), "{said}");
}

#[test]
fn two_do_not_prepare_the_same_workload_at_once() {
    let cluster = Cluster::start();
    cluster.api.world().fail("DELETE daemonsets/");
    let (status, said) = cluster.rollout("Deployment", image::GOOD);
    assert!(status == Some(0) && said.contains("is left behind"), "{said}");
    let (status, said) = cluster.rollout("Deployment", image::BETTER);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("kubectl delete daemonset micrun-prepare-deployment-motor"), "{said}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let cluster = Cluster::start();
    let file = cluster.file(&workload("Deployment", image::GOOD));
    for who in ["client", "server"] {
        let output = cluster.run(&["rollout", "-f", &file, "--dry-run", who]);
        let (status, said) = told(&output);
        assert_eq!(status, Some(0), "{said}");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("micrun-prepare-deployment-motor"), "{shown}");
    }
    let other = cluster.file(&workload("Deployment", image::GOOD).replace("Name: mica", "Name: kata"));
    let (status, said) = told(&cluster.run(&["rollout", "-f", &other]));
    assert!(status == Some(1) && said.contains("handler mica"), "{said}");
    let none = cluster.file(&workload("Deployment", image::GOOD).replace("Name: mica", "Name: none"));
    let (status, said) = told(&cluster.run(&["rollout", "-f", &none]));
    assert!(status == Some(1) && said.contains("docs/kubernetes/base"), "{said}");
    assert!(cluster.api.world().log().is_empty());
}

#[test]
fn preparing_alone_leaves_the_workload_as_it_is() {
    let cluster = Cluster::start();
    assert_eq!(cluster.rollout("Deployment", image::GOOD).0, Some(0));
    let file = cluster.file(&workload("Deployment", image::BETTER));
    let (status, said) = told(&cluster.run(&["prepare", "-f", &file]));
    assert!(status == Some(0) && said.contains("prepared on 2 of 2 nodes"), "{said}");
    assert_eq!(cluster.image("Deployment"), Some(image::GOOD));
    assert!(cluster.prepared_by().is_empty());
}
