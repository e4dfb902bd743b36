//! What a registry says when it says no (distribution-spec, "Error Codes").

use std::fmt;

use serde::Deserialize;

/// Longest answer to an error that is read, bytes.
const MAX_ANSWER: usize = 16 << 10;
/// Most characters of it that are shown.
const MAX_SHOWN: usize = 200;

/// A registry's own words, shortened and printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its code: `MANIFEST_UNKNOWN`. None where it sent no errors in the registry's form.
    pub code: Option<String>,
    /// Its message, or the beginning of whatever it sent.
    pub message: String,
}

#[derive(Deserialize)]
struct Answer {
    errors: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Said {
    /// Most bytes of an answer that are worth reading.
    pub(in crate::registry) const MAX_BYTES: u64 = MAX_ANSWER as u64;

    /// Takes the body of an answer. None if there is nothing in it to show: nothing, or a web page.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let body = &body[..body.len().min(MAX_ANSWER)];
        if let Ok(answer) = serde_json::from_slice::<Answer>(body) {
            let first = answer.errors.first()?;
            let code = Some(printable(&first.code)).filter(|code| !code.is_empty());
            return Some(Said { code, message: printable(&first.message) });
        }
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let is_web_page = text.starts_with('<');
        (!text.is_empty() && !is_web_page).then(|| Said { code: None, message: printable(text) })
    }

    /// True if the registry named this code.
    pub(in crate::registry) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

fn printable(text: &str) -> String {
    let mut line: String = text.trim().chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.trim().chars().nth(MAX_SHOWN).is_some() {
        line.push_str("...");
    }
    line.replace("\\'", "'").replace("\\\"", "\"")
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, self.message.as_str()) {
            (Some(code), "") => f.write_str(code),
            (Some(code), message) => write!(f, "{code}: {message}"),
            (None, message) => f.write_str(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> Option<String> {
        Said::parse(body.as_bytes()).map(|said| said.to_string())
    }

    #[test]
    fn reads_the_form_of_registries_and_any_other() {
        let body =
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"v1"}}]}"#;
        assert_eq!(shown(body).as_deref(), Some("MANIFEST_UNKNOWN: manifest unknown"));
        assert_eq!(shown(r#"{"errors":[{"code":"DENIED"}]}"#).as_deref(), Some("DENIED"));
        assert_eq!(shown("slow down\n").as_deref(), Some("slow down"));
        assert_eq!(shown(r#"{"details":"no"}"#).as_deref(), Some(r#"{"details":"no"}"#));
        for nothing in ["", "  ", "<html>no</html>", r#"{"errors":[]}"#] {
            assert_eq!(shown(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn shows_one_short_line() {
        let line = shown(&format!("\x1b[31mred\n{}", "x".repeat(100_000))).unwrap();
        assert!(line.starts_with(r"\u{1b}[31mred\nxxx") && line.ends_with("...") && line.len() < 300);
    }
}
