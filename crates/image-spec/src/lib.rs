//! crates/image-spec
