//! The format of containers-auth.json(5) and of docker's config.json.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;

use super::Credential;

/// An auth.json or config.json.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthFile {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry(..)")
    }
}

impl AuthFile {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// If they are no JSON of that form, with the place where it ends to be.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        // An empty file is what `touch` and some CI systems leave.
        if bytes.trim_ascii().is_empty() {
            return Ok(AuthFile::default());
        }
        // serde would take a list for the fields in their order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err("it is no JSON object".to_owned());
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// The helpers to ask for a registry, by the end of their names.
    pub(super) fn helpers(&self, registry: &str) -> impl Iterator<Item = &str> {
        let own = self.cred_helpers.iter().flatten();
        let own = own.filter(move |(key, _)| names_registry(key, registry)).map(|(_, name)| name.as_str());
        let all = self.creds_store.as_deref();
        own.chain(all).filter(|name| !name.is_empty())
    }

    /// The credentials for a repository: those of the longest path that holds it, else those of its registry.
    ///
    /// # Errors
    /// If there are some that nobody can read.
    pub fn credential(&self, registry: &str, repository: &str) -> Result<Option<Credential>, String> {
        let Some(auths) = &self.auths else { return Ok(None) };
        let full = format!("{registry}/{repository}");
        let ends = full.match_indices('/').map(|(at, _)| at).chain([full.len()]);
        let paths: Vec<&str> = ends.map(|end| &full[..end]).collect();
        let exact = paths.iter().rev().filter_map(|path| auths.get_key_value(*path));
        let by_host = auths.iter().filter(|(key, _)| names_registry(key, registry));
        for (key, entry) in exact.chain(by_host) {
            if let Some(credential) =
                entry.credential().map_err(|problem| format!("auths.{key:?}: {problem}"))?
            {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

impl Entry {
    /// None for an entry without credentials, which docker writes beside a helper.
    fn credential(&self) -> Result<Option<Credential>, &'static str> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        let Some(auth) = given(&self.auth) else { return Ok(None) };
        let plain = Base64::decode_vec(auth.trim()).map_err(|_| "`auth` is no base64")?;
        let plain = String::from_utf8(plain).map_err(|_| "`auth` is no text")?;
        let (user, password) =
            plain.split_once(':').ok_or("`auth` has no colon between user and password")?;
        // Docker once padded passwords with zeros.
        let password = password.trim_end_matches('\0');
        Ok(Some(Credential::Password { user: user.to_owned(), password: password.to_owned() }))
    }
}

/// True for `r.example`, `https://r.example` and `https://r.example/v1/`, the ways in which docker has written it.
fn names_registry(key: &str, registry: &str) -> bool {
    let without_scheme = ["https://", "http://"].iter().find_map(|scheme| key.strip_prefix(scheme));
    let name = without_scheme.unwrap_or(key);
    let host = name.split('/').next().unwrap_or_default();
    let path = name[host.len()..].trim_matches('/');
    let is_whole_registry = path.is_empty() || (without_scheme.is_some() && matches!(path, "v1" | "v2"));
    let same = match registry {
        "docker.io" => matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io"),
        other => host.eq_ignore_ascii_case(other),
    };
    same && is_whole_registry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(file: &str, registry: &str, repository: &str) -> Option<String> {
        match AuthFile::parse(file.as_bytes()).unwrap().credential(registry, repository).unwrap()? {
            Credential::Password { user, .. } => Some(user),
            Credential::IdentityToken(token) => Some(format!("token {token}")),
        }
    }

    #[test]
    fn the_longest_path_counts() {
        // Users a to d, each with the password x.
        let file = r#"{"auths":{
            "r.example": {"auth": "YTp4"},
            "r.example/team": {"auth": "Yjp4"},
            "r.example/team/fw": {"auth": "Yzp4"},
            "r.example:5000": {"auth": "ZDp4"}}}"#;
        for (registry, repository, name) in [
            ("r.example", "team/fw", Some("c")),
            ("r.example", "team/fw2", Some("b")),
            ("r.example", "other", Some("a")),
            ("r.example:5000", "team/fw", Some("d")),
            ("r.example:5001", "team/fw", None),
            ("example", "r", None),
        ] {
            assert_eq!(user(file, registry, repository).as_deref(), name, "{registry}/{repository}");
        }
    }

    #[test]
    fn finds_what_docker_wrote() {
        let file = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTp4"},"https://r.example/v2/":{"auth":"Yjp4"},
            "t.example":{"auth":"Yjp4","identitytoken":"abc"},"empty.example":{}},"HttpHeaders":{}}"#;
        assert_eq!(user(file, "docker.io", "library/zephyr").as_deref(), Some("a"));
        assert_eq!(user(file, "r.example", "x").as_deref(), Some("b"));
        assert_eq!(user(file, "t.example", "x").as_deref(), Some("token abc"));
        assert_eq!(user(file, "empty.example", "x"), None);
        assert_eq!(user(" ", "r.example", "x"), None);
        assert_eq!(user(r#"{"auths":null}"#, "r.example", "x"), None);
    }

    #[test]
    fn the_helper_for_the_registry_comes_first() {
        let file = r#"{"credHelpers":{"r.example":"pass","other.example":"x"},"credsStore":"desktop"}"#;
        let file = AuthFile::parse(file.as_bytes()).unwrap();
        assert_eq!(file.helpers("r.example").collect::<Vec<_>>(), ["pass", "desktop"]);
        assert_eq!(file.helpers("none.example").collect::<Vec<_>>(), ["desktop"]);
    }

    #[test]
    fn says_what_is_broken() {
        for (file, problem) in [
            (r#"{"auths":{"r.example":{"auth":"%"}}}"#, "base64"),
            (r#"{"auths":{"r.example":{"auth":"YWI="}}}"#, "colon"),
            (r#"{"auths":{"r.example":{"auth":"/w=="}}}"#, "no text"),
        ] {
            let error = AuthFile::parse(file.as_bytes()).unwrap().credential("r.example", "a").unwrap_err();
            assert!(error.contains(problem) && error.contains("r.example"), "{error}");
        }
        assert!(AuthFile::parse(b"{\"auths\": 1}").is_err());
    }
}
