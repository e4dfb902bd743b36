//! `Range` and `Content-Range`, in HTTP's form and in that of the distribution specification.

/// How many bytes of an upload the registry has, from the `Range` of its answer: `0-1023` (distribution-spec, "Pushing
/// a blob in chunks"; some write `bytes=0-1023`). `0-0` means 0 or 1 byte, depending on the registry: it counts as 0.
pub fn uploaded_bytes(header: &str) -> Option<u64> {
    let range = header.trim();
    let range = range.strip_prefix("bytes").map_or(range, |rest| rest.trim_start_matches(['=', ' ']));
    match number_pair(range)? {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

/// The first byte, the last byte and the size (if it is known) from `Content-Range: bytes 0-9/10`.
pub fn content_range(header: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, size) = header.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = number_pair(range)?;
    let size = match size.trim() {
        "*" => None,
        size => Some(number(size)?),
    };
    let is_inside = size.is_none_or(|size| last < size);
    (first <= last && is_inside).then_some((first, last, size))
}

fn number_pair(range: &str) -> Option<(u64, u64)> {
    let (first, last) = range.split_once('-')?;
    Some((number(first.trim())?, number(last.trim())?))
}

/// Digits alone: Rust's own parser takes a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_far_an_upload_is() {
        for (header, bytes) in [
            ("0-1023", Some(1024)),
            ("bytes=0-1023", Some(1024)),
            (" bytes 0-9 ", Some(10)),
            ("0-0", Some(0)),
            ("5-9", None),
            ("0-18446744073709551615", None),
            ("0-+1", None),
            ("0--1", None),
            ("", None),
        ] {
            assert_eq!(uploaded_bytes(header), bytes, "{header}");
        }
    }

    #[test]
    fn reads_which_part_comes() {
        for (header, range) in [
            ("bytes 5-9/10", Some((5, 9, Some(10)))),
            ("bytes 5-9/*", Some((5, 9, None))),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("bytes */10", None),
            ("5-9/10", None),
        ] {
            assert_eq!(content_range(header), range, "{header}");
        }
    }
}
