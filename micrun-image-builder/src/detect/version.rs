//! Finds a version behind a known text, and believes only what looks like one.

use super::evidence::Traces;

/// The first version that stands behind one of the places of `prefix`.
pub(super) fn after(traces: &Traces, prefix: &str) -> Option<String> {
    traces.texts_after(prefix).find_map(version)
}

/// The word at the start of `text`, if it is a version: it has a digit, and no character of a format string.
fn version(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|b| b.is_ascii_whitespace() || *b == 0)?;
    let word = std::str::from_utf8(&text[..end]).ok()?;
    let word = word.strip_prefix("zephyr-").unwrap_or(word);
    let digits = word.strip_prefix('v').unwrap_or(word);
    let plain = digits.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+_~".contains(&b));
    (plain && digits.starts_with(|c: char| c.is_ascii_digit())).then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn believes_versions_only() {
        for (text, found) in [
            (&b"v3.5.0-1-gabc123 ***\0"[..], Some("3.5.0-1-gabc123")),
            (b"zephyr-v3.5.0 ***\0", Some("3.5.0")),
            (b"2023.01+dfsg-2+deb12u3 (Jun 22 2026)", Some("2023.01+dfsg-2+deb12u3")),
            (b"24.03-LTS\0", Some("24.03-LTS")),
            (b"%s %s ***\0", None),
            (b" ***\0", None),
            (b"***\0", None),
            (b"v%d.%d\n", None),
            (b"v1.1", None),
            (b"v\0", None),
        ] {
            assert_eq!(version(text).as_deref(), found, "{}", text.escape_ascii());
        }
    }
}
