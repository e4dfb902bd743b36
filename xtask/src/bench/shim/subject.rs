//! What is measured: a runtime, its shim, and an image that it runs.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use micrun_testkit::firmware::OURS_ARM64;
use micrun_testkit::{Containerd, Product, Release, Workspace, image, product, shell, step};

/// The image of a Linux program that does nothing.
const LINUX: &str = "localhost/linux:bench";

/// The Rust shim of runc as published, and how its program is called.
const RUST_SHIM: (&str, &str, &str) = ("containerd-runc-shim", "0.2.0", "containerd-shim-runc-v2-rs");

/// A runtime to measure.
#[derive(Debug)]
pub struct Subject {
    pub name: &'static str,
    pub runtime: &'static str,
    pub shim: PathBuf,
    /// What its Task service is called.
    pub service: &'static str,
    pub archive: PathBuf,
    image: String,
    /// The guest's program, where the image names none.
    program: Option<&'static str>,
}

/// What the Rust shim is called in the table.
pub const IN_RUST: &str = "runc, Rust";

/// Builds the Rust shim as its users do, once. Takes a minute.
pub fn prepare(workspace: &Workspace) -> Result<()> {
    let (package, version, program) = RUST_SHIM;
    let root = rust_shim_root(workspace)?;
    if root.join("bin").join(program).exists() {
        return Ok(());
    }
    let mut cargo = product::cargo(workspace);
    cargo.args(["install", package, "--version", version, "--locked", "--root"]).arg(&root);
    // Outside of ours: other profiles, other locked versions.
    cargo.env("CARGO_TARGET_DIR", root.join("target"));
    step(format_args!("Building what the shim is measured beside: {}", shell::line(&cargo)));
    shell::quietly(&mut cargo)?;
    std::fs::remove_dir_all(root.join("target")).context("cannot remove what the build left")
}

fn rust_shim_root(workspace: &Workspace) -> Result<PathBuf> {
    let (package, version, _) = RUST_SHIM;
    workspace.kit(&format!("bench/{package}-{version}"))
}

/// Ours, runc's shim in Go, which is that of the containerd `go`, and the one in Rust: in the order of the table's columns.
pub fn all(workspace: &Workspace, product: &Product, go: &Release) -> Result<Vec<Subject>> {
    let dir = workspace.kit("bench")?;
    let archive = image::of_program(&dir, LINUX, &image::sleeper(&dir)?)?;
    let ours = Subject {
        name: super::OURS,
        runtime: "io.containerd.mica.v2",
        shim: product.shim(),
        service: "containerd.task.v2.Task",
        archive: product.pack(&OURS_ARM64, &dir)?,
        image: OURS_ARM64.image(),
        program: None,
    };
    let in_go = Subject {
        name: "runc, Go",
        runtime: "io.containerd.runc.v2",
        shim: go.bin.join("containerd-shim-runc-v2"),
        service: "containerd.task.v2.Task",
        archive: archive.clone(),
        image: LINUX.into(),
        program: Some(image::PROGRAM),
    };
    let in_rust = Subject {
        name: IN_RUST,
        runtime: "io.containerd.runc.v2-rs",
        shim: rust_shim_root(workspace)?.join("bin").join(RUST_SHIM.2),
        service: "containerd.task.v3.Task",
        archive,
        image: LINUX.into(),
        program: Some(image::PROGRAM),
    };
    Ok(vec![ours, in_go, in_rust])
}

/// The value of the Rust shim, where it is among those that were measured.
pub fn of_rust(subjects: &[Subject], values: &[f64]) -> Option<f64> {
    subjects.iter().zip(values).find_map(|(subject, value)| (subject.name == IN_RUST).then_some(*value))
}

/// A folder with all shims, for containerd's PATH. Its own releases bring shims of runc, so this comes first.
pub fn folder(workspace: &Workspace, subjects: &[Subject]) -> Result<PathBuf> {
    let dir = workspace.kit("bench/shims")?;
    for subject in subjects {
        let link = dir.join(subject.program_name());
        // Another target directory may have had it.
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&subject.shim, &link)
            .with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(dir)
}

impl Subject {
    /// The arguments of `ctr` that run it.
    pub fn run<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let start = ["run", "--detach", "--runtime", self.runtime, &self.image, id];
        start.into_iter().chain(self.program).collect()
    }

    /// What its processes are called.
    pub fn program_name(&self) -> String {
        self.shim.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The PIDs of its shims.
    pub fn shims(&self, containerd: &Containerd) -> Result<Vec<u32>> {
        let name = self.program_name();
        let processes = containerd.namespace().processes()?;
        let shims = processes.into_iter().filter(|process| process.program() == name);
        let pids: Vec<u32> = shims.map(|process| process.pid).collect();
        ensure!(!pids.is_empty(), "no {name} is running");
        Ok(pids)
    }
}
