//! Base64url as in JOSE (RFC 7515 §2): without padding, white space or other characters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is not base64url in its one canonical spelling.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotBase64url;

/// Decodes strictly: the URL-safe alphabet alone, no padding, no whitespace,
/// and no stray bits in the last character, so that each byte string has
/// exactly one spelling.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, NotBase64url> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NotBase64url)
}

/// Encodes without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_one_spelling_only() {
        assert_eq!(decode("_-8"), Ok(vec![0xff, 0xef]));
        for bad in [
            "_-8=", "_-9", "/+8", "_-8 ", " _-8", "_-\n8", "_", "_-8\0", "é", "_=-8", "=",
        ] {
            assert_eq!(decode(bad), Err(NotBase64url), "{bad:?}");
        }
    }
}
