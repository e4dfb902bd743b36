//! The descriptions of builds in `kas/`, read by kas itself, without any of the repositories that they name.
//!
//! - [`resolve`]: what kas makes of one or several files
//! - [`files`]: what each file must say, and what may stand in its place
//! - [`documents`]: what the documents tell a user to type
//! - [`product`]: the example of a product's own repository

mod documents;
mod files;
mod product;
mod resolve;

use super::Check;

pub use product::copy as copy_product;
pub use resolve::Resolver;

pub fn checks() -> Vec<Check> {
    let mut checks = files::checks();
    checks.extend(documents::checks());
    checks.extend(product::checks());
    checks
}
