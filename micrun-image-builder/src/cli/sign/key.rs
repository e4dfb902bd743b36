//! Where keys and their passwords come from.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::cli::CliError;
use crate::sign::{EncryptedKey, KeyError, KeyFile, PrivateKey, PublicKey};
use crate::small_file::{self, SmallFileError};

/// cosign's variable.
const PASSWORD: &str = "COSIGN_PASSWORD";
/// Keys have some hundred bytes, bytes.
const MAX_KEY: u64 = 64 << 10;

/// A file with a key, or a variable.
#[derive(Debug, Clone)]
pub(super) enum KeyPlace {
    File(PathBuf),
    Variable(String),
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum KeyPlaceError {
    #[error("cannot use the key {place}: {source}")]
    Key { place: String, source: KeyError },
    #[error("cannot use the key: {0}")]
    File(#[from] SmallFileError),
    #[error("cannot use the key {0}: there is no such variable, or it is no text")]
    Variable(String),
    #[error("cannot ask for the password of {place} ({source}): put it into the variable {PASSWORD}")]
    NoPassword { place: String, source: std::io::Error },
}

impl FromStr for KeyPlace {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.strip_prefix("env://") {
            Some(variable) => KeyPlace::Variable(variable.to_owned()),
            None => KeyPlace::File(text.into()),
        })
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyPlace::File(path) => write!(f, "{}", path.display()),
            KeyPlace::Variable(variable) => write!(f, "env://{variable}"),
        }
    }
}

impl KeyPlace {
    pub(super) fn private(&self) -> Result<PrivateKey, CliError> {
        let file = KeyFile::parse(&self.read()?).map_err(|source| self.unusable(source))?;
        Ok(match file {
            KeyFile::Plain(key) => key,
            KeyFile::Encrypted(key) => self.decrypt(&key)?,
        })
    }

    pub(super) fn public(&self) -> Result<PublicKey, CliError> {
        Ok(PublicKey::parse(&self.read()?).map_err(|source| self.unusable(source))?)
    }

    fn decrypt(&self, key: &EncryptedKey) -> Result<PrivateKey, KeyPlaceError> {
        let password = match env::var_os(PASSWORD) {
            Some(password) => password.into_encoded_bytes(),
            None => rpassword::prompt_password(format!("Password of {self}: "))
                .map_err(|source| KeyPlaceError::NoPassword { place: self.to_string(), source })?
                .into_bytes(),
        };
        key.decrypt(&password).map_err(|source| self.unusable(source))
    }

    fn read(&self) -> Result<Vec<u8>, KeyPlaceError> {
        match self {
            KeyPlace::File(path) => Ok(small_file::read(path, MAX_KEY)?),
            KeyPlace::Variable(variable) => match env::var(variable) {
                Ok(text) => Ok(text.into_bytes()),
                Err(_) => Err(KeyPlaceError::Variable(self.to_string())),
            },
        }
    }

    fn unusable(&self, source: KeyError) -> KeyPlaceError {
        KeyPlaceError::Key { place: self.to_string(), source }
    }
}
