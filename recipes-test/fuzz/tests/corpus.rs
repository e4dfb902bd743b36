//! Every input of the corpus goes through its target, without libFuzzer.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::fs;
use std::path::{Path, PathBuf};

/// Largest file of the corpus, bytes: small inputs are changed more often in the same time.
const MAX: usize = 4096;

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_target_has_a_folder() {
    let folders: Vec<PathBuf> = sorted(&corpus()).into_iter().filter(|path| path.is_dir()).collect();
    let folders: Vec<&str> = folders.iter().map(|path| name(path)).collect();
    let targets: Vec<&str> = micrun_fuzz::ALL.iter().map(|target| target.name).collect();
    assert_eq!(folders, targets);
}

#[test]
fn every_input_is_survived() {
    for target in micrun_fuzz::ALL {
        let files = sorted(&corpus().join(target.name));
        assert!(files.len() >= 2, "{} has hardly a corpus", target.name);
        for path in files {
            // Shown if the target panics.
            println!("{}", path.display());
            let bytes = fs::read(&path).unwrap();
            assert!(bytes.len() <= MAX, "{} has {} bytes", path.display(), bytes.len());
            (target.run)(&bytes);
        }
    }
}
