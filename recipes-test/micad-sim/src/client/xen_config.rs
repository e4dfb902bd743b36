//! The configuration of a domain, as the daemon writes it for xl.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::board::Failure;
use crate::wire::create::Create;

/// Writes what xl is given for a domain. Values go in as they came: nothing is quoted.
pub fn write(message: &Create, path: &Path) -> Result<(), Failure> {
    for (value, what) in [(message.vcpus, "VCPU number"), (message.memory, "Memory size")] {
        if value < 0 {
            return Err(Failure::new(format!("{what} not set ({value}). Must be >= 0.")));
        }
    }
    if message.pedestal_conf.as_os_str().is_empty() {
        return Err(Failure::new("PedestalConf (ped_cfg) is empty"));
    }
    let mut text = Vec::new();
    let mut line = |key: &str, quote: &str, value: &OsStr| {
        text.extend(format!("{key} = {quote}").bytes());
        text.extend(value.as_bytes());
        text.extend(format!("{quote}\n").bytes());
    };
    let number = |value: i32| value.to_string();
    line("name", "\"", &message.name);
    line("vcpus", "", number(message.vcpus).as_ref());
    line("memory", "", number(message.memory).as_ref());
    line("kernel", "\"", message.pedestal_conf.as_os_str());
    line("gic_version", "\"", "v3".as_ref());
    line("acpi", "", "0".as_ref());
    for (key, value) in [("maxvcpus", message.max_vcpus), ("maxmem", message.max_memory)] {
        if value > 0 {
            line(key, "", number(value).as_ref());
        }
    }
    if !message.cpu.is_empty() {
        line("cpus", "\"", &message.cpu);
    }
    for (key, value) in [("cpu_weight", message.weight), ("cap", message.capacity)] {
        if value >= 0 {
            line(key, "", number(value).as_ref());
        }
    }
    for (key, quote, value) in [("iomem", "", &message.iomem), ("network", "\"", &message.network)] {
        if !value.is_empty() {
            line(key, quote, value);
        }
    }
    let written = fs::File::create(path).and_then(|mut file| file.write_all(&text));
    written.map_err(|error| Failure::new(format!("Failed to create Xen config {}: {error}", path.display())))
}
