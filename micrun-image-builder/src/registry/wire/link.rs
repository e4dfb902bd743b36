//! `Link`: where a list goes on (RFC 8288).

/// Longest header that is looked at, bytes.
const MAX_HEADER: usize = 8 << 10;

/// The target of the link to the next page.
pub fn next_page(header: &str) -> Option<&str> {
    let mut rest = &header[..header.floor_char_boundary(MAX_HEADER)];
    while let Some((_, link)) = rest.split_once('<') {
        let (target, behind) = link.split_once('>')?;
        let end = end_of_parameters(behind);
        if behind[..end].split(';').any(is_next) {
            return Some(target.trim());
        }
        rest = &behind[end..];
    }
    None
}

/// The comma that ends the parameters of a link: one that is not in quotes.
fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    let end = text.char_indices().find(|&(_, c)| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    end.map_or(text.len(), |(at, _)| at)
}

fn is_next(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        for (header, next) in [
            (r#"</v2/a/referrers/x?n=2>; rel="next""#, Some("/v2/a/referrers/x?n=2")),
            (r#"<https://r.example/v2/b>;rel=next"#, Some("https://r.example/v2/b")),
            (r#"</first>; rel="first"; title="a, <b>", </second>; REL = "last Next""#, Some("/second")),
            (r#"</first>; rel="prev""#, None),
            ("</unfinished; rel=next", None),
            ("", None),
            (">; rel=next <", None),
        ] {
            assert_eq!(next_page(header), next, "{header}");
        }
    }
}
