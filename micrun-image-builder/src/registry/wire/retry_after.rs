//! `Retry-After` (RFC 9110, section 10.2.3).

use std::time::Duration;

/// How long the registry wants to be left alone. A date counts as nothing said: clocks differ.
pub(in crate::registry) fn retry_after(header: &str) -> Option<Duration> {
    let seconds = header.trim();
    let is_number = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
    // Digits that do not fit are a very long time.
    is_number.then(|| Duration::from_secs(seconds.parse().unwrap_or(u64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_alone() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert!(retry_after(&"9".repeat(100)).is_some_and(|long| long > Duration::from_secs(1 << 30)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(retry_after("-1"), None);
        assert_eq!(retry_after(""), None);
    }
}
