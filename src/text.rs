//! Text between Rust (UTF-8) and the server's encoding.

use std::ffi::CString;

use pgrx::pg_sys;

/// True where the server's text is UTF-8.
pub fn server_is_utf8() -> bool {
    // SAFETY: reads a variable of the backend.
    (unsafe { pg_sys::GetDatabaseEncoding() }) as u32 == pg_sys::pg_enc::PG_UTF8
}

/// True where the server's text is UTF-8, or bytes that Postgres passes through as they are.
fn server_takes_utf8() -> bool {
    // SAFETY: as above.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() } as u32;
    encoding == pg_sys::pg_enc::PG_SQL_ASCII || server_is_utf8()
}

/// Text of the server's. What is not UTF-8 becomes U+FFFD, which no name of an issuer, key or claim
/// that counts has in it.
pub fn from_server(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// For messages: never fails. What the server's encoding may lack, and U+0000, becomes `?`.
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

/// For data: `utf8` in the server's encoding, NUL-terminated; `None` where the encoding lacks one
/// of its characters or it holds U+0000.
pub fn to_server(utf8: &str) -> Option<CString> {
    let bytes = if utf8.is_ascii() || server_takes_utf8() {
        utf8.as_bytes().to_vec()
    } else {
        convert_to_server(utf8)?
    };
    CString::new(bytes).ok()
}

fn convert_to_server(utf8: &str) -> Option<Vec<u8>> {
    let length = i32::try_from(utf8.len()).ok()?;
    pgrx::PgTryBuilder::new(|| {
        // SAFETY: reads `length` bytes of `utf8`; returns a NUL-terminated palloc'd string (its
        // argument, unterminated, only when no conversion is needed, which was ruled out).
        unsafe {
            let converted = pg_sys::pg_any_to_server(
                utf8.as_ptr().cast(),
                length,
                pg_sys::pg_enc::PG_UTF8 as i32,
            );
            let bytes = std::ffi::CStr::from_ptr(converted).to_bytes().to_vec();
            pg_sys::pfree(converted.cast());
            Some(bytes)
        }
    })
    .catch_when(
        pgrx::PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
        |_| None,
    )
    .execute()
}
