//! Memory that is asked for at once is limited: a reader that believes a size in its input stops here.
//!
//! libFuzzer's own limit needs a sanitizer's allocator, and its limit of resident memory does not see pages that nobody
//! touches.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;

/// Largest allocation, bytes. Inputs have some kilobytes; the largest fixed buffer of the readers has 1 MiB.
const MAX: usize = 8 << 20;

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

// SAFETY: every call is handed to the system's allocator unchanged, or ends the process.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        // SAFETY: `pointer` came from this allocator, so from the system's; the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from this allocator, so from the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn check(size: usize) {
    if size > MAX {
        // Nothing here may allocate.
        let _ = std::io::stderr().write_all(b"an allocation of more than 8 MiB for a small input\n");
        std::process::abort();
    }
}
