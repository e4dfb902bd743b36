//! A full device is named, whatever was to be written to it. Full and read-only file systems are among the end-to-end
//! tests, which can mount some.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::fs::{self, File};

use support::layout::Layout;
use support::{TestElf, builder, stderr};

#[test]
fn a_full_device_is_named() {
    let dir = tempfile::tempdir().unwrap();
    Layout::packed(dir.path(), &TestElf::new(), &["--platform", "linux/arm64"]);
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for (arguments, what) in [
        (&["pack", "app.elf", "-q", "-o", "/dev/full"][..], "the image /dev/full"),
        (&["copy", "oci:layout", "/dev/full"], "the image /dev/full"),
        (&["extract", "layout", "--elf", "/dev/full"], "the firmware to /dev/full"),
        (&["pack", "app.elf", "-q", "-o", "-"], "the image to standard output"),
        (&["extract", "layout", "--elf", "-"], "the firmware to -"),
        (&["inspect", "layout"], "the result"),
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = builder().args(arguments).current_dir(dir.path()).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains(what) && said.contains("No space left"), "{arguments:?}: {said}");
        assert_eq!(names(), before, "{arguments:?} left something");
    }
}
