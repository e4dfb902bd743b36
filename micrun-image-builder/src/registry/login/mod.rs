//! Credentials: where docker, podman and skopeo keep them, and the programs that keep them safe.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `file` | the format of auth.json and config.json |
//! | `helper` | the protocol of docker-credential-* programs |
//! | `places` | where those files are |

use std::path::PathBuf;
use std::process::Command;

mod file;
mod helper;
mod places;

pub use file::AuthFile;
pub use places::AuthPlace;

use crate::small_file::SmallFileError;

/// What to log in with. Not shown by `Debug`: it is secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password.
    Password {
        /// The user.
        user: String,
        /// The password, or an access token in its place.
        password: String,
    },
    /// A refresh token, which the registry's token service changes for access tokens (docker's "identity token").
    IdentityToken(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Password { user, .. } => write!(f, "Password {{ user: {user:?}, .. }}"),
            Credential::IdentityToken(_) => f.write_str("IdentityToken(..)"),
        }
    }
}

/// Where credentials come from.
#[derive(Debug, Clone)]
pub enum Login {
    /// Nowhere.
    Anonymous,
    /// These, for whatever registry is asked.
    Given(Credential),
    /// Looked up in files; the first that has some for the registry counts.
    Files(Vec<AuthPlace>),
}

impl Default for Login {
    /// The files that docker, podman and skopeo read.
    fn default() -> Self {
        Login::Files(AuthPlace::usual())
    }
}

/// Why stored credentials cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The file is there and cannot be read, or was named by the user and is not there.
    #[error("no credentials: {0}")]
    Read(SmallFileError),
    /// The file holds something else.
    #[error("the credentials in {path} cannot be used: {problem}. Repair the file, or log in anew")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The program that keeps the credentials failed.
    #[error("{program}, which {path} names, gives no credentials for {server}: {problem}")]
    Helper {
        /// The program.
        program: String,
        /// The file that names it.
        path: PathBuf,
        /// The registry.
        server: String,
        /// What happened.
        problem: String,
    },
}

/// Credentials, and where they are from.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) credential: Credential,
    pub(super) from: String,
}

impl Login {
    /// Looks for credentials for a repository.
    pub(super) fn find(&self, registry: &str, repository: &str) -> Result<Option<Found>, LoginError> {
        match self {
            Login::Anonymous => Ok(None),
            Login::Given(credential) => {
                Ok(Some(Found { credential: credential.clone(), from: "the command line".to_owned() }))
            }
            Login::Files(places) => {
                for place in places {
                    let Some(file) = place.read()? else { continue };
                    if let Some(credential) = look_in(&file, place, registry, repository)? {
                        return Ok(Some(Found { credential, from: place.path.display().to_string() }));
                    }
                }
                Ok(None)
            }
        }
    }

    /// A sentence on where credentials were looked for.
    pub(super) fn looked_in(&self) -> String {
        match self {
            Login::Anonymous => "No credentials were looked for".to_owned(),
            Login::Given(_) => "The credentials are those that were given".to_owned(),
            Login::Files(places) => {
                let one = |place: &AuthPlace| {
                    let absent = if place.path.exists() { "" } else { " (not there)" };
                    format!("{}{absent}", place.path.display())
                };
                format!("Looked for credentials in {}", places.iter().map(one).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A helper that is named for the registry comes first, then the one for all, then the file itself.
fn look_in(
    file: &AuthFile,
    place: &AuthPlace,
    registry: &str,
    repository: &str,
) -> Result<Option<Credential>, LoginError> {
    // Docker keeps its own registry under this name (docker/cli, "config.json").
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    for name in file.helpers(registry) {
        let failed = |problem| LoginError::Helper {
            program: format!("docker-credential-{name}"),
            path: place.path.clone(),
            server: server.to_owned(),
            problem,
        };
        if !helper::is_name(name) {
            return Err(failed("that is no name of a program".to_owned()));
        }
        let program = format!("docker-credential-{name}");
        if let Some(credential) =
            helper::ask(Command::new(program), server, helper::PATIENCE).map_err(failed)?
        {
            return Ok(Some(credential));
        }
    }
    file.credential(registry, repository)
        .map_err(|problem| LoginError::Broken { path: place.path.clone(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> (tempfile::NamedTempFile, Login) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let place = AuthPlace { path: file.path().to_owned(), required: true };
        (file, Login::Files(vec![place]))
    }

    #[test]
    fn the_first_file_with_credentials_counts() {
        let (_one, Login::Files(mut places)) = place(r#"{"auths":{"other.example":{"auth":"YTpi"}}}"#) else {
            panic!()
        };
        let (_two, Login::Files(second)) = place(r#"{"auths":{"r.example":{"auth":"bWU6cHc="}}}"#) else {
            panic!()
        };
        places.insert(0, AuthPlace { path: "/nowhere/auth.json".into(), required: false });
        places.extend(second);
        let found = Login::Files(places.clone()).find("r.example", "a").unwrap().unwrap();
        assert_eq!(found.credential, Credential::Password { user: "me".into(), password: "pw".into() });
        assert_eq!(found.from, places[2].path.display().to_string());
        assert!(Login::Files(places).looked_in().contains("/nowhere/auth.json (not there)"));
    }

    #[test]
    fn a_broken_file_is_named() {
        for text in
            ["{", "[]", r#"{"auths":{"r.example":{"auth":"%"}}}"#, r#"{"credHelpers":{"r.example":"../x"}}"#]
        {
            let (file, login) = place(text);
            let error = login.find("r.example", "a").unwrap_err().to_string();
            assert!(error.contains(&file.path().display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_file_that_the_user_named_has_to_be_there() {
        let place = AuthPlace { path: "/nowhere/auth.json".into(), required: true };
        assert!(matches!(Login::Files(vec![place]).find("r.example", "a"), Err(LoginError::Read(_))));
    }

    #[test]
    fn secrets_are_not_shown() {
        let credential = Credential::Password { user: "me".into(), password: "secret".into() };
        assert!(
            !format!("{credential:?} {:?}", Credential::IdentityToken("secret".into())).contains("secret")
        );
    }
}
