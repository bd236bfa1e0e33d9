//! UUIDs as text.

/// The bytes of a uuid in the forms that Postgres reads (`string_to_uuid` in
/// src/backend/utils/adt/uuid.c): 32 hexadecimal digits of either case, a hyphen allowed after each
/// group of four, braces allowed around them. `None` if a cast would fail.
pub fn parse(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    let mut digits = match text.strip_prefix(b"{") {
        Some(braced) => braced.strip_suffix(b"}")?,
        None => text,
    };
    let mut uuid = [0; 16];
    for (place, byte) in uuid.iter_mut().enumerate() {
        let [high, low, rest @ ..] = digits else {
            return None;
        };
        *byte = hex(*high)? << 4 | hex(*low)?;
        digits = match rest {
            [b'-', rest @ ..] if place % 2 == 1 && place < 15 => rest,
            rest => rest,
        };
    }
    digits.is_empty().then_some(uuid)
}

/// A uuid as `uuid_out` writes it: the only text that matches a key id of type `uuid`.
pub fn format(uuid: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in uuid.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}
