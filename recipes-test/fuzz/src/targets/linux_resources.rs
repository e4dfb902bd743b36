//! What an engine asks for in an update: the JSON of `linux.resources`, and what a guest would get.

// The folder alone: the rest of the runtime brings a hundred crates, which would all be built for the fuzzer.
#[path = "../../../../micrun/src/resources/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the runtime uses what is not called here")]
mod resources;

use super::check_error;
use resources::{Asked, CpuSet, Resources, Wishes};

/// Reads the JSON, plans, and goes there from a guest that asked for nothing.
pub fn run(bytes: &[u8]) {
    let Ok(json) = serde_json::from_slice(bytes) else { return };
    let asked = match Asked::from_oci(&json) {
        Ok(asked) => asked,
        Err(error) => return check_error(&error),
    };
    let (wishes, cores) = (Wishes::default(), CpuSet::first(4));
    let Ok(before) = Resources::plan(&wishes, &Asked::default(), &cores, None) else { return };
    match Resources::plan(&wishes, &Asked::default().updated(asked), &cores, Some(&before)) {
        Ok(after) => {
            assert_eq!(after.vcpus, 1, "its maximum");
            assert!(before.changes_to(&after, &cores).len() <= 6);
        }
        Err(error) => check_error(&error),
    }
}
