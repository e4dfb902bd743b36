//! Hypervisors, as drivers of `pedestal` use them. Nothing here knows of containers.

pub mod xen;
