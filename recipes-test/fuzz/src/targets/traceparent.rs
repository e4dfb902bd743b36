//! Whose trace a call belongs to, as its caller says.

// The file alone: the rest of the runtime brings a hundred crates, which would all be built for the fuzzer.
#[path = "../../../../micrun/src/trace/context.rs"]
#[allow(dead_code, reason = "spans are not begun here")]
mod context;

use context::{TraceContext, tracestate};

/// Reads the input as a `traceparent`, and as a `tracestate`: what is taken is passed on, to guests too, and must be
/// what came and nothing that ends a header or an option.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(context) = TraceContext::parse(text) {
        let written = context.to_string();
        assert_eq!(TraceContext::parse(&written), Some(context));
        assert_eq!(written[2..], text[2..written.len()]);
        assert!(written.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
    }
    let state = tracestate(text);
    assert!(text.contains(state) && !state.contains(['\r', '\n', '\0']));
}
