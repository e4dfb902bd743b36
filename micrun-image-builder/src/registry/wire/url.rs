//! URLs: where answers point to, what is shown of them, and who gets credentials.

use std::fmt::Write as _;

use ureq::http::Uri;

/// Longest `Location` or `Link` that is followed, bytes.
const MAX_LOCATION: usize = 8 << 10;
/// Longest URL that is shown, characters.
const MAX_SHOWN: usize = 300;

/// An answer that points nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLocation {
    /// Longer than anybody's.
    #[error("it points to a URL of {0} bytes")]
    TooLong(usize),
    /// No URL.
    #[error("it points to something that is no URL")]
    NotUrl,
    /// Neither http nor https.
    #[error("it points to a URL that is neither http nor https")]
    Scheme,
    /// A user name in a URL serves to mislead.
    #[error("it points to a URL with a user name in it")]
    User,
}

/// Where `location` points to, seen from `base`: it is absolute, or relative in any of the ways of RFC 3986.
///
/// # Errors
/// If it is no URL that a registry may point to.
pub fn resolve(base: &Uri, location: &str) -> Result<Uri, BadLocation> {
    let location = location.trim();
    if location.len() > MAX_LOCATION {
        return Err(BadLocation::TooLong(location.len()));
    }
    let location = location.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let text = match scheme_of(location) {
        Some(scheme) if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            return Err(BadLocation::Scheme);
        }
        Some(_) => location.to_owned(),
        None if location.starts_with("//") => format!("{scheme}:{location}"),
        None if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        None if location.starts_with('?') => format!("{scheme}://{authority}{}{location}", base.path()),
        None => format!("{scheme}://{authority}{}", beside(base.path(), location)),
    };
    let url: Uri = text.parse().map_err(|_| BadLocation::NotUrl)?;
    match (url.scheme_str(), url.authority()) {
        (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
            Err(BadLocation::User)
        }
        (Some("http" | "https"), Some(authority)) if !authority.host().is_empty() => Ok(url),
        _ => Err(BadLocation::NotUrl),
    }
}

fn scheme_of(location: &str) -> Option<&str> {
    let end = location.find([':', '/', '?']).filter(|&at| location[at..].starts_with(':'))?;
    let scheme = &location[..end];
    let is_scheme = end > 0 && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    is_scheme.then_some(scheme)
}

/// A relative path seen from another, without its dots (RFC 3986, section 5.2.4).
fn beside(path: &str, relative: &str) -> String {
    let (relative, query) = relative.split_at(relative.find('?').unwrap_or(relative.len()));
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    parts.pop();
    let mut last = "";
    for part in relative.split('/') {
        last = part;
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let end = if matches!(last, "." | "..") && !parts.is_empty() { "/" } else { "" };
    format!("/{}{end}{query}", parts.join("/"))
}

/// True if both are the same server: only the registry's own gets its credentials.
pub(in crate::registry) fn is_same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |url: &Uri| url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    let same_host = match (one.host(), other.host()) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => false,
    };
    same_host && one.scheme() == other.scheme() && port(one) == port(other)
}

/// The URL with one more parameter behind those that it has.
pub(in crate::registry) fn with_query(url: &Uri, name: &str, value: &str) -> Result<Uri, BadLocation> {
    let joint = match url.query() {
        None => "?",
        Some("") => "",
        Some(query) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{url}{joint}{name}={}", encode(value)).parse().map_err(|_| BadLocation::NotUrl)
}

/// Percent-encodes everything but letters, digits and `-._~` (RFC 3986, section 2.3).
pub(in crate::registry) fn encode(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// What messages show of a URL: no query, for it may hold a signature that lets anybody write there.
pub(in crate::registry) fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("https");
    let host = url.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{host}{}", url.path()).chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_every_kind_of_location() {
        let base: Uri = "https://r.example:5000/v2/a/blobs/uploads/?x=1".parse().unwrap();
        for (location, url) in [
            ("https://cdn.example/up?sig=a%2Fb&c", "https://cdn.example/up?sig=a%2Fb&c"),
            ("//cdn.example/up", "https://cdn.example/up"),
            ("/v2/a/blobs/uploads/id?_state=x", "https://r.example:5000/v2/a/blobs/uploads/id?_state=x"),
            ("id?_state=a:b", "https://r.example:5000/v2/a/blobs/uploads/id?_state=a:b"),
            ("./id", "https://r.example:5000/v2/a/blobs/uploads/id"),
            ("../../b/../c?d=..", "https://r.example:5000/v2/a/c?d=.."),
            ("../../../../../..", "https://r.example:5000/"),
            ("?_state=y", "https://r.example:5000/v2/a/blobs/uploads/?_state=y"),
            (" /x#fragment", "https://r.example:5000/x"),
        ] {
            assert_eq!(resolve(&base, location).unwrap().to_string(), url);
        }
    }

    #[test]
    fn points_nowhere_else() {
        let base: Uri = "https://r.example/v2/".parse().unwrap();
        for location in [
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "https://me:secret@r.example/",
            "/with space",
            "/\r\nx",
            &"x".repeat(9000),
        ] {
            assert!(resolve(&base, location).is_err(), "{location}");
        }
    }

    #[test]
    fn adds_a_parameter_to_any_query() {
        for (url, with) in [
            ("https://r.example/u", "https://r.example/u?digest=sha256%3A00"),
            ("https://r.example/u?_state=x", "https://r.example/u?_state=x&digest=sha256%3A00"),
            ("https://r.example/u?", "https://r.example/u?digest=sha256%3A00"),
        ] {
            assert_eq!(with_query(&url.parse().unwrap(), "digest", "sha256:00").unwrap().to_string(), with);
        }
    }

    #[test]
    fn tells_servers_apart() {
        let url = |text: &str| -> Uri { text.parse().unwrap() };
        assert!(is_same_origin(&url("https://R.example/a"), &url("https://r.example:443/b")));
        for other in ["http://r.example/", "https://r.example:444/", "https://r.example.evil/"] {
            assert!(!is_same_origin(&url("https://r.example/"), &url(other)), "{other}");
        }
    }

    #[test]
    fn shows_no_secrets() {
        assert_eq!(shown(&"https://r.example/up?sig=secret".parse().unwrap()), "https://r.example/up");
    }
}
