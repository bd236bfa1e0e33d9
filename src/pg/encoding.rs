//! Text between Rust (UTF-8) and the server's encoding.
//!
//! Names of issuers, keys and claims are compared in UTF-8, as tokens have them. Text that cannot
//! be converted is never replaced by something that could be a name.

use std::ffi::CString;

use pgrx::datum::{DatumWithOid, FromDatum, IntoDatum};
use pgrx::pg_sys;

const UTF8: u32 = pg_sys::pg_enc::PG_UTF8;

/// The encoding of the server's text.
fn server_encoding() -> u32 {
    // SAFETY: reads a variable of the backend.
    (unsafe { pg_sys::GetDatabaseEncoding() }) as u32
}

/// True if the server's text is UTF-8.
pub fn server_is_utf8() -> bool {
    server_encoding() == UTF8
}

/// True if the server's text is UTF-8, or bytes that Postgres passes through unchanged.
fn server_takes_utf8() -> bool {
    matches!(server_encoding(), UTF8 | pg_sys::pg_enc::PG_SQL_ASCII)
}

/// Text from the server; `None` if it is not UTF-8 and cannot be converted.
pub fn from_server(bytes: Vec<u8>) -> Option<String> {
    if bytes.is_ascii() || server_takes_utf8() {
        return String::from_utf8(bytes).ok();
    }
    String::from_utf8(convert(&bytes, server_encoding(), UTF8)?).ok()
}

/// As [`from_server`], for messages: bytes that cannot be converted become U+FFFD.
pub fn from_server_lossy(bytes: &[u8]) -> String {
    from_server(bytes.to_vec()).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
}

/// For messages: never fails. Characters that the server's encoding may lack, and U+0000, become
/// `?`.
pub fn to_server_c_string(utf8: &str) -> CString {
    let keep_all = server_takes_utf8();
    let bytes: Vec<u8> = if keep_all {
        utf8.bytes()
            .map(|byte| if byte == 0 { b'?' } else { byte })
            .collect()
    } else {
        utf8.chars()
            .map(|ch| {
                u8::try_from(ch)
                    .ok()
                    .filter(|byte| byte.is_ascii() && *byte != 0)
                    .unwrap_or(b'?')
            })
            .collect()
    };
    CString::new(bytes).unwrap_or_default()
}

/// For display: characters that the server's encoding lacks, and U+0000, become `?`. Not for error
/// reporting, because it looks up the conversion.
pub fn to_server_lossy(utf8: &str) -> CString {
    to_server(utf8).unwrap_or_else(|| {
        let mut bytes = Vec::with_capacity(utf8.len());
        for ch in utf8.chars() {
            match to_server(ch.encode_utf8(&mut [0; 4])) {
                Some(converted) => bytes.extend_from_slice(converted.as_bytes()),
                None => bytes.push(b'?'),
            }
        }
        CString::new(bytes).unwrap_or_default()
    })
}

/// For data: `utf8` in the server's encoding, NUL-terminated; `None` if the encoding lacks one of
/// its characters or it contains U+0000.
pub fn to_server(utf8: &str) -> Option<CString> {
    let bytes = if utf8.is_ascii() || server_takes_utf8() {
        utf8.as_bytes().to_vec()
    } else {
        convert(utf8.as_bytes(), UTF8, server_encoding())?
    };
    CString::new(bytes).ok()
}

/// For data: a `text` as an argument of a query; `None` as for [`to_server`].
pub fn argument(utf8: &str) -> Option<DatumWithOid<'static>> {
    let text = to_server(utf8)?;
    // SAFETY: the datum of a bytea is that of a text of the same bytes.
    Some(unsafe { DatumWithOid::new(text.as_bytes(), pg_sys::TEXTOID) })
}

/// For data: the datum of a `text`, in the current memory context; `None` as for [`to_server`].
pub fn to_datum(utf8: &str) -> Option<pg_sys::Datum> {
    // The datum of a bytea is that of a text of the same bytes.
    to_server(utf8)?.as_bytes().into_datum()
}

/// Whether no other text of the server converts to the same UTF-8 text.
pub fn has_one_form(utf8: &str) -> bool {
    server_takes_utf8() || utf8.is_ascii()
}

/// `None` if there is no such conversion, or the encoding lacks a character.
fn convert(bytes: &[u8], from: u32, to: u32) -> Option<Vec<u8>> {
    // pg_do_encoding_conversion_buf converts no more than fits in the worst case, and a NUL.
    let room = bytes
        .len()
        .checked_mul(pg_sys::MAX_CONVERSION_GROWTH as usize)?
        .checked_add(1)?;
    let length = i32::try_from(bytes.len()).ok()?;
    let capacity = i32::try_from(room).ok()?;
    let mut converted = vec![0; room];
    // SAFETY: reads `length` bytes, changes none of them, and writes at most `capacity`. Raises
    // nothing for what cannot be converted, but stops there.
    let consumed = unsafe {
        let function = pg_sys::FindDefaultConversionProc(from as i32, to as i32);
        if function == pg_sys::InvalidOid {
            return None;
        }
        pg_sys::pg_do_encoding_conversion_buf(
            function,
            from as i32,
            to as i32,
            bytes.as_ptr().cast_mut(),
            length,
            converted.as_mut_ptr(),
            capacity,
            true,
        )
    };
    if consumed != length {
        return None;
    }
    let end = converted.iter().position(|byte| *byte == 0)?;
    converted.truncate(end);
    Some(converted)
}

/// A `text` that a query returns; bytes that cannot be converted become U+FFFD.
pub struct ServerText(pub String);

impl FromDatum for ServerText {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _type_id: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: as the caller promises; a text is read as its bytes.
        let bytes = unsafe { Vec::<u8>::from_datum(datum, is_null) }?;
        Some(Self(from_server_lossy(&bytes)))
    }
}

// SPI needs both directions.
impl IntoDatum for ServerText {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        to_server_lossy(&self.0).as_bytes().into_datum()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}
