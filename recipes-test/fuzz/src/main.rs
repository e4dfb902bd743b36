//! The targets under libFuzzer. Which one is said by the environment, since libFuzzer has the command line.
#![no_main]

mod limit;

use std::sync::OnceLock;

use micrun_fuzz::Target;

/// Names the target.
const VARIABLE: &str = "MICRUN_FUZZ_TARGET";

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (TARGET.get_or_init(target).run)(bytes);
});

fn target() -> &'static Target {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    let Some(target) = micrun_fuzz::find(&name) else {
        eprintln!("{VARIABLE} is {name:?}, which is no target; start this with cargo xtask fuzz");
        std::process::exit(2);
    };
    target
}
