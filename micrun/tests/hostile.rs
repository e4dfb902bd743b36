//! config.json comes from an engine, its annotations from anybody: no bytes make the shim panic, hang or
//! leave its directory.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs;
use std::path::Path;

use micrun::bundle::Bundle;
use micrun::id::Id;
use proptest::prelude::*;

/// What `start` and Create do with a config.json before anything exists: the pod that it names.
fn pod_of(config: &[u8]) -> Result<Id, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config).unwrap();
    let bundle = Bundle::open(dir.path()).map_err(|error| error.to_string())?;
    bundle.pod(&Id::new("own").unwrap()).map_err(|error| error.to_string())
}

#[test]
fn the_corpus_of_bad_files_is_refused_with_a_reason() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/config.json");
    let mut count = 0;
    for file in fs::read_dir(corpus).unwrap() {
        let path = file.unwrap().path();
        let reason = pod_of(&fs::read(&path).unwrap()).expect_err(&path.display().to_string());
        assert!(
            reason.contains("config.json") || reason.contains("sandbox-id"),
            "{}: {reason}",
            path.display()
        );
        count += 1;
    }
    assert!(count >= 10, "the corpus is there");
}

const GOOD: &str = r#"{"ociVersion":"1.0.2","root":{"path":"rootfs","readonly":true},
    "annotations":{"io.kubernetes.cri.sandbox-id":"pod","org.openeuler.micrun.board":"qemu_arm64"}}"#;

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = pod_of(&bytes);
    }

    #[test]
    fn no_change_of_a_good_file_panics_or_names_a_pod_that_is_no_id(
        at in 0..GOOD.len(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(pod) = pod_of(&bytes) {
            prop_assert!(!pod.as_str().contains(['/', '\0']) && !pod.as_str().contains(".."));
        }
    }
}
