//! Keys: reading them, signing and verifying. ECDSA on the curve P-256 with SHA-256, which is what cosign makes.

use micrun_image_spec::digest::Sha256Digest;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::elliptic_curve::zeroize::Zeroizing;
use p256::pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _, PrivateKeyInfoRef};
use p256::{PublicKey as Point, SecretKey};

use super::encrypted::EncryptedKey;
use super::{base64, pem};

/// Why a key cannot be used. The file's name is the caller's to add.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM at all.
    #[error(
        "it holds no key in PEM format: `cosign generate-key-pair` makes a pair, cosign.key and cosign.pub"
    )]
    NotPem,
    /// PEM with something else inside.
    #[error("it holds a block `{found}` where {expected} is needed")]
    Other {
        /// The block's label.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// A key whose bytes make no sense.
    #[error("the key is damaged: {0}")]
    Damaged(String),
    /// A key of another kind.
    #[error(
        "it is {0}, and only ECDSA keys on the curve P-256 are supported: `cosign generate-key-pair` makes such a pair"
    )]
    Kind(String),
    /// A key that is encrypted as OpenSSL does it.
    #[error(
        "it is encrypted with OpenSSL's means: `cosign import-key-pair --key FILE` makes it one of cosign's"
    )]
    OpenSslEncryption,
    /// A key that is encrypted in a way that cosign does not use.
    #[error(
        "it is encrypted with {0}, and only scrypt with nacl/secretbox is known: was it made by a newer cosign?"
    )]
    Encryption(String),
    /// Parameters that would take too long, or are none.
    #[error(
        "it asks for scrypt with N={n}, r={r}, p={p}: N has to be a power of two, and N x r x p not more than 2097152"
    )]
    Scrypt {
        /// Rounds.
        n: u64,
        /// Block size.
        r: u32,
        /// Parallelism.
        p: u32,
    },
    /// The password does not open the key.
    #[error("the password is wrong, or the key is damaged")]
    Password,
}

/// What a private key's file holds.
#[derive(Debug)]
pub enum KeyFile {
    /// A key.
    Plain(PrivateKey),
    /// A key that needs a password.
    Encrypted(EncryptedKey),
}

/// The older label, and that of cosign 2 and later.
const ENCRYPTED: [&str; 2] = ["ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY"];
/// OpenSSL puts the curve's name before the key.
const EC_PARAMETERS: &str = "EC PARAMETERS";

impl KeyFile {
    /// Reads a private key: cosign's, or one in PKCS#8 or SEC 1 without encryption.
    ///
    /// # Errors
    /// If it is none, or of a kind that is not supported.
    pub fn parse(file: &[u8]) -> Result<Self, KeyError> {
        let (label, contents) = block(file)?;
        let contents = Zeroizing::new(contents);
        match label {
            label if ENCRYPTED.contains(&label) => EncryptedKey::parse(&contents).map(KeyFile::Encrypted),
            "PRIVATE KEY" => PrivateKey::from_pkcs8(&contents).map(KeyFile::Plain),
            "EC PRIVATE KEY" => PrivateKey::from_sec1(&contents).map(KeyFile::Plain),
            "RSA PRIVATE KEY" => Err(KeyError::Kind("an RSA key".to_owned())),
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::OpenSslEncryption),
            other => Err(KeyError::Other { found: printable(other), expected: "a private key" }),
        }
    }
}

/// A key that signs. Its bytes are wiped when it goes.
pub struct PrivateKey(SigningKey);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey(of {})", self.public().hint())
    }
}

impl PrivateKey {
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::try_from(der).map_err(damaged)?;
        refuse_other_kinds(&info.algorithm)?;
        let key = SecretKey::try_from(info).map_err(damaged)?;
        Ok(PrivateKey(key.into()))
    }

    fn from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        match SecretKey::from_sec1_der(der) {
            Ok(key) => Ok(PrivateKey(key.into())),
            Err(_) => Err(KeyError::Kind("a damaged EC key, or one on another curve".to_owned())),
        }
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// An ECDSA signature in DER. The same message gives the same signature (RFC 6979): nothing depends on how good
    /// the random numbers of a build machine are.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.sign(message);
        signature.as_bytes().to_vec()
    }
}

/// A key that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key in PEM, as cosign writes it.
    ///
    /// # Errors
    /// If it is none, or of a kind that is not supported.
    pub fn parse(file: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = block(file)?;
        match label {
            "PUBLIC KEY" => {}
            "RSA PUBLIC KEY" => return Err(KeyError::Kind("an RSA key".to_owned())),
            other => {
                return Err(KeyError::Other {
                    found: printable(other),
                    expected: "a public key (cosign.pub)",
                });
            }
        }
        let info = SubjectPublicKeyInfoRef::try_from(&der[..]).map_err(damaged)?;
        refuse_other_kinds(&info.algorithm)?;
        let point = Point::from_public_key_der(&der).map_err(damaged)?;
        Ok(PublicKey(point.into()))
    }

    /// True if the key's owner signed this message. Anything that is no signature in DER is none of theirs.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        DerSignature::try_from(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }

    /// A short name for the key: the digest of its DER form in base64. cosign puts it into bundles.
    pub fn hint(&self) -> String {
        match self.0.to_public_key_der() {
            Ok(der) => base64::encode(Sha256Digest::of(der.as_bytes()).as_bytes()),
            // It fails for documents of 256 MiB and more.
            Err(_) => String::new(),
        }
    }
}

fn block(file: &[u8]) -> Result<(&str, Vec<u8>), KeyError> {
    let text = str::from_utf8(file).map_err(|_| KeyError::NotPem)?;
    let block = pem::first_block(text, EC_PARAMETERS).ok_or(KeyError::NotPem)?;
    if block.has_headers {
        return Err(KeyError::OpenSslEncryption);
    }
    let damaged =
        || KeyError::Damaged(format!("its block `{}` is cut off, or no base64", printable(block.label)));
    Ok((block.label, block.contents.ok_or_else(damaged)?))
}

fn printable(label: &str) -> String {
    micrun_image_spec::text::excerpt(label)
}

fn damaged(error: impl std::fmt::Display) -> KeyError {
    KeyError::Damaged(error.to_string())
}

/// Names of object identifiers: of algorithms (RFC 3279, RFC 8410), and of curves (RFC 5480).
fn refuse_other_kinds(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(), KeyError> {
    let curve = algorithm.parameters_oid().map(|oid| oid.to_string()).unwrap_or_default();
    let kind = match (algorithm.oid.to_string().as_str(), curve.as_str()) {
        ("1.2.840.10045.2.1", "1.2.840.10045.3.1.7") => return Ok(()),
        ("1.2.840.10045.2.1", "1.3.132.0.34") => "an ECDSA key on the curve P-384".to_owned(),
        ("1.2.840.10045.2.1", "1.3.132.0.35") => "an ECDSA key on the curve P-521".to_owned(),
        ("1.2.840.10045.2.1", other) => format!("an EC key on the curve {other}"),
        ("1.2.840.113549.1.1.1", _) => "an RSA key".to_owned(),
        ("1.3.101.112", _) => "an Ed25519 key".to_owned(),
        ("1.3.101.113", _) => "an Ed448 key".to_owned(),
        (other, _) => format!("a key of the algorithm {other}"),
    };
    Err(KeyError::Kind(kind))
}
