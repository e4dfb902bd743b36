//! What `cargo xtask demo`, the end-to-end tests, the benchmarks and the soak test share.
//!
//! - [`workspace`]: where the sources, the build's output and this kit's own files are
//! - [`shell`]: run a program; an error repeats the command line and what it said
//! - [`wait`]: wait for something with a generous deadline
//! - [`packages`]: which Debian packages a job needs, and how they get here
//! - [`wheel`]: programs from the Python package index
//! - [`apt`], [`unpacked`]: programs of other Debian releases, unpacked and never installed
//! - [`crates`]: the crates that the layer's recipes fetch
//! - [`cross`]: our programs for arm64 Linux
//! - [`releases`]: containerd 1.6, 1.7 and 2.x side by side
//! - [`namespace`]: a place of its own for a containerd; whatever runs there dies with it
//! - [`containerd`]: a private containerd, its [`ctr`], and what a test left behind ([`leftovers`])
//! - [`client`]: containerd's API as engines use it, with streams of one's own
//! - [`cri`]: a containerd that serves Kubernetes, and what kubelet asks of it
//! - [`etc`]: a node's own configuration, which its namespace alone sees
//! - [`events`]: what containerd says happened, exit statuses among it
//! - [`product`]: builds the shim, the image builder and the test firmware; packs images
//! - [`firmware`]: the firmware that tests run, and what each one says
//! - [`image`]: images of Linux programs
//! - [`console`]: talk to a guest through `ctr`
//! - [`node`]: an arm64 machine with Xen, and what one can do in it
//! - [`ttrpc`]: one request to a shim, without a containerd between
//! - [`trials`]: how test programs run what they test
//! - [`observe`]: memory, threads and wakeups of a process

pub mod apt;
pub mod client;
pub mod console;
pub mod containerd;
pub mod crates;
pub mod cri;
pub mod cross;
pub mod ctr;
pub mod etc;
pub mod events;
pub mod firmware;
pub mod image;
pub mod leftovers;
pub mod namespace;
pub mod node;
pub mod observe;
pub mod packages;
pub mod product;
pub mod releases;
pub mod shell;
pub mod trials;
pub mod ttrpc;
pub mod unpacked;
pub mod wait;
pub mod wheel;
pub mod workspace;

pub use console::Console;
pub use containerd::Containerd;
pub use firmware::Firmware;
pub use node::Node;
pub use product::{Product, Profile};
pub use releases::Release;
pub use unpacked::Unpacked;
pub use workspace::Workspace;

/// Tells the user what happens now. Goes to stderr: stdout belongs to results.
pub fn step(text: impl std::fmt::Display) {
    eprintln!("==> {text}");
}

/// A detail of the running step.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("    {text}");
}
