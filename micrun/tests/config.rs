//! What the node decides, seen from outside: refusals over ttrpc, and what is kept for `micrun explain`.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod support;

use std::fs;
use std::path::Path;

use containerd_shim_protos::ttrpc::Code;
use micrun::config::{Explanation, NodeConfig};
use micrun::pedestal::Node;
use micrun_image_spec::board::{BoardProfile, Boards, Origin};
use micrun_image_spec::firmware::Pedestal;
use support::echo::{Echo, Script};
use support::{CLIENT_CONF, Shim, delete, is_empty, refusal, soon};

fn config(text: &str) -> NodeConfig {
    let mut config = NodeConfig::default();
    config.add_text(Path::new("/etc/mica/micrun/micrun.conf"), text).unwrap();
    config
}

async fn shim(text: &str) -> Shim {
    Shim::with(Ok(config(text)), Node::new(Boards::builtin(), []), Echo::default()).await
}

#[tokio::test]
async fn what_the_node_does_not_allow_is_refused_with_the_line_that_would_allow_it() {
    let shim = shim("[policy.allow]\nnetwork = [\"bridge=br0\"]\n").await;
    let bundle = shim.bundle("a");
    bundle.annotate(&[("org.openeuler.micrun.runtime.exclusive_dom0_cpu", "yes")]);
    let (code, said) = refusal(shim.create("a", &bundle).await);
    assert_eq!(code, Code::PERMISSION_DENIED, "{said}");
    assert_eq!(
        said,
        "container test/a: exclusive_dom0_cpu \"yes\" (from: annotation \
         org.openeuler.micrun.runtime.exclusive_dom0_cpu): this node's policy does not allow it; to allow it, write \
         `exclusive_dom0_cpu = true` under [policy.allow] in /etc/mica/micrun/micrun.conf"
    );
    assert!(is_empty(&shim.dir.path().join("state/test")), "nothing is left");

    bundle.annotate(&[("org.openeuler.micrun.config_path", "/etc/shadow")]);
    let (code, said) = refusal(shim.create("a", &bundle).await);
    assert_eq!(code, Code::PERMISSION_DENIED);
    assert!(said.contains("config_path = [\"/etc/shadow\"]"), "{said}");
}

#[tokio::test]
async fn a_cell_is_allowed_by_what_it_is() {
    let conf =
        "[Mica]\nName=x\nClientPath=/firmware.elf\nPedestal=jailhouse\nPedestalConf=/demo.cell\nCPU=0\n";
    let cell = |shim: &Shim| {
        let bundle = shim.bundle("a");
        bundle.file("client.conf", conf);
        bundle.file("demo.cell", "a cell");
        bundle
    };
    let strict = Shim::with(Ok(config("")), Node::new(Boards::builtin(), []), jailhouse()).await;
    let (code, said) = refusal(strict.create("a", &cell(&strict)).await);
    assert_eq!(code, Code::PERMISSION_DENIED, "{said}");
    assert!(said.contains("(from: PedestalConf in the image's client.conf)"), "{said}");
    let line = said.split('`').nth(1).unwrap();
    assert!(line.starts_with("ped_conf = [\"sha256:"), "{said}");

    let text = format!("[policy.allow]\n{line}\n");
    let node = Node::new(Boards::builtin(), []);
    let allowing = Shim::with(Ok(config(&text)), node, jailhouse()).await;
    let bundle = cell(&allowing);
    allowing.create("a", &bundle).await.unwrap();
    allowing.task.delete(soon(), &delete("a")).await.unwrap();
    bundle.file("demo.cell", "another cell");
    let (code, _) = refusal(allowing.create("a", &bundle).await);
    assert_eq!(code, Code::PERMISSION_DENIED);
}

fn jailhouse() -> Echo {
    Echo::with(Script { serves: Pedestal::Jailhouse, ..Script::default() })
}

const TEST_BOARD: &str = "name: test_board\ndescription: asks for semihosting\narch: aarch64\npedestals: [qemu]\n\
    memory:\n  - { name: ram, base: 0x40000000, size: 128M, kind: ram }\n\
    qemu:\n  machine: virt\n  memory: 128M\n  args: [-semihosting]\n";

#[tokio::test]
async fn a_board_gets_semihosting_where_it_is_allowed() {
    let boards = || {
        let mut boards = Boards::builtin();
        let board = BoardProfile::parse("test", TEST_BOARD).unwrap();
        boards.add(board, Origin::BuiltIn).unwrap();
        boards
    };
    let on = |text: &str| Shim::with(Ok(config(text)), Node::new(boards(), []), Echo::default());
    let strict = on("").await;
    let bundle = strict.bundle("a");
    bundle.file("client.conf", &CLIENT_CONF.replace("qemu_arm64", "test_board"));
    let (code, said) = refusal(strict.create("a", &bundle).await);
    assert_eq!(code, Code::PERMISSION_DENIED, "{said}");
    assert!(said.contains("semihosting \"test_board\" (from: board in the image's client.conf)"), "{said}");

    let allowing = on("[policy.allow]\nsemihosting = [\"test_*\"]\n").await;
    let bundle = allowing.bundle("a");
    bundle.file("client.conf", &CLIENT_CONF.replace("qemu_arm64", "test_board"));
    allowing.create("a", &bundle).await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_told_to_whoever_wants_a_container() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("micrun.conf");
    fs::write(&path, "[guest]\nwieght = 1\n").unwrap();
    let broken = NodeConfig::load(&path);
    let shim = Shim::with(broken, Node::new(Boards::builtin(), []), Echo::default()).await;
    let (code, said) = refusal(shim.create("a", &shim.bundle("a")).await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    let place =
        format!("{}:2:1: there is no key `guest.wieght`; did you mean `guest.weight`?", path.display());
    assert!(said.contains(&place) && said.ends_with("; correct or remove the file"), "{said}");
}

#[tokio::test]
async fn where_each_value_came_from_is_kept_as_long_as_the_container() {
    let shim = shim("[guest]\nweight = 77\nmemory = 16\n").await;
    let bundle = shim.bundle("a");
    bundle
        .annotate(&[("org.openeuler.micrun.container.os", "zephyr"), ("org.openeuler.micrun.nonsense", "x")]);
    shim.create("a", &bundle).await.unwrap();
    let told = Explanation::load(&shim.state_dir("a")).unwrap();
    let line = |name: &str| {
        let value = told.get(name).unwrap();
        format!("{} from {}", value.value, value.origin)
    };
    assert_eq!(line("board"), "qemu_arm64 from board in the image's client.conf");
    assert_eq!(line("container.os"), "zephyr from annotation org.openeuler.micrun.container.os");
    assert_eq!(line("weight"), "77 from /etc/mica/micrun/micrun.conf:2");
    assert_eq!(line("memory"), "16 MiB from /etc/mica/micrun/micrun.conf:3");
    assert_eq!(line("capacity"), "0 from default");
    assert_eq!(told.ignored.len(), 1);
    shim.task.delete(soon(), &delete("a")).await.unwrap();
    assert!(Explanation::load(&shim.state_dir("a")).is_err());
}
