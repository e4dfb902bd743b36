//! One file for each target. What a target calls is public: fuzzing needs no back doors.

pub mod board_yaml;
pub mod boot_image;
pub mod client_conf;
pub mod credentials;
pub mod dbus;
pub mod elf;
pub mod exec_session;
pub mod guest;
pub mod kconfig;
pub mod key;
pub mod layer;
pub mod linux_resources;
pub mod mica_reply;
pub mod mica_status;
pub mod micad_sim;
pub mod micrun_conf;
pub mod names;
pub mod oci_archive;
pub mod oci_layout;
pub mod os_yaml;
pub mod project_yaml;
pub mod qmp;
pub mod raw_firmware;
pub mod registry;
pub mod resource_table;
pub mod sbom;
pub mod signature;
pub mod traceparent;
pub mod zephyr_yaml;

use micrun_image_builder::check::Report;

/// Findings are for people: each has a remedy, and none quotes half of the input.
fn check_findings(report: &Report) {
    for finding in report.iter() {
        assert!(finding.message.len() < 1000 && !finding.remedy.is_empty(), "{finding:?}");
    }
}

/// So are errors.
fn check_error(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 1500, "{text}");
}
