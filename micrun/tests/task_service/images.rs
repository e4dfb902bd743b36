//! Images and bundles that must not run.

use std::fs;

use containerd_shim_protos::api::Status;
use containerd_shim_protos::ttrpc::Code;
use micrun::pedestal::Claim;
use micrun_image_spec::firmware::Pedestal;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::echo::{Echo, Script};
use crate::support::{Shim, delete, is_empty, kill, pause, refusal, soon, start, stats, update, wait};

#[tokio::test]
async fn an_image_that_cannot_run_is_refused_in_one_sentence_and_leaves_nothing() {
    let shim = Shim::start(Echo::default()).await;
    let outside = ("org.openeuler.micrun.container.firmware_path", "/../etc/passwd");
    let no_file = ("org.openeuler.micrun.container.firmware_path", "/none.elf");
    let zeros = format!("sha256:{}", "0".repeat(64));
    let wrong_hash = ("org.openeuler.micrun.container.firmware_hash", zeros.as_str());
    let no_pedestal = ("org.openeuler.micrun.ped.pedestal", "xen");
    for (annotation, said) in [
        (outside, "firmware_path"),
        (no_file, "/none.elf"),
        (wrong_hash, "/firmware.elf in the image is sha256:"),
        (no_pedestal, "pedestal xen"),
    ] {
        let bundle = shim.bundle("bad");
        bundle.annotate(&[annotation]);
        let (code, text) = refusal(shim.create("bad", &bundle).await);
        assert!(matches!(code, Code::INVALID_ARGUMENT | Code::FAILED_PRECONDITION), "{code:?} {text}");
        assert!(text.contains("bad") && text.contains(said) && text.contains(';'), "{text}");
        assert!(!text.contains('\n'), "{text}");
        assert!(is_empty(&shim.dir.path().join("state")));
        assert_eq!(refusal(shim.state("bad").await).0, Code::NOT_FOUND);
    }
    assert!(shim.containerd.topics().is_empty(), "nobody is told of what never was");
}

