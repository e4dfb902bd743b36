//! micrun-image-builder
