//! What registries and credential files hold may be anything: the parsers neither panic nor keep more than they may, and
//! they read back what was written by the rules.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use base64ct::{Base64, Encoding as _};
use micrun_image_builder::registry::login::AuthFile;
use micrun_image_builder::registry::wire::{
    Said, challenges, content_range, next_page, resolve, uploaded_bytes,
};
use micrun_image_builder::registry::{Credential, RegistryName};
use proptest::prelude::*;

/// Bits of headers, so that the interesting places are reached.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "Bearer",
            "Basic",
            " ",
            ",",
            "=",
            "\"",
            "\\",
            "realm",
            "scope",
            "<",
            ">",
            ";",
            "rel",
            "next",
            "bytes",
            "-",
            "/",
            "0",
            "18446744073709551615",
            "*",
            "https:",
            "//",
            "é",
            "?",
            "#",
            "@",
        ])
        .prop_map(str::to_owned),
        ".{0,4}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_challenge_is_taken_apart(header in pieces()) {
        let found = challenges(&header);
        prop_assert!(found.len() <= header.len());
        prop_assert!(found.iter().all(|one| !one.scheme.is_empty() && one.scheme == one.scheme.to_ascii_lowercase()));
    }

    #[test]
    fn a_challenge_by_the_rules_is_read_back(scheme in "[A-Za-z]{1,10}", values in prop::collection::vec("[ -~]{0,20}", 1..6)) {
        let parameters: Vec<String> = values.iter().enumerate().map(|(i, value)| {
            format!("p{i}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
        }).collect();
        let found = challenges(&format!("{scheme} {}", parameters.join(", ")));
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(&found[0].scheme, &scheme.to_ascii_lowercase());
        for (i, value) in values.iter().enumerate() {
            prop_assert_eq!(found[0].parameter(&format!("p{i}")), Some(value.as_str()));
        }
    }

    #[test]
    fn any_link_is_looked_through(header in pieces()) {
        if let Some(target) = next_page(&header) {
            prop_assert!(header.contains(target));
        }
    }

    #[test]
    fn a_link_by_the_rules_is_found(path in "/[a-z0-9/?=&%]{0,40}", others in prop::collection::vec("[a-z]{1,8}", 0..4)) {
        let others: String = others.iter().map(|rel| format!("</{rel}>; title=\"a, b\"; rel=\"not{rel}\", ")).collect();
        let header = format!("{others}<{path}>; rel=\"next\"");
        prop_assert_eq!(next_page(&header), Some(path.as_str()));
    }

    #[test]
    fn any_range_is_read(header in pieces()) {
        let _ = uploaded_bytes(&header);
        if let Some((first, last, size)) = content_range(&header) {
            prop_assert!(first <= last && size.is_none_or(|size| last < size));
        }
    }

    #[test]
    fn a_range_by_the_rules_is_read_back(first: u64, length in 1u64.., more: u64) {
        let last = first.saturating_add(length - 1);
        let size = last.checked_add(1).map(|end| end.saturating_add(more));
        let text = size.map_or("*".to_owned(), |size| size.to_string());
        prop_assert_eq!(content_range(&format!("bytes {first}-{last}/{text}")), Some((first, last, size)));
        let uploaded = (last > 0 && last < u64::MAX).then(|| last + 1);
        let read = uploaded_bytes(&format!("0-{last}"));
        prop_assert!(last == 0 || read == uploaded);
    }

    #[test]
    fn any_body_of_an_error_becomes_one_short_line(body in prop::collection::vec(any::<u8>(), 0..2000), json in any::<bool>()) {
        let text = String::from_utf8_lossy(&body).into_owned();
        let wrapped = serde_json::json!({"errors": [{"code": &text, "message": &text}]}).to_string();
        let said = Said::parse(if json { wrapped.as_bytes() } else { &body });
        if let Some(said) = said {
            let line = said.to_string();
            prop_assert!(line.len() < 10_000 && !line.contains(char::is_control), "{line:?}");
        }
    }

    #[test]
    fn any_location_leads_to_a_server_or_nowhere(location in pieces()) {
        let base = "https://r.example/v2/a/blobs/uploads/".parse().unwrap();
        if let Ok(url) = resolve(&base, &location) {
            prop_assert!(matches!(url.scheme_str(), Some("http" | "https")));
            prop_assert!(url.authority().is_some_and(|authority| !authority.as_str().contains('@')));
        }
    }

    #[test]
    fn any_file_with_credentials_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), auth in pieces()) {
        let _ = AuthFile::parse(&bytes).map(|file| file.credential("r.example", "a/b").is_ok());
        let file = serde_json::json!({"auths": {"r.example": {"auth": auth}}}).to_string();
        let _ = AuthFile::parse(file.as_bytes()).unwrap().credential("r.example", "a/b");
    }

    #[test]
    fn credentials_are_read_back(user in "[^:\u{0}]{1,20}", password in "[^\u{0}]{0,20}", path in "[a-z]{1,5}(/[a-z]{1,5}){0,3}") {
        let auth = Base64::encode_string(format!("{user}:{password}").as_bytes());
        let key = format!("r.example/{path}");
        let file = serde_json::json!({"auths": {key: {"auth": auth}}}).to_string();
        let file = AuthFile::parse(file.as_bytes()).unwrap();
        let expected = Some(Credential::Password { user, password });
        prop_assert_eq!(&file.credential("r.example", &path).unwrap(), &expected);
        prop_assert_eq!(&file.credential("r.example", &format!("{path}/below")).unwrap(), &expected);
        prop_assert_eq!(&file.credential("r.example", &format!("{path}x")).unwrap(), &None);
        prop_assert_eq!(&file.credential("r.example:5000", &path).unwrap(), &None);
    }

    #[test]
    fn any_name_is_read_or_refused(text in pieces()) {
        if let Ok(name) = text.parse::<RegistryName>() {
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }
    }
}
