//! Base64 as the formats around signatures use it.

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use serde::de::{Deserialize as _, Deserializer, Error as _};

/// With the usual alphabet and padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Of either alphabet, with padding or without: JSON made from protocol buffers may have any of these.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let usual = |c| match c {
        '-' => '+',
        '_' => '/',
        other => other,
    };
    let text: String = text.trim_end_matches('=').chars().map(usual).collect();
    Base64Unpadded::decode_vec(&text).ok()
}

/// For a field of a JSON document.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    decode(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("a value is no base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_either_alphabet_with_and_without_padding() {
        let bytes = [0xfb, 0xff, 0xfe, 0x01];
        assert_eq!(encode(&bytes), "+//+AQ==");
        for text in ["+//+AQ==", "+//+AQ", "-__-AQ==", "-__-AQ"] {
            assert_eq!(decode(text).as_deref(), Some(&bytes[..]), "{text}");
        }
        for text in ["+//+A", "+ //", "ü", "+//+AR=="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
