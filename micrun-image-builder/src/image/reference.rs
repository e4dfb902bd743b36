//! The name of an image, completed as docker and nerdctl do.

use std::fmt;
use std::str::FromStr;

use micrun_image_spec::text::excerpt;

/// A full image name with a tag: `docker.io/library/zephyr:latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    domain: String,
    path: String,
    tag: String,
}

/// A text that cannot name an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no image name: {problem}")]
pub struct BadReference {
    text: String,
    problem: &'static str,
}

/// What a tag looks like (distribution-spec, "Pulling manifests").
const TAG: &str =
    "a tag has 1 to 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two";

impl BadReference {
    /// For names that hold this one.
    pub(crate) fn new(text: &str, problem: &'static str) -> Self {
        BadReference { text: excerpt(text), problem }
    }
}

impl Reference {
    const MAX_NAME: usize = 255;

    /// The registry: `docker.io`.
    pub fn registry(&self) -> &str {
        &self.domain
    }

    /// The name without registry and tag: `library/zephyr`.
    pub fn repository(&self) -> &str {
        &self.path
    }

    /// The tag alone: `latest`.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The same name with another tag.
    ///
    /// # Errors
    /// If it can be no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, BadReference> {
        if !is_tag(tag) {
            return Err(BadReference::new(tag, TAG));
        }
        Ok(Reference { tag: tag.to_owned(), ..self.clone() })
    }

    /// The last part of the name: `zephyr`.
    pub fn short_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// A container id made from the last part. containerd takes up to 76 letters and digits, with single `.`, `_` or
    /// `-` between them; micad takes 65 bytes as a guest's name, which the id becomes.
    pub fn container_id(&self) -> String {
        const MAX: usize = 65;
        let mut id = String::new();
        for c in self.short_name().chars().take(MAX) {
            if c.is_ascii_alphanumeric() || !id.ends_with(|last: char| !last.is_ascii_alphanumeric()) {
                id.push(c);
            }
        }
        id.truncate(id.trim_end_matches(|last: char| !last.is_ascii_alphanumeric()).len());
        id
    }

    /// A name made from a file's stem: lower case, with `-` for every character that a name cannot have.
    pub fn from_file_stem(stem: &str) -> Self {
        let mut name = String::new();
        for c in stem.chars().take(100) {
            let c = c.to_ascii_lowercase();
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                name.push(c);
            } else if !name.is_empty() && !name.ends_with(['-', '_', '.']) {
                name.push(if matches!(c, '_' | '.') { c } else { '-' });
            }
        }
        let name = name.trim_end_matches(['-', '_', '.']);
        let path = if name.is_empty() { "library/firmware".to_owned() } else { format!("library/{name}") };
        Reference { domain: "docker.io".to_owned(), path, tag: "latest".to_owned() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.domain, self.path, self.tag)
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |problem| BadReference::new(text, problem);
        if text.contains('@') {
            return Err(bad("an image that is being made has no digest yet; give a tag"));
        }
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        if !is_tag(tag) {
            return Err(bad(TAG));
        }
        let (domain, path) = split_domain(name);
        if !is_domain(domain) {
            return Err(bad("its registry is no host name with an optional port"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(bad(
                "use lower-case letters and digits, with single `.`, `_` or `-` between them, and `/`",
            ));
        }
        let path = match (domain, path.contains('/')) {
            ("docker.io", false) => format!("library/{path}"),
            _ => path.to_owned(),
        };
        if domain.len() + 1 + path.len() > Self::MAX_NAME {
            return Err(bad("it is longer than 255 bytes"));
        }
        Ok(Reference { domain: domain.to_owned(), path, tag: tag.to_owned() })
    }
}

/// The first part is a registry if it looks like a host: with a dot or a port, or `localhost`.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => match first {
            "index.docker.io" => ("docker.io", rest),
            _ => (first, rest),
        },
        _ => ("docker.io", name),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = domain.split_once(':').unwrap_or((domain, "0"));
    let label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        plain && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(label) && port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_path_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_are_words = bytes.first().is_some_and(|&b| word(b)) && bytes.last().is_some_and(|&b| word(b));
    let mut separators = bytes.split(|&b| word(b)).filter(|run| !run.is_empty());
    ends_are_words
        && separators.all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let first = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first && tag.len() <= 128 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names_as_docker_does() {
        for (text, full) in [
            ("zephyr", "docker.io/library/zephyr:latest"),
            ("zephyr:3.5", "docker.io/library/zephyr:3.5"),
            ("me/zephyr", "docker.io/me/zephyr:latest"),
            ("reg.example/rtos/zephyr:v1", "reg.example/rtos/zephyr:v1"),
            ("reg.example/zephyr", "reg.example/zephyr:latest"),
            ("localhost/zephyr", "localhost/zephyr:latest"),
            ("localhost:5000/zephyr", "localhost:5000/zephyr:latest"),
            ("docker.io/zephyr", "docker.io/library/zephyr:latest"),
            ("my__odd--name.x", "docker.io/library/my__odd--name.x:latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(full.parse(), Ok(reference));
        }
    }

    #[test]
    fn refuses_what_registries_refuse() {
        for text in [
            "",
            ":",
            ":tag",
            "Zephyr",
            "zephyr:",
            "zephyr:-x",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "-a",
            "a_",
            "a b",
            "a@sha256:00",
            "reg.example:port/a",
            "reg..example/a",
            &"x".repeat(300),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn makes_a_container_id_that_containerd_takes() {
        let long = "x".repeat(64);
        for (name, id) in [
            ("reg.example/rtos/zephyr:v1", "zephyr"),
            ("my__odd---name.x", "my_odd-name.x"),
            (&format!("{long}-{long}"), &long),
        ] {
            assert_eq!(name.parse::<Reference>().unwrap().container_id(), id);
        }
    }

    #[test]
    fn makes_a_name_from_any_file_name() {
        for (stem, name) in [
            ("zephyr", "zephyr"),
            ("My App (1)", "my-app-1"),
            ("uboot_v2.", "uboot_v2"),
            ("ü", "firmware"),
            ("a._b", "a.b"),
        ] {
            let reference = Reference::from_file_stem(stem);
            assert_eq!(reference.short_name(), name);
            assert_eq!(reference.to_string().parse(), Ok(reference));
        }
    }
}
