//! The sandbox that CRI makes before the containers of a pod: a container without a guest, in the same shim.

use std::fs;
use std::path::Path;
use std::time::Duration;

use containerd_shim_protos::api::{
    CreateTaskRequest, ExecProcessRequest, Mount, ResizePtyRequest, StatsResponse, Status,
};
use containerd_shim_protos::cgroups::metrics::Metrics as V1;
use containerd_shim_protos::cgroups_v2::metrics::Metrics as V2;
use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::{self, Code};
use micrun::config::NodeConfig;
use serde_json::json;

use crate::support::echo::Echo;
use crate::support::{self, Bundle, SOON, Shim, create_request, is_empty, kill, refusal, soon, start};

const TYPE: &str = "io.kubernetes.cri.container-type";
const POD: &str = "io.kubernetes.cri.sandbox-id";

/// A sandbox's bundle, with a root file system that nobody can mount.
fn sandbox(shim: &Shim, id: &str) -> CreateTaskRequest {
    let bundle = shim.bundle(id);
    fs::remove_dir_all(bundle.rootfs()).unwrap();
    bundle.annotate(&[(TYPE, "sandbox"), (POD, id)]);
    let mount = Mount { type_: "moonfs".to_owned(), source: "/nowhere".to_owned(), ..Default::default() };
    CreateTaskRequest { bundle: bundle.text(), rootfs: vec![mount], ..create_request(id) }
}

/// A container's bundle in the pod `p`.
fn member(shim: &Shim, id: &str) -> Bundle {
    let bundle = shim.bundle(id);
    bundle.annotate(&[(TYPE, "container"), (POD, "p"), ("io.kubernetes.cri.container-name", id)]);
    bundle
}

async fn run_sandbox(shim: &Shim, id: &str) -> ttrpc::Result<()> {
    shim.task.create(soon(), &sandbox(shim, id)).await?;
    shim.task.start(soon(), &start(id)).await?;
    Ok(())
}

async fn end(shim: &Shim, id: &str) {
    shim.task.kill(soon(), &kill(id, 9)).await.unwrap();
    shim.task.wait(soon(), &support::wait(id)).await.unwrap();
    shim.task.delete(soon(), &support::delete(id)).await.unwrap();
}

