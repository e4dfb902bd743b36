//! No allocation follows a size that a file merely claims. Alone in its program, since it watches the allocator.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use micrun_image_builder::check::{Report, advise, examine};
use micrun_image_builder::detect::identify;

/// Remembers the largest single allocation: a reader that believes a size shows here.
struct LargestAllocation;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for LargestAllocation {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: LargestAllocation = LargestAllocation;

#[test]
fn small_files_take_little_memory_whatever_they_claim() {
    // The files have under 4 KiB each and claim up to 2^64 bytes of everything. The largest that is needed is the
    // automaton for the texts of the known systems.
    const ENOUGH: usize = 64 << 10;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes-test/fuzz/corpus/elf");
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        LARGEST.store(0, Ordering::Relaxed);
        let mut report = Report::default();
        if let Some(elf) = examine(&bytes, &mut report) {
            advise(&elf, identify(&elf).unwrap().as_ref(), &mut report);
        }
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(largest <= ENOUGH, "{}: an allocation of {largest} bytes", path.display());
    }
}
