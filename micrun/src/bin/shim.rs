//! `containerd-shim-mica-v2`: see [`micrun::shim`].

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    micrun::shim::main(&arguments)
}
