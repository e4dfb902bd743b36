//! Signing images with a key, and verifying that, without a network service: what `cosign sign --key` and
//! `cosign verify --key` do, in both formats of theirs, and nothing of their transparency log.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `key` | keys: cosign's encrypted ones, PKCS#8, SEC 1, public ones |
//! | `create` | making a signature and putting it beside the image |
//! | `verify` | finding signatures beside an image, and judging them |
//! | `verdict` | where one was found, and why it counts or not |
//! | [`bundle`] | the Sigstore bundle, which cosign 3 writes |
//! | [`statement`] | the statement that a bundle signs |
//! | [`legacy`] | the manifest under the `.sig` tag, which cosign 1 and 2 write |
//! | [`payload`] | the payload that such a signature signs |
//!
//! What is signed is the digest of the image's root: of the index, if it has several platforms.

mod base64;
pub mod bundle;
mod create;
mod encrypted;
mod key;
pub mod legacy;
pub mod payload;
mod pem;
mod secretbox;
pub mod statement;
mod verdict;
mod verify;

pub use create::{Format, SignError, Signed, sign_copy, sign_image};
pub use encrypted::EncryptedKey;
pub use key::{KeyError, KeyFile, PrivateKey, PublicKey};
pub use verdict::{Accepted, Place, Rejected, Rejection};
pub use verify::{Verified, VerifyError, verify_image};
