//! Whatever comes in from outside is read or refused, never panicked over.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::fs;
use std::path::Path;

use micrun_image_spec::board::{BoardProfile, Boards};
use micrun_image_spec::client_conf::ClientConf;
use micrun_image_spec::digest::Sha256Digest;
use micrun_image_spec::os::OsProfile;
use micrun_image_spec::rootfs_path::RootfsPath;
use micrun_image_spec::units::{ByteSize, Mib};
use proptest::prelude::*;

/// The files that are not good, from the corpus that the fuzzer starts with.
fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes-test/fuzz/corpus").join(folder);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
        })
        .filter(|(name, _)| !name.starts_with("good-"))
        .collect();
    files.sort();
    assert!(files.len() > 8, "the corpus {folder} is gone");
    files
}

#[test]
fn every_bad_client_conf_is_refused_in_one_sentence() {
    for (name, bytes) in corpus("client_conf") {
        let error = ClientConf::from_bytes(&bytes).expect_err(&name).to_string();
        assert!(error.starts_with("client.conf"), "{name}: {error}");
        assert!(error.lines().count() == 1 && error.len() < 300, "{name}: {error}");
    }
}

#[test]
fn every_bad_board_is_refused_with_its_file_named() {
    for (name, bytes) in corpus("board_yaml") {
        let text = String::from_utf8(bytes).unwrap();
        let error = BoardProfile::parse(&name, &text).expect_err(&name).to_string();
        assert!(error.contains(&name), "{name}: {error}");
        assert!(error.len() < 1000, "{name}: {error}");
    }
}

#[test]
fn every_bad_os_profile_is_refused_with_its_file_named() {
    for (name, bytes) in corpus("os_yaml") {
        let text = String::from_utf8(bytes).unwrap();
        let error = OsProfile::parse(&name, &text).expect_err(&name).to_string();
        assert!(error.contains(&name), "{name}: {error}");
        assert!(error.len() < 1000, "{name}: {error}");
    }
}

proptest! {
    #[test]
    fn client_conf_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = ClientConf::from_bytes(&bytes);
    }

    #[test]
    fn a_client_conf_that_is_read_is_written_and_read_again(
        lines in prop::collection::vec("(Name|cpu|ClientPath|Pedestal|Memory|VCPU|x|[A-Za-z]{1,6})[=: ]{1,2}[ -~]{0,12}", 0..12)
    ) {
        let text = format!("[Mica]\n{}\n", lines.join("\n"));
        if let Ok(conf) = text.parse::<ClientConf>() {
            let again: ClientConf = conf.to_string().parse().unwrap();
            prop_assert_eq!(again.to_string(), conf.to_string());
        }
    }

    #[test]
    fn a_client_conf_that_is_valid_is_read_back_as_it_was(
        keys in prop::collection::vec(("(IOMem|network|CPU|Memory|MaxMemory|Debug|[A-Za-z.]{1,6})", "[ -~]{0,9}"), 0..8),
        ours in prop::collection::vec(("[A-Za-z._-]{1,9}", "[ -~]{0,9}"), 0..8),
        filler in prop_oneof![3 => Just(0usize), 1 => 60_000..66_000usize],
    ) {
        let mut conf = ClientConf::default();
        // Written even where they are unset.
        conf.set("Pedestal", "qemu").unwrap();
        conf.set("PedestalConf", "").unwrap();
        for (key, value) in &keys {
            let _ = conf.set(key, value);
        }
        for (key, value) in &ours {
            let _ = conf.set_micrun(key, value);
        }
        for (number, length) in (0..filler).step_by(4096).map(|at| (filler - at).min(4096)).enumerate() {
            conf.set_micrun(&format!("filler{number}"), &"x".repeat(length)).unwrap();
        }
        if conf.validate().is_ok() {
            prop_assert_eq!(conf.to_string().parse::<ClientConf>(), Ok(conf));
        }
    }

    #[test]
    fn a_board_survives_any_change_of_its_text(at in 0usize..900, cut in 0usize..40, put in "\\PC{0,20}") {
        let text = Boards::builtin().get("qemu_x86").unwrap().to_yaml();
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.min(chars.len());
        let end = (at + cut).min(chars.len());
        chars.splice(at..end, put.chars());
        if let Ok(board) = BoardProfile::parse("changed", &chars.into_iter().collect::<String>()) {
            prop_assert_eq!(BoardProfile::parse("again", &board.to_yaml()).unwrap(), board);
        }
    }

    #[test]
    fn a_rootfs_path_never_leaves_the_root(text in "[a./\\\\]{0,12}|\\PC{0,40}") {
        if let Ok(path) = text.parse::<RootfsPath>() {
            prop_assert!(path.as_str().starts_with('/'));
            prop_assert!(path.relative().split('/').all(|part| !matches!(part, "" | "." | "..")));
            prop_assert_eq!(path.as_str().parse::<RootfsPath>().unwrap(), path);
        }
    }

    #[test]
    fn a_digest_is_read_back_as_it_is_written(text in "(sha256:)?[0-9a-fA-F]{60,68}|\\PC{0,80}") {
        if let Ok(digest) = text.parse::<Sha256Digest>() {
            prop_assert_eq!(digest.to_string().parse::<Sha256Digest>().unwrap(), digest);
        }
    }

    #[test]
    fn a_size_is_read_back_as_it_is_written(bytes in any::<u64>(), text in "[0-9]{0,22}[KMGkmg]?|\\PC{0,12}") {
        prop_assert_eq!(ByteSize(bytes).to_string().parse::<ByteSize>().unwrap(), ByteSize(bytes));
        let _ = text.parse::<ByteSize>();
        let _ = Mib::try_from(ByteSize(bytes));
        let _ = Mib::holding(bytes);
    }
}
