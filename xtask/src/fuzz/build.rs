//! Builds the fuzzer: every crate below the targets is instrumented, so that libFuzzer sees which edges an input takes
//! and what it is compared with.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use micrun_testkit::product::cargo;
use micrun_testkit::{Workspace, shell, step};

/// LLVM's coverage instrumentation as libFuzzer reads it (LLVM, "SanitizerCoverage"): all edges, a counter for each,
/// their addresses, and the operands of comparisons.
const INSTRUMENTED: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The program, built in a target directory of its own: other flags would build everything else anew.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    let host = host()?;
    let target = workspace.kit("fuzz")?;
    let mut build = cargo(workspace);
    build.args(["build", "--package", "micrun-fuzz", "--features", "engine", "--profile", "fuzz"]);
    // With a target, build scripts and macros are built without the flags.
    build.args(["--target", &host]).env("CARGO_TARGET_DIR", &target);
    build.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTED.join("\x1f"));
    step(format_args!("Building the fuzzer (minutes, the first time): {}", shell::line(&build)));
    shell::run(&mut build)?;
    Ok(target.join(host).join("fuzz/micrun-fuzz"))
}

/// What the compiler builds for when nobody says it.
fn host() -> Result<String> {
    let rustc: OsString = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = shell::output(Command::new(rustc).arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).with_context(|| format!("rustc -vV does not name its host: {said}"))
}
