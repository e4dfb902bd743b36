//! Our programs for the Arm boards' Linux, built on a PC: the workspace's own cargo, Debian's cross linker, and Debian's
//! compiler for browsers (rustc-web) with its standard library for both machines, unpacked and never installed: it
//! conflicts with rustup's, and the standard library must be of the very same compiler.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::apt::PrivateApt;
use crate::product::{Profile, cargo};
use crate::unpacked::once;
use crate::{Workspace, note, packages, shell, step};

/// What the programs are built for.
pub const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The oldest suite with a compiler that is new enough: its binaries run on this libc and all newer ones.
const SUITE: &str = "bookworm";

/// What the machine has, since it has a compiler; its own are never older than what its linker links.
const OWN_LIBRARIES: [&str; 3] = ["libc6", "libgcc-s1", "libstdc++6"];

/// Builds packages of the workspace and returns the folder of their programs, in a target directory of its own: another
/// compiler would rebuild everything in the shared one.
///
/// # Errors
/// If this is no x86-64 machine, the compiler cannot be fetched, or a package does not build.
pub fn build(workspace: &Workspace, profile: Profile, names: &[&str]) -> Result<PathBuf> {
    packages::ensure("building for arm64", &[&packages::CROSS, &packages::RELEASES])?;
    let rustc = compiler(workspace)?;
    let target = workspace.kit("cross")?.join("target");
    let mut cargo = cargo(workspace);
    cargo.env("CARGO_TARGET_DIR", &target).env("RUSTC", rustc).env_remove("RUSTC_WRAPPER");
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    cargo.env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc");
    cargo.args(["build", "--target", TARGET]);
    cargo.args(profile.cargo_option()).args(names.iter().flat_map(|name| ["-p", name]));
    step(format_args!("Building for arm64 Linux: {}", shell::line(&cargo)));
    shell::run(&mut cargo)?;
    find(workspace, profile)
}

/// The folder of the programs that an earlier [`build`] left.
///
/// # Errors
/// If it cannot be made.
pub fn find(workspace: &Workspace, profile: Profile) -> Result<PathBuf> {
    Ok(workspace.kit("cross")?.join("target").join(TARGET).join(profile.folder()))
}

/// A rustc that builds for this machine (procedural macros, build scripts) and for [`TARGET`].
///
/// # Errors
/// If this is no x86-64 machine, or the compiler cannot be fetched.
pub fn compiler(workspace: &Workspace) -> Result<PathBuf> {
    ensure!(cfg!(target_arch = "x86_64"), "building for arm64 is prepared for x86-64 machines only");
    let dir = workspace.kit("cross")?.join("rust");
    let announce = || {
        note(format_args!("fetching a Rust compiler for {TARGET} from Debian {SUITE}, 210 MB"));
        Ok(())
    };
    once(&dir, announce, |part| fetch(&workspace.kit("apt")?.join("cross"), part))?;
    Ok(dir.join("rustc"))
}

fn fetch(apt: &Path, dir: &Path) -> Result<()> {
    let apt = PrivateApt::stable(apt, SUITE, &["amd64", "arm64"])?;
    apt.unpack_all(&["libstd-rust-web-dev"], &OWN_LIBRARIES, dir)?;
    // With its dependencies, each of these would bring a whole C compiler or a second LLVM.
    for package in ["rustc-web", "libstd-rust-web-dev:arm64"] {
        let deb = apt.download(package, dir)?;
        crate::apt::unpack(&deb, dir)?;
        fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))?;
    }
    let wrapper = dir.join("rustc");
    fs::write(&wrapper, WRAPPER).with_context(|| format!("cannot write {}", wrapper.display()))?;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&wrapper, mode)
        .with_context(|| format!("cannot make {} a program", wrapper.display()))?;
    shell::quietly(Command::new(&wrapper).arg("--version")).context("the unpacked compiler does not run")
}

/// Starts the compiler with the libraries beside it. Not through LD_LIBRARY_PATH, which the machine's own linker and
/// the build scripts would inherit.
const WRAPPER: &str = r#"#!/bin/sh
here=${0%/*}
exec /lib64/ld-linux-x86-64.so.2 \
    --library-path "$here/usr/lib/x86_64-linux-gnu:$here/lib/x86_64-linux-gnu" "$here/usr/bin/rustc" "$@"
"#;
