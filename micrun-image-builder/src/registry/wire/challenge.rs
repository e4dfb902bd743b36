//! `WWW-Authenticate`: how a registry wants to be addressed (RFC 9110, section 11.6.1).

/// Longest header that is looked at, bytes.
const MAX_HEADER: usize = 8 << 10;
/// Most parameters of a challenge that are kept.
const MAX_PARAMETERS: usize = 32;

/// One way that a registry takes credentials in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme in lower case: `basic`, `bearer`.
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter by its name in lower case: `realm`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Takes a header apart. What makes no sense is passed over: the rest may still do.
pub fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = Cursor(cut(header));
    loop {
        rest.skip(|c| c.is_whitespace() || c == ',');
        let word = rest.take(is_token);
        if word.is_empty() {
            match rest.next() {
                Some(_) => continue,
                None => return found,
            }
        }
        let name = word.to_ascii_lowercase();
        rest.skip(char::is_whitespace);
        if !rest.eat('=') {
            found.push(Challenge { scheme: name, parameters: Vec::new() });
            continue;
        }
        rest.skip(char::is_whitespace);
        let value = rest.value();
        if let Some(last) = found.last_mut().filter(|last| last.parameters.len() < MAX_PARAMETERS) {
            last.parameters.push((name, value));
        }
    }
}

fn cut(header: &str) -> &str {
    &header[..header.floor_char_boundary(MAX_HEADER)]
}

/// The characters of a token (RFC 9110, section 5.6.2), and `/` and `:`, which sloppy registries do not quote.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c)
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let c = chars.next();
        self.0 = chars.as_str();
        c
    }

    fn eat(&mut self, wanted: char) -> bool {
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(what);
    }

    fn take(&mut self, what: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !what(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    /// A quoted text without its quotes and backslashes, or a bare one.
    fn value(&mut self) -> String {
        if !self.eat('"') {
            return self.take(|c| !c.is_whitespace() && c != ',').to_owned();
        }
        let mut value = String::new();
        while let Some(c) = self.next() {
            match c {
                '"' => break,
                '\\' => value.extend(self.next()),
                c => value.push(c),
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_registries_send() {
        let header = r#"Bearer realm="https://auth.example/token",service="reg.example",scope="repository:a/b:pull,push""#;
        let [bearer] = &challenges(header)[..] else { panic!() };
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(bearer.parameter("realm"), Some("https://auth.example/token"));
        assert_eq!(bearer.parameter("service"), Some("reg.example"));
        assert_eq!(bearer.parameter("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(bearer.parameter("error"), None);
    }

    #[test]
    fn reads_several_challenges_sloppy_ones_too() {
        let header = r#"Negotiate abc==, BASIC realm = "a \"b\", c" ,charset=UTF-8,, bearer realm=https://a.example/t"#;
        let found = challenges(header);
        let schemes: Vec<&str> = found.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(found[1].parameter("realm"), Some(r#"a "b", c"#));
        assert_eq!(found[1].parameter("charset"), Some("UTF-8"));
        assert_eq!(found[2].parameter("realm"), Some("https://a.example/t"));
    }

    #[test]
    fn survives_hostile_headers() {
        for header in [
            "",
            ",,,",
            "=",
            "Basic realm=\"",
            "\"",
            "Basic =x",
            "é=ü",
            &"a=".repeat(100_000),
            &"é".repeat(9000),
        ] {
            challenges(header);
        }
        assert_eq!(challenges(&format!("Basic {}", "a=b,".repeat(1000)))[0].parameters.len(), MAX_PARAMETERS);
    }
}
