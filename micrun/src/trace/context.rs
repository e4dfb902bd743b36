//! Whose trace a call belongs to, as W3C Trace Context writes it (version 00).
//!
//! What cannot be read is no context: the specification asks for a new trace then, not for an error.

use std::fmt;

/// A trace, a span in it, and whether somebody records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace. Never all zeros.
    pub trace: TraceId,
    /// The span. Never all zeros.
    pub span: SpanId,
    /// `sampled` is the lowest bit; the others are passed on as they came.
    pub flags: u8,
}

/// Names a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// Names a span within its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// The flag of a trace whose spans are recorded.
pub const SAMPLED: u8 = 0x01;

/// Version, trace, span and flags with their dashes.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// The version that no `traceparent` can have.
const INVALID_VERSION: u8 = 0xff;

impl TraceContext {
    /// Reads a `traceparent`; `None` where it is not valid. Of a version to come, the part that this one knows is read.
    pub fn parse(text: &str) -> Option<TraceContext> {
        let bytes = text.as_bytes();
        let (known, rest) = bytes.split_at_checked(LENGTH)?;
        let dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        let [version] = hex(&known[..2])?;
        let whole = match version {
            0 => rest.is_empty(),
            INVALID_VERSION => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        if !dashes || !whole {
            return None;
        }
        let (trace, span, [flags]) = (hex(&known[3..35])?, hex(&known[36..52])?, hex(&known[53..])?);
        let named = trace != [0; 16] && span != [0; 8];
        named.then_some(TraceContext { trace: TraceId(trace), span: SpanId(span), flags })
    }

    /// Whether the caller records its spans.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The longest `tracestate` that is passed on, bytes: what the specification asks of everyone.
const MAX_STATE: usize = 512;

/// What vendors' own `tracestate` says, passed on as it came; nothing where it could not be a header's value.
pub fn tracestate(text: &str) -> &str {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    if printable && text.len() <= MAX_STATE { text.trim() } else { "" }
}

/// Bytes from lower-case hexadecimal digits, which alone are valid here.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_specifications_example_is_read_and_written_again() {
        let context = TraceContext::parse(VALID).unwrap();
        assert_eq!(context.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span.to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), VALID);
        assert!(!TraceContext::parse(&VALID.replace("-01", "-02")).unwrap().is_sampled());
    }

    #[test]
    fn what_is_not_valid_is_no_context() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333ä-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn of_a_version_to_come_the_known_part_is_read() {
        let known = TraceContext::parse(VALID);
        let later = VALID.replacen("00", "cc", 1);
        assert_eq!(TraceContext::parse(&later), known);
        assert_eq!(TraceContext::parse(&format!("{later}-what-comes")), known);
    }

    #[test]
    fn a_state_that_is_no_header_is_dropped() {
        assert_eq!(tracestate("vendor=1,other=t61rcWkgMzE "), "vendor=1,other=t61rcWkgMzE");
        assert_eq!(tracestate("a=1\r\nHost: b"), "");
        assert_eq!(tracestate(&"x".repeat(513)), "");
    }
}
