//! The name of an image in a registry: `docker://HOST[:PORT]/NAME[:TAG][@DIGEST]`.

use std::fmt;
use std::str::FromStr;

use micrun_image_spec::digest::Sha256Digest;

use crate::image::{BadReference, Reference};

/// The name of an image in a registry, by tag, by digest, or both (then the digest decides what is read).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryName {
    reference: Reference,
    /// False if there is a digest alone; the reference says `latest` then.
    tagged: bool,
    digest: Option<Sha256Digest>,
}

impl RegistryName {
    /// The registry as users write it: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        self.reference.registry()
    }

    /// The repository: `library/zephyr`.
    pub fn repository(&self) -> &str {
        self.reference.repository()
    }

    /// The tag; none if there is a digest alone.
    pub fn tag(&self) -> Option<&str> {
        self.tagged.then(|| self.reference.tag())
    }

    /// The name with its tag, as images on a node are called; None if there is a digest alone.
    pub fn reference(&self) -> Option<&Reference> {
        self.tagged.then_some(&self.reference)
    }

    /// The digest, where the name has one.
    pub fn digest(&self) -> Option<Sha256Digest> {
        self.digest
    }

    /// Host and port that answer: those of docker.io have another name.
    pub(super) fn host(&self) -> &str {
        match self.registry() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        }
    }

    /// What manifests are asked for by: the digest, else the tag.
    pub(super) fn manifest(&self) -> String {
        self.digest.map_or_else(|| self.reference.tag().to_owned(), |digest| digest.to_string())
    }
}

/// True for a host that is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

impl From<Reference> for RegistryName {
    fn from(reference: Reference) -> Self {
        RegistryName { reference, tagged: true, digest: None }
    }
}

impl FromStr for RegistryName {
    type Err = BadReference;

    /// Takes the name with and without `docker://` in front.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_prefix("docker://").unwrap_or(text);
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) if digest.starts_with("sha256:") => {
                let digest = digest.parse();
                (
                    name,
                    Some(
                        digest
                            .map_err(|_| BadReference::new(text, "a digest is sha256: and 64 hex digits"))?,
                    ),
                )
            }
            Some(_) => {
                return Err(BadReference::new(
                    text,
                    "behind the @ stands a digest, sha256: and 64 hex digits",
                ));
            }
            None => (name, None),
        };
        let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        Ok(RegistryName { reference: name.parse()?, tagged: has_tag || digest.is_none(), digest })
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker://{}/{}", self.registry(), self.repository())?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tags_and_digests() {
        let digest = Sha256Digest::of(b"");
        for (text, full, manifest) in [
            ("docker://zephyr", "docker://docker.io/library/zephyr:latest".into(), "latest".to_owned()),
            ("localhost:5000/a/b:v1", "docker://localhost:5000/a/b:v1".into(), "v1".to_owned()),
            (
                &format!("docker://reg.example/a@{digest}"),
                format!("docker://reg.example/a@{digest}"),
                digest.to_string(),
            ),
            (
                &format!("docker://reg.example/a:v1@{digest}"),
                format!("docker://reg.example/a:v1@{digest}"),
                digest.to_string(),
            ),
        ] {
            let name: RegistryName = text.parse().unwrap();
            assert_eq!((name.to_string(), name.manifest()), (full.clone(), manifest));
            assert_eq!(full.parse(), Ok(name));
        }
        let hub: RegistryName = "zephyr".parse().unwrap();
        assert_eq!((hub.registry(), hub.host()), ("docker.io", "registry-1.docker.io"));
    }

    #[test]
    fn refuses_what_is_no_name() {
        for text in [
            "docker://",
            "docker:///a",
            "docker://r.example/a@md5:00",
            "docker://r.example/a@sha256:00",
            "a@",
        ] {
            assert!(text.parse::<RegistryName>().is_err(), "{text}");
        }
    }
}