#[tokio::test]
async fn a_hypervisor_has_a_core_for_each_virtual_processor() {
    let asking = |shim: &Shim, id, vcpus| {
        let bundle = shim.bundle(id);
        let conf = fs::read_to_string(bundle.rootfs().join("client.conf")).unwrap();
        bundle.file("client.conf", &conf.replace("=qemu\n", "=xen\n"));
        bundle.annotate(&[("org.openeuler.micrun.container.max_vcpu_num", vcpus)]);
        bundle
    };
    let shim = Shim::start(Echo::with(Script { serves: Pedestal::Xen, ..Script::default() })).await;
    shim.create("four", &asking(&shim, "four", "4")).await.unwrap();
    let (code, text) = refusal(shim.create("five", &asking(&shim, "five", "5")).await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(text.contains("5 virtual processors, and the node has 4 cores; lower"), "{text}");
    let emulated = Shim::start(Echo::default()).await;
    let bundle = emulated.bundle("many");
    bundle.annotate(&[("org.openeuler.micrun.container.max_vcpu_num", "5")]);
    emulated.create("many", &bundle).await.unwrap();
}

#[tokio::test]
async fn an_image_without_client_conf_is_no_image_of_ours() {
    let shim = Shim::start(Echo::default()).await;
    let bundle = shim.bundle("bad");
    fs::remove_file(bundle.rootfs().join("client.conf")).unwrap();
    let (code, text) = refusal(shim.create("bad", &bundle).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(text.contains("/client.conf") && text.contains("micrun-image-builder"), "{text}");
    assert!(is_empty(&shim.dir.path().join("state")));
}

#[tokio::test]
async fn links_of_the_image_stay_in_the_image_and_special_files_are_refused() {
    let shim = Shim::start(Echo::default()).await;
    let bundle = shim.bundle("a");
    let firmware = bundle.rootfs().join("firmware.elf");
    fs::remove_file(&firmware).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &firmware).unwrap();
    let (_, text) = refusal(shim.create("a", &bundle).await);
    assert!(text.contains("the image has no /firmware.elf"), "the image's /etc is meant: {text}");

    for special in [FileType::Directory, FileType::Fifo, FileType::Socket] {
        fs::remove_file(&firmware).or_else(|_| fs::remove_dir(&firmware)).unwrap();
        match special {
            FileType::Directory => fs::create_dir(&firmware).unwrap(),
            _ => mknodat(CWD, &firmware, special, Mode::RUSR, 0).unwrap(),
        }
        let (_, text) = refusal(shim.create("a", &bundle).await);
        assert!(text.contains("not a plain file"), "{special:?}: {text}");
    }
}

#[tokio::test]
async fn an_image_whose_contents_a_power_cut_took_is_said_to_be_lost() {
    let shim = Shim::start(Echo::default()).await;
    for file in ["client.conf", "firmware.elf"] {
        let bundle = shim.bundle(file);
        fs::write(bundle.rootfs().join(file), "").unwrap();
        let (code, text) = refusal(shim.create(file, &bundle).await);
        assert_eq!(code, Code::INVALID_ARGUMENT);
        assert!(text.contains(&format!("/{file} in the image is empty")), "{text}");
        assert!(text.contains("pull it again"), "{text}");
    }
}

#[tokio::test]
async fn a_firmware_that_would_fill_the_nodes_memory_is_refused() {
    let shim = Shim::start(Echo::default()).await;
    let bundle = shim.bundle("a");
    let firmware = fs::File::create(bundle.rootfs().join("firmware.elf")).unwrap();
    firmware.set_len(3 << 30).unwrap();
    let (code, text) = refusal(shim.create("a", &bundle).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(text.contains("3221225472 bytes"), "{text}");
    assert!(is_empty(&shim.dir.path().join("state")));
}

#[tokio::test]
async fn a_bundle_without_a_valid_config_json_is_refused() {
    let shim = Shim::start(Echo::default()).await;
    let bundle = shim.bundle("bad");
    let config = bundle.path.join("config.json");
    fs::remove_file(&config).unwrap();
    let missing = (None, Code::INTERNAL);
    let invalid = ["", "{", r#"{"root": 7}"#].map(|text| (Some(text), Code::INVALID_ARGUMENT));
    for (text, expected) in std::iter::once(missing).chain(invalid) {
        if let Some(text) = text {
            fs::write(&config, text).unwrap();
        }
        let (code, words) = refusal(shim.create("bad", &bundle).await);
        assert_eq!(code, expected, "{words}");
        assert!(words.contains("config.json"), "{words}");
    }
}

#[tokio::test]
async fn a_failure_half_way_is_undone() {
    for script in
        [Script { refuse_plan: true, ..Script::default() }, Script { fail_create: true, ..Script::default() }]
    {
        let echo = Echo::with(script);
        let shim = Shim::start(echo.clone()).await;
        let (_, text) = refusal(shim.create("a", &shim.bundle("a")).await);
        assert!(text.contains("container test/a: "), "{text}");
        assert!(echo.daemon.guests().is_empty() && is_empty(&shim.dir.path().join("state")));
    }
}

#[tokio::test]
async fn an_image_that_is_only_verified_is_refused_as_ever_and_makes_no_guest() {
    // The board's own guest would take a core; whoever verifies takes none.
    let echo = Echo::with(Script { claims: vec![Claim::Core(1)], ..Script::default() });
    let daemon = echo.daemon.clone();
    let shim = Shim::start(echo).await;
    let verify_only = ("org.openeuler.micrun.container.verify_only", "yes");
    let zeros = format!("sha256:{}", "0".repeat(64));
    let bundle = shim.bundle("new");
    bundle.annotate(&[verify_only, ("org.openeuler.micrun.container.firmware_hash", &zeros)]);
    let (_, text) = refusal(shim.create("new", &bundle).await);
    assert!(text.contains("/firmware.elf in the image is sha256:"), "{text}");

    shim.run("old").await;
    bundle.annotate(&[verify_only]);
    shim.create("new", &bundle).await.unwrap();
    shim.task.start(soon(), &start("new")).await.unwrap();
    assert_eq!(daemon.guests().len(), 1, "the old guest alone");
    let state = shim.state("new").await.unwrap();
    assert_eq!(state.status, Status::RUNNING.into());
    assert_ne!(state.pid, 0, "its shim stands for it");
    shim.task.update(soon(), &update("new", serde_json::json!({"cpu": {"shares": 512}}))).await.unwrap();
    shim.task.stats(soon(), &stats("new")).await.unwrap();
    let (code, _) = refusal(shim.task.pause(soon(), &pause("new")).await);
    assert_eq!(code, Code::UNIMPLEMENTED);
    shim.task.kill(soon(), &kill("new", 15)).await.unwrap();
    assert_eq!(shim.task.wait(soon(), &wait("new")).await.unwrap().exit_status, 143);
    shim.task.delete(soon(), &delete("new")).await.unwrap();
    assert!(!shim.state_dir("new").exists());
    assert_eq!(daemon.guests().len(), 1, "and still");
}
