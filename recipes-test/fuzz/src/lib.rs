//! Fuzz targets: whatever reads bytes from outside is called here with bytes that may be anything.
//!
//! A target is a function in a file of its own under [`targets`]. It must end, neither panic nor take memory by a size
//! that its input merely claims, and keep the promises that it asserts. The folder `corpus` has a folder of inputs for
//! each target; `cargo test` runs them, and `cargo xtask fuzz` lets libFuzzer change them, guided by coverage.

pub mod targets;

/// Something that is fuzzed.
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Reads the input.
    pub run: fn(&[u8]),
}

/// Every target, sorted by name.
pub const ALL: &[Target] = &[
    Target { name: "board_yaml", run: targets::board_yaml::run },
    Target { name: "boot_image", run: targets::boot_image::run },
    Target { name: "client_conf", run: targets::client_conf::run },
    Target { name: "credentials", run: targets::credentials::run },
    Target { name: "dbus", run: targets::dbus::run },
    Target { name: "elf", run: targets::elf::run },
    Target { name: "exec_session", run: targets::exec_session::run },
    Target { name: "guest", run: targets::guest::run },
    Target { name: "kconfig", run: targets::kconfig::run },
    Target { name: "key", run: targets::key::run },
    Target { name: "layer", run: targets::layer::run },
    Target { name: "linux_resources", run: targets::linux_resources::run },
    Target { name: "mica_reply", run: targets::mica_reply::run },
    Target { name: "mica_status", run: targets::mica_status::run },
    Target { name: "micad_sim", run: targets::micad_sim::run },
    Target { name: "micrun_conf", run: targets::micrun_conf::run },
    Target { name: "names", run: targets::names::run },
    Target { name: "oci_archive", run: targets::oci_archive::run },
    Target { name: "oci_layout", run: targets::oci_layout::run },
    Target { name: "os_yaml", run: targets::os_yaml::run },
    Target { name: "project_yaml", run: targets::project_yaml::run },
    Target { name: "qmp", run: targets::qmp::run },
    Target { name: "raw_firmware", run: targets::raw_firmware::run },
    Target { name: "registry", run: targets::registry::run },
    Target { name: "resource_table", run: targets::resource_table::run },
    Target { name: "sbom", run: targets::sbom::run },
    Target { name: "signature", run: targets::signature::run },
    Target { name: "traceparent", run: targets::traceparent::run },
    Target { name: "zephyr_yaml", run: targets::zephyr_yaml::run },
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
