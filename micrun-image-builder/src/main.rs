//! The command `micrun-image-builder`; all of it is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    micrun_image_builder::cli::main()
}
