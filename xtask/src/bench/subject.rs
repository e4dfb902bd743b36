//! What is measured: a runtime, its shim, and an image that it runs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::{Containerd, Product, Release, Workspace, shell};

/// A Linux program that does nothing, as our firmware does when nobody types.
const PAUSE: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

/// A runtime to measure.
#[derive(Debug)]
pub struct Subject {
    pub name: &'static str,
    pub runtime: &'static str,
    pub shim: PathBuf,
    pub archive: PathBuf,
    image: String,
    /// The guest's program, where the image names none.
    program: Option<&'static str>,
}

/// Ours, with the test firmware.
pub fn micrun(workspace: &Workspace, product: &Product) -> Result<Subject> {
    Ok(Subject {
        name: "micrun",
        runtime: "io.containerd.mica.v2",
        shim: product.shim(),
        archive: product.pack(&OURS_ARM64, &workspace.kit("bench")?)?,
        image: OURS_ARM64.image(),
        program: None,
    })
}

/// runc's, of the same containerd, with a program that sleeps.
pub fn runc(workspace: &Workspace, release: &Release) -> Result<Subject> {
    let dir = workspace.kit("bench")?;
    let source = dir.join("pause.c");
    std::fs::write(&source, PAUSE).with_context(|| format!("cannot write {}", source.display()))?;
    let program = dir.join("pause");
    shell::quietly(Command::new("cc").args(["-static", "-O2", "-o"]).args([&program, &source]))?;
    let layout = dir.join("linux");
    if layout.exists() {
        std::fs::remove_dir_all(&layout).with_context(|| format!("cannot remove {}", layout.display()))?;
    }
    let image = format!("{}:linux", layout.display());
    let umoci = |arguments: &[&str]| shell::quietly(Command::new("umoci").args(arguments));
    umoci(&["init", "--layout", &layout.to_string_lossy()])?;
    umoci(&["new", "--image", &image])?;
    umoci(&["insert", "--image", &image, &program.to_string_lossy(), "/pause"])?;
    // containerd takes this annotation for the whole reference.
    let index = layout.join("index.json");
    let text = std::fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let text = text.replace("\"linux\"}", "\"localhost/linux:bench\"}");
    ensure!(text.contains("localhost/linux:bench"), "umoci writes its index differently now: {text}");
    std::fs::write(&index, text).with_context(|| format!("cannot write {}", index.display()))?;
    let archive = dir.join("linux.oci.tar");
    shell::quietly(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&layout).arg("."))?;
    Ok(Subject {
        name: "runc",
        runtime: "io.containerd.runc.v2",
        shim: release.bin.join("containerd-shim-runc-v2"),
        archive,
        image: "localhost/linux:bench".into(),
        program: Some("/pause"),
    })
}

impl Subject {
    /// The arguments of `ctr` that run it.
    pub fn run<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let start = ["run", "--detach", "--runtime", self.runtime, &self.image, id];
        start.into_iter().chain(self.program).collect()
    }

    /// The PIDs of its shims.
    pub fn shims(&self, containerd: &Containerd) -> Result<Vec<u32>> {
        let name = self.shim.file_name().unwrap_or_default().to_string_lossy();
        let processes = containerd.namespace().processes()?;
        let shims = processes.into_iter().filter(|process| process.program() == name);
        let pids: Vec<u32> = shims.map(|process| process.pid).collect();
        ensure!(!pids.is_empty(), "no {name} is running");
        Ok(pids)
    }
}
