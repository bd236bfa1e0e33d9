//! The schema of the extension's objects: SQL that Rust runs, and look-ups, have its name from here.
//! Messages, COMMENTs and pages say `auth`.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "all of it is evaluated by the compiler, to which a panic is an error"
)]

/// Its name, for `format!`.
pub const SCHEMA: &str = "auth";

/// A constant SQL text, with the schema in place of each `@extschema@`, as in an extension's script.
macro_rules! in_schema {
    ($text:literal) => {{
        use $crate::trust::schema;
        const FILLED: [u8; schema::filled_length($text)] = schema::filled($text);
        const TEXT: &str = match core::str::from_utf8(&FILLED) {
            Ok(text) => text,
            Err(_) => unreachable!(),
        };
        TEXT
    }};
}
pub(crate) use in_schema;

/// Length of a text with the schema in its places.
pub const fn filled_length(text: &str) -> usize {
    fill(text.as_bytes(), &mut [])
}

/// A text with the schema in its places.
pub const fn filled<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut filled = [0; LENGTH];
    fill(text.as_bytes(), &mut filled);
    filled
}

/// Writes the text, as far as there is room. Returns its whole length.
const fn fill(mut text: &[u8], room: &mut [u8]) -> usize {
    let mut length = 0;
    while let Some((_, after_byte)) = text.split_first() {
        let (part, count, rest) = match after_place(text) {
            Some(rest) => (SCHEMA.as_bytes(), SCHEMA.len(), rest),
            None => (text, 1, after_byte),
        };
        let mut at = 0;
        while at < count {
            if length < room.len() {
                room[length] = part[at];
            }
            length += 1;
            at += 1;
        }
        text = rest;
    }
    length
}

/// The rest of a text that begins with a place for the schema.
const fn after_place(mut text: &[u8]) -> Option<&[u8]> {
    let mut place: &[u8] = b"@extschema@";
    while let Some((expected, rest_of_place)) = place.split_first() {
        match text.split_first() {
            Some((byte, rest)) if *byte == *expected => (text, place) = (rest, rest_of_place),
            _ => return None,
        }
    }
    Some(text)
}
