//! Serves the virtio serial port that the machine was given for this; see the library.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use micrun_node_agent::serve::serve;

/// Where Linux lists its virtio ports, each with its `name` (drivers/char/virtio_console.c).
const PORTS: &str = "/sys/class/virtio-ports";

fn main() -> Result<()> {
    let name = std::env::args().nth(1).context("usage: micrun-node-agent PORT-NAME")?;
    let device = find(&name)?;
    let doing = || format!("cannot open {}", device.display());
    let port = File::options().read(true).write(true).open(&device).with_context(doing)?;
    serve(port.try_clone().with_context(doing)?, port)
}

/// The device file of the port with this name: udev's link to it comes later, if there is a udev.
fn find(name: &str) -> Result<PathBuf> {
    for port in Path::new(PORTS).read_dir().with_context(|| format!("cannot read {PORTS}"))? {
        let port = port.with_context(|| format!("cannot read {PORTS}"))?;
        if std::fs::read_to_string(port.path().join("name")).is_ok_and(|found| found.trim() == name) {
            return Ok(Path::new("/dev").join(port.file_name()));
        }
    }
    anyhow::bail!("no virtio port is called {name}")
}
