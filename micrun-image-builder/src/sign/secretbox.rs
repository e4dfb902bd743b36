//! NaCl's secret box: XSalsa20 for the text, and a Poly1305 tag in front of it. Opened only; sealing is for tests.

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};

pub(super) type Key = [u8; 32];
pub(super) type Nonce = [u8; 24];

/// Bytes of the tag.
const TAG: usize = 16;

/// The text, or None if the key is not the one it was sealed with, or a byte has changed since.
pub(super) fn open(key: &Key, nonce: &Nonce, sealed: &[u8]) -> Option<Vec<u8>> {
    let (tag, text) = sealed.split_at_checked(TAG)?;
    let (mut cipher, authenticator) = start(key, nonce);
    if !same(&authenticator.compute_unpadded(text), tag) {
        return None;
    }
    let mut text = text.to_vec();
    cipher.apply_keystream(&mut text);
    Some(text)
}

/// The first 32 bytes of the key stream are the key of the tag.
fn start(key: &Key, nonce: &Nonce) -> (XSalsa20, Poly1305) {
    let mut cipher = XSalsa20::new(&(*key).into(), &(*nonce).into());
    let mut tag_key = [0; 32];
    cipher.apply_keystream(&mut tag_key);
    (cipher, Poly1305::new(&tag_key.into()))
}

/// Takes the same time wherever they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
pub(super) fn seal(key: &Key, nonce: &Nonce, text: &[u8]) -> Vec<u8> {
    let (mut cipher, authenticator) = start(key, nonce);
    let mut text = text.to_vec();
    cipher.apply_keystream(&mut text);
    [authenticator.compute_unpadded(&text).to_vec(), text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_was_sealed_and_nothing_else() {
        let (key, nonce) = ([7; 32], [9; 24]);
        let sealed = seal(&key, &nonce, b"a key");
        assert_eq!(open(&key, &nonce, &sealed).as_deref(), Some(&b"a key"[..]));
        assert_eq!(open(&[8; 32], &nonce, &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&key, &nonce, &changed), None, "byte {at}");
        }
        assert_eq!(open(&key, &nonce, &sealed[..TAG - 1]), None);
    }
}
