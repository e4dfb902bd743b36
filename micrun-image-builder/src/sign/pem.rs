//! PEM (RFC 7468), read as leniently as other tools do: any text may stand around a block.

use super::base64;

/// What stands between `BEGIN` and `END`.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    /// True if headers stand before the contents (RFC 1421). Keys have them that OpenSSL encrypted in its older way.
    pub(super) has_headers: bool,
    /// None if it is no base64, or the end is missing.
    pub(super) contents: Option<Vec<u8>>,
}

/// The first block, apart from those with this label.
pub(super) fn first_block<'a>(text: &'a str, ignored: &str) -> Option<Block<'a>> {
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = marker(line, "-----BEGIN ") else { continue };
        let mut body = String::new();
        let ended = lines.by_ref().any(|line| match marker(line, "-----END ") {
            Some(end) => end == label,
            None => {
                body.push_str(line);
                false
            }
        });
        if label != ignored {
            let contents = base64::decode(&body).filter(|_| ended);
            return Some(Block { label, has_headers: body.contains(':'), contents });
        }
    }
    None
}

/// `EC PRIVATE KEY` of `-----BEGIN EC PRIVATE KEY-----`.
fn marker<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: &str = "EC PARAMETERS";

    #[test]
    fn finds_a_block_behind_others_and_between_other_text() {
        let text = "my key:\r\n-----BEGIN EC PARAMETERS-----\r\nAQI=\r\n-----END EC PARAMETERS-----\r\n\
                    -----BEGIN EC PRIVATE KEY-----\r\nAQ\r\nID\r\n-----END EC PRIVATE KEY-----\r\n";
        let block = first_block(text, PARAMETERS).unwrap();
        assert_eq!((block.label, block.contents), ("EC PRIVATE KEY", Some(vec![1, 2, 3])));
        assert_eq!(first_block(text, "").unwrap().label, PARAMETERS);
    }

    #[test]
    fn notices_headers() {
        let text = "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END A-----\n";
        assert!(first_block(text, PARAMETERS).unwrap().has_headers);
    }

    #[test]
    fn says_that_a_block_is_damaged() {
        for body in ["AQID\n", "AQID\n-----END B-----\n", "A!\n-----END A-----\n"] {
            let text = format!("-----BEGIN A-----\n{body}");
            let block = first_block(&text, PARAMETERS).unwrap();
            assert_eq!((block.label, block.contents), ("A", None), "{body}");
        }
        assert!(first_block("no key\n", PARAMETERS).is_none());
    }
}