/// CPU time and memory.
fn used(stats: &StatsResponse) -> (u64, u64) {
    let value = &stats.stats.value;
    match stats.stats.type_url.as_str() {
        "io.containerd.cgroups.v1.Metrics" => {
            let metrics = V1::parse_from_bytes(value).unwrap();
            (metrics.cpu.usage.total, metrics.memory.usage.usage)
        }
        "io.containerd.cgroups.v2.Metrics" => {
            let metrics = V2::parse_from_bytes(value).unwrap();
            (metrics.cpu.usage_usec, metrics.memory.usage)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_sandbox_of_a_pod_answers_every_call_and_is_no_guest() {
    let echo = Echo::default();
    let shim = Shim::start(echo.clone()).await;
    let own = std::process::id();
    let created = shim.task.create(soon(), &sandbox(&shim, "p")).await.unwrap();
    assert_eq!(created.pid, own);
    assert_eq!(shim.state("p").await.unwrap().status, Status::CREATED.into());
    assert_eq!(shim.task.start(soon(), &start("p")).await.unwrap().pid, own);
    assert_eq!(shim.state("p").await.unwrap().status, Status::RUNNING.into());
    assert!(echo.daemon.guests().is_empty(), "a sandbox is no guest");

    let pids = shim.task.pids(soon(), &support::pids("p")).await.unwrap();
    assert_eq!(pids.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [own]);
    let connected = shim.task.connect(soon(), &support::connect("p")).await.unwrap();
    assert_eq!((connected.shim_pid, connected.task_pid), (own, own));
    assert_eq!(used(&shim.task.stats(soon(), &support::stats("p")).await.unwrap()), (0, 0));
    let all = json!({"cpu": {"cpus": "999", "quota": 1, "period": 1000}, "memory": {"limit": 1}});
    for _ in 0..2 {
        shim.task.update(soon(), &support::update("p", all.clone())).await.unwrap();
    }
    let resize = ResizePtyRequest { id: "p".to_owned(), ..Default::default() };
    shim.task.resize_pty(soon(), &resize).await.unwrap();

    let exec = ExecProcessRequest { id: "p".to_owned(), exec_id: "e".to_owned(), ..Default::default() };
    let (code, words) = refusal(shim.task.exec(soon(), &exec).await);
    assert_eq!(code, Code::UNIMPLEMENTED);
    assert!(words.contains("this is the sandbox of a pod"), "{words}");
    assert_eq!(refusal(shim.task.pause(soon(), &support::pause("p")).await).0, Code::UNIMPLEMENTED);
    assert_eq!(refusal(shim.task.delete(soon(), &support::delete("p")).await).0, Code::FAILED_PRECONDITION);

    shim.task.kill(soon(), &kill("p", 28)).await.unwrap();
    assert_eq!(shim.state("p").await.unwrap().status, Status::RUNNING.into(), "a harmless signal");
    let (waiting, kill) = (support::wait("p"), kill("p", 9));
    let (waited, killed) = tokio::join!(shim.task.wait(soon(), &waiting), shim.task.kill(soon(), &kill));
    killed.unwrap();
    assert_eq!(waited.unwrap().exit_status, 137);
    assert_eq!(used(&shim.task.stats(soon(), &support::stats("p")).await.unwrap()), (0, 0));
    assert_eq!(refusal(shim.task.kill(soon(), &kill).await).0, Code::NOT_FOUND);
    let deleted = shim.task.delete(soon(), &support::delete("p")).await.unwrap();
    assert_eq!((deleted.exit_status, deleted.pid), (137, own));
    assert_eq!(refusal(shim.task.delete(soon(), &support::delete("p")).await).0, Code::NOT_FOUND);
    assert!(is_empty(&shim.dir.path().join("state")), "nothing is left on disk");

    let topics = shim.containerd.wait_for(4).await;
    assert_eq!(topics, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
    let exited: TaskExit = shim.containerd.event("/tasks/exit");
    assert_eq!((exited.id, exited.container_id, exited.pid), ("p".into(), "p".into(), own));
}

#[tokio::test]
async fn every_signal_that_ends_something_ends_a_sandbox() {
    let shim = Shim::start(Echo::default()).await;
    for (signal, started) in [(1, true), (2, true), (15, true), (9, false), (15, false)] {
        shim.task.create(soon(), &sandbox(&shim, "p")).await.unwrap();
        if started {
            shim.task.start(soon(), &start("p")).await.unwrap();
        }
        shim.task.kill(soon(), &kill("p", signal)).await.unwrap();
        let exit = shim.task.wait(soon(), &support::wait("p")).await.unwrap();
        assert_eq!(exit.exit_status, 128 + signal);
        shim.task.delete(soon(), &support::delete("p")).await.unwrap();
    }
}

#[tokio::test]
async fn a_pod_is_removed_in_any_order_and_its_shim_stays_for_the_last_one() {
    for order in [["p", "a", "b"], ["a", "p", "b"], ["b", "a", "p"]] {
        let echo = Echo::default();
        let shim = Shim::start(echo.clone()).await;
        run_sandbox(&shim, "p").await.unwrap();
        for id in ["a", "b"] {
            shim.create(id, &member(&shim, id)).await.unwrap();
            shim.task.start(soon(), &start(id)).await.unwrap();
        }
        assert_eq!(echo.daemon.guests().len(), 2);
        for (index, id) in order.into_iter().enumerate() {
            end(&shim, id).await;
            for other in &order[index + 1..] {
                assert_eq!(shim.state(other).await.unwrap().status, Status::RUNNING.into(), "{other}");
            }
            shim.task.shutdown(soon(), &support::shutdown(id)).await.unwrap();
            let idle = tokio::time::timeout(Duration::from_millis(50), shim.shared.idle()).await;
            assert_eq!(idle.is_ok(), index == 2, "after {id} of {order:?}");
        }
        assert!(echo.daemon.guests().is_empty() && is_empty(&shim.dir.path().join("state")));
    }
}

#[tokio::test]
async fn a_sandbox_belongs_to_its_pod_and_to_no_other() {
    let shim = Shim::start(Echo::default()).await;
    run_sandbox(&shim, "p").await.unwrap();
    shim.create("a", &member(&shim, "a")).await.unwrap();
    let store = micrun::store::Store::at(shim.dir.path().join("state"));
    let (namespace, pod) = (micrun::id::Id::new("test").unwrap(), micrun::id::Id::new("p").unwrap());
    let found = store.of_pod(&namespace, &pod);
    let ids: Vec<&str> = found.iter().map(|(key, _)| key.id.as_str()).collect();
    assert_eq!(ids, ["a"]);
    let own = store.find(&micrun::id::Key { namespace, id: pod.clone() }).unwrap();
    assert_eq!(own.look().pod(), Some(&pod), "who deletes the sandbox finds its containers");
    assert!(own.claims().unwrap().is_empty(), "it has no core and no memory");
}

#[tokio::test]
async fn a_sandbox_that_cri_cannot_have_made_is_refused_in_one_sentence() {
    let shim = Shim::start(Echo::default()).await;
    let own_users = json!({"namespaces": [{"type": "user"}, {"type": "network"}]});
    let table = [
        (json!({TYPE: "pause"}), json!({}), "neither sandbox nor container"),
        (json!({TYPE: ""}), json!({}), "neither sandbox nor container"),
        (json!({TYPE: "sandbox", POD: "../p"}), json!({}), "is not a valid id"),
        (json!({TYPE: "sandbox", POD: "q"}), json!({}), "not its own id"),
        (json!({TYPE: "sandbox", POD: "p"}), own_users, "hostUsers"),
    ];
    for (annotations, linux, expected) in table {
        let request = sandbox(&shim, "p");
        let spec = json!({"ociVersion": "1.0.2", "annotations": annotations, "linux": linux});
        fs::write(format!("{}/config.json", request.bundle), spec.to_string()).unwrap();
        let (code, words) = refusal(shim.task.create(soon(), &request).await);
        assert_eq!(code, Code::INVALID_ARGUMENT, "{words}");
        assert!(words.contains(expected) && !words.contains('\n'), "{words}");
        assert!(is_empty(&shim.dir.path().join("state")));
    }
}

#[tokio::test]
async fn a_linux_image_in_a_pod_is_refused_with_what_to_do_and_the_pod_lives_on() {
    let echo = Echo::default();
    let shim = Shim::start(echo.clone()).await;
    run_sandbox(&shim, "p").await.unwrap();
    let bundle = member(&shim, "sidecar");
    fs::remove_file(bundle.rootfs().join("client.conf")).unwrap();
    for _ in 0..2 {
        let (code, words) = refusal(shim.create("sidecar", &bundle).await);
        assert_eq!(code, Code::INVALID_ARGUMENT);
        assert_eq!(
            words,
            "container test/sidecar: the image has no /client.conf; it is no RTOS image: give Linux containers, init \
             containers and sidecars too, a pod of their own without runtimeClassName, and pack firmware with \
             micrun-image-builder"
        );
    }
    shim.create("a", &member(&shim, "a")).await.unwrap();
    assert_eq!(echo.daemon.guests(), ["test/a"]);
    assert_eq!(shim.state("p").await.unwrap().status, Status::RUNNING.into());
}

#[tokio::test]
async fn what_a_pod_says_of_one_container_is_for_that_one_alone() {
    let shim = Shim::start(Echo::default()).await;
    run_sandbox(&shim, "p").await.unwrap();
    // As CRI of all versions writes them: the pod's annotations are every container's.
    let pod = [
        ("org.openeuler.micrun.container.firmware_path", "/none.elf"),
        ("org.openeuler.micrun.c.a/container.firmware_path", "/firmware.elf"),
        ("org.openeuler.micrun.c.b/container.firmware_path", "/../../etc/shadow"),
    ];
    let annotated = |id| {
        let bundle = shim.bundle(id);
        let own = [(TYPE, "container"), (POD, "p"), ("io.kubernetes.cri.container-name", id)];
        bundle.annotate(&[&own[..], &pod[..]].concat());
        bundle
    };
    shim.create("a", &annotated("a")).await.unwrap();
    let (code, words) = refusal(shim.create("b", &annotated("b")).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(words.contains("annotation org.openeuler.micrun.c.b/container.firmware_path"), "{words}");
    assert!(
        words.matches("annotation org").count() == 1 && words.ends_with("pack the image again"),
        "{words}"
    );
}

#[tokio::test]
async fn a_sandbox_may_be_made_again_after_it_failed_and_its_shim_ends_without_one() {
    let shim = Shim::start(Echo::default()).await;
    let mut request = sandbox(&shim, "p");
    request.stdout = "/nowhere/fifo".to_owned();
    assert_eq!(refusal(shim.task.create(soon(), &request).await).0, Code::FAILED_PRECONDITION);
    assert!(is_empty(&shim.dir.path().join("state")));
    run_sandbox(&shim, "p").await.unwrap();
    assert_eq!(refusal(shim.task.create(soon(), &sandbox(&shim, "p")).await).0, Code::ALREADY_EXISTS);
    shim.shared.end_if_unused();
    assert!(tokio::time::timeout(Duration::from_millis(50), shim.shared.idle()).await.is_err());
    end(&shim, "p").await;
    shim.shared.end_if_unused();
    tokio::time::timeout(SOON, shim.shared.idle()).await.unwrap();
}

/// config.json with a network namespace, of a container that asks for the pod's interface.
fn in_network(bundle: &Bundle, annotations: serde_json::Value, network: &Path) {
    let mut annotations = annotations;
    annotations["org.openeuler.micrun.container.network"] = "pod".into();
    let config = json!({
        "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "annotations": annotations,
        "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": network}]},
    });
    fs::write(bundle.path.join("config.json"), config.to_string()).unwrap();
}

/// CRI names the network of the sandbox's process to a pod's containers. That process is the shim.
#[tokio::test]
async fn the_pods_network_is_the_one_that_its_sandbox_was_made_with() {
    let mut config = NodeConfig::default();
    config.add_text("micrun.conf".as_ref(), "[policy.allow]\nnetwork = [\"pod\"]\n").unwrap();
    let shim = Shim::configured(config, Echo::default()).await;
    let of_shim = Path::new("/proc/self/ns/net");
    let of_pod = shim.dir.path().join("cni-1");
    fs::write(&of_pod, "").unwrap();

    let alone = shim.bundle("alone");
    in_network(&alone, json!({}), of_shim);
    let (code, words) = refusal(shim.create("alone", &alone).await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(words.contains("on the node's own network, whose interfaces no guest gets"), "{words}");
    in_network(&alone, json!({}), Path::new(""));
    let (_, words) = refusal(shim.create("alone", &alone).await);
    assert!(words.contains("in no pod with a network of its own"), "{words}");
    in_network(&alone, json!({}), &of_pod);
    shim.create("alone", &alone).await.unwrap();

    let request = sandbox(&shim, "p");
    in_network(&Bundle::new(request.bundle.clone().into()), json!({TYPE: "sandbox", POD: "p"}), &of_pod);
    shim.task.create(soon(), &request).await.unwrap();
    run_sandbox(&shim, "on-the-node").await.unwrap();
    let member = |pod: &str| {
        let bundle = shim.bundle("a");
        in_network(&bundle, json!({TYPE: "container", POD: pod}), of_shim);
        bundle
    };
    let (_, words) = refusal(shim.create("a", &member("on-the-node")).await);
    assert!(words.contains("not with hostNetwork"), "{words}");
    shim.create("a", &member("p")).await.unwrap();
    let state = fs::read_to_string(shim.state_dir("a").join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["network"], of_pod.display().to_string());
}
