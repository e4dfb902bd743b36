//! What comes over the wire and has to be taken apart: plain functions over texts and bytes from strangers. None of
//! them panics, takes more than linear time, or keeps more than a bounded part of what it was given.

mod challenge;
mod link;
mod range;
mod retry_after;
mod said;
mod url;

pub use challenge::{Challenge, challenges};
pub use link::next_page;
pub use range::{content_range, uploaded_bytes};
pub(super) use retry_after::retry_after;
pub use said::Said;
pub use url::{BadLocation, resolve};
pub(super) use url::{encode, is_same_origin, shown, with_query};
