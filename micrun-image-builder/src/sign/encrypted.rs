//! Private keys as cosign encrypts them: JSON with a secret box, whose key scrypt derives from a password.

use micrun_image_spec::text::excerpt;
use p256::elliptic_curve::zeroize::Zeroizing;
use serde::Deserialize;

use super::key::{KeyError, PrivateKey};
use super::{base64, secretbox};

/// Most that scrypt may do, as N x r x p. It needs 128 bytes of memory for each N x r: 256 MiB. cosign writes 2^19,
/// twice as much being the most that its library reads.
const MAX_SCRYPT_WORK: u64 = 1 << 21;

/// An encrypted private key, not yet opened.
#[derive(Debug)]
pub struct EncryptedKey {
    params: scrypt::Params,
    salt: Vec<u8>,
    nonce: secretbox::Nonce,
    sealed: Vec<u8>,
}

#[derive(Deserialize)]
struct Envelope {
    kdf: Kdf,
    cipher: Cipher,
    #[serde(deserialize_with = "base64::deserialize")]
    ciphertext: Vec<u8>,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: ScryptParams,
    #[serde(deserialize_with = "base64::deserialize")]
    salt: Vec<u8>,
}

#[derive(Deserialize)]
struct ScryptParams {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    #[serde(deserialize_with = "base64::deserialize")]
    nonce: Vec<u8>,
}

impl EncryptedKey {
    /// Reads the JSON inside the PEM block.
    pub(super) fn parse(json: &[u8]) -> Result<Self, KeyError> {
        let envelope: Envelope = serde_json::from_slice(json)
            .map_err(|error| KeyError::Damaged(format!("its JSON cannot be read: {error}")))?;
        let (kdf, cipher) = (&envelope.kdf.name, &envelope.cipher.name);
        if kdf != "scrypt" || cipher != "nacl/secretbox" {
            return Err(KeyError::Encryption(format!("{} and {}", excerpt(kdf), excerpt(cipher))));
        }
        let nonce = envelope.cipher.nonce.try_into();
        Ok(EncryptedKey {
            params: envelope.kdf.params.checked()?,
            salt: envelope.kdf.salt,
            nonce: nonce.map_err(|_| KeyError::Damaged("its nonce has not 24 bytes".to_owned()))?,
            sealed: envelope.ciphertext,
        })
    }

    /// Opens it. Takes about as long as a login, on purpose.
    ///
    /// # Errors
    /// If the password is wrong, or what comes out is no key that can be used here.
    pub fn decrypt(&self, password: &[u8]) -> Result<PrivateKey, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        // It fails for lengths of no or very many bytes only.
        scrypt::scrypt(password, &self.salt, &self.params, &mut *key).map_err(|_| KeyError::Password)?;
        let der = secretbox::open(&key, &self.nonce, &self.sealed).ok_or(KeyError::Password)?;
        PrivateKey::from_pkcs8(&Zeroizing::new(der))
    }
}

impl ScryptParams {
    fn checked(&self) -> Result<scrypt::Params, KeyError> {
        let bad = || KeyError::Scrypt { n: self.n, r: self.r, p: self.p };
        let work = self.n.checked_mul(self.r.into()).and_then(|work| work.checked_mul(self.p.into()));
        if !self.n.is_power_of_two() || self.n < 2 || work.is_none_or(|work| work > MAX_SCRYPT_WORK) {
            return Err(bad());
        }
        // log2 of a u64 fits.
        scrypt::Params::new(self.n.ilog2() as u8, self.r, self.p).map_err(|_| bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(kdf: &str, n: u64, r: u32, p: u32, cipher: &str, nonce: usize) -> String {
        let nonce = base64::encode(&vec![0; nonce]);
        format!(
            r#"{{"kdf":{{"name":"{kdf}","params":{{"N":{n},"r":{r},"p":{p}}},"salt":"AAAA"}},
                "cipher":{{"name":"{cipher}","nonce":"{nonce}"}},"ciphertext":"AAAA"}}"#
        )
    }

    fn parse(json: &str) -> Result<EncryptedKey, KeyError> {
        EncryptedKey::parse(json.as_bytes())
    }

    #[test]
    fn does_no_more_work_than_a_key_is_worth() {
        const BOX: &str = "nacl/secretbox";
        for (n, r, p) in [(32768, 8, 1), (65536, 8, 1), (131_072, 8, 1), (131_072, 8, 2)] {
            assert!(parse(&json("scrypt", n, r, p, BOX, 24)).is_ok(), "{n} {r} {p}");
        }
        for (n, r, p) in [
            (0, 8, 1),
            (1, 8, 1),
            (3, 8, 1),
            (1024, 0, 1),
            (1024, 8, 0),
            (1 << 20, 8, 1),
            (1 << 63, 8, 1),
            (2, u32::MAX, u32::MAX),
            (2, 1, 1 << 30),
        ] {
            let refused = parse(&json("scrypt", n, r, p, BOX, 24));
            assert!(matches!(refused, Err(KeyError::Scrypt { .. })), "{n} {r} {p}");
        }
    }

    #[test]
    fn names_what_it_does_not_know() {
        let refused = |kdf, cipher| parse(&json(kdf, 1024, 8, 1, cipher, 24)).unwrap_err().to_string();
        assert!(refused("argon2", "nacl/secretbox").contains("argon2"));
        assert!(refused("scrypt", "aes").contains("aes"));
        assert!(matches!(
            parse(&json("scrypt", 1024, 8, 1, "nacl/secretbox", 23)),
            Err(KeyError::Damaged(_))
        ));
        assert!(matches!(parse("{}"), Err(KeyError::Damaged(_))));
    }

    #[test]
    fn a_wrong_password_opens_nothing() {
        let key = parse(&json("scrypt", 2, 8, 1, "nacl/secretbox", 24)).unwrap();
        assert!(matches!(key.decrypt(b"wrong"), Err(KeyError::Password)));
    }
}
