//! A verified token's claims as values that are ready to be returned.
//!
//! A policy may call `auth.user_id()` once per row. So each answer is stored as the bytes of its
//! datum, and a call costs one palloc and one copy. (Building the text or the jsonb again at each
//! call makes a scan under comparable extensions many times slower.)

use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use jwt_verify::{UnixTime, Verified, Wanted};
use pgrx::{PgSqlErrorCode, pg_sys};

use crate::errors::not_in_server_encoding;
use crate::pg::encoding;
use crate::pg::report::Report;
use crate::pg::unguarded;
use crate::pg::uuid;

/// The identity that a token gives its session.
pub struct Identity {
    token: Rc<[u8]>,
    issuer: Option<Box<str>>,
    key_id: Option<Box<str>>,
    valid_from: UnixTime,
    valid_until: UnixTime,
    /// The payload's JSON text.
    payload: CString,
    claims: OnceCell<Option<DatumImage>>,
    user_id: Option<DatumImage>,
    uid: Option<DatumImage>,
    role: OnceCell<Option<DatumImage>>,
    email: OnceCell<Option<DatumImage>>,
    organization: OnceCell<Option<DatumImage>>,
    organization_id: OnceCell<Option<DatumImage>>,
}

impl Identity {
    /// Identity from a token and the result of its verification. Prepares `sub`, which nearly every
    /// policy uses; the other answers are made at first use. Where many users share a connection,
    /// most tokens are verified for one transaction, and making a `jsonb` takes longer than reading
    /// the token.
    ///
    /// # Errors
    ///
    /// If the server's encoding lacks a character of the claims.
    pub fn new(token: &[u8], verified: &Verified) -> Result<Self, Report> {
        let subject = verified.subject.as_deref();
        let payload = encoding::to_server(&verified.claims).ok_or_else(not_in_server_encoding)?;
        let claims = OnceCell::new();
        if !encoding::server_is_utf8() {
            let _ = claims.set(Some(claims_to_encode(&payload)?));
        }
        Ok(Self {
            token: token.into(),
            issuer: verified.issuer.as_deref().map(Box::from),
            key_id: verified.key_id.as_deref().map(Box::from),
            valid_from: verified.valid_from,
            valid_until: verified.valid_until,
            payload,
            claims,
            user_id: subject.map(text_image).transpose()?,
            uid: subject
                .and_then(uuid::parse)
                .map(|bytes| DatumImage::new(&bytes)),
            role: OnceCell::new(),
            email: OnceCell::new(),
            organization: OnceCell::new(),
            organization_id: OnceCell::new(),
        })
    }

    /// The token itself.
    pub fn token(&self) -> &Rc<[u8]> {
        &self.token
    }

    /// The names by which its key was found.
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted {
            issuer: self.issuer.as_deref(),
            key_id: self.key_id.as_deref(),
        }
    }

    /// Whether the token, which the present keys verify, is valid at that time.
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        self.valid_from <= now && now < self.valid_until
    }

    /// All claims, a `jsonb`. There always are some.
    pub fn claims(&self) -> Option<&DatumImage> {
        self.claims
            .get_or_init(|| claims_image(&self.payload))
            .as_ref()
    }

    /// `sub`, a `text`.
    pub fn user_id(&self) -> Option<&DatumImage> {
        self.user_id.as_ref()
    }

    /// `sub`, a `uuid`.
    pub fn uid(&self) -> Option<&DatumImage> {
        self.uid.as_ref()
    }

    /// `role`, a `text`.
    pub fn role(&self) -> Option<&DatumImage> {
        self.role
            .get_or_init(|| self.claims()?.member_text(c"role"))
            .as_ref()
    }

    /// `email`, a `text`.
    pub fn email(&self) -> Option<&DatumImage> {
        self.email
            .get_or_init(|| self.claims()?.member_text(c"email"))
            .as_ref()
    }

    /// `o`, a `jsonb`, if it is an object.
    pub fn organization(&self) -> Option<&DatumImage> {
        self.organization
            .get_or_init(|| {
                self.claims()?
                    .member(c"o")
                    .filter(|o| o.json_type() == "object")
            })
            .as_ref()
    }

    /// `id` of `o`, a `uuid`.
    pub fn organization_id(&self) -> Option<&DatumImage> {
        self.organization_id
            .get_or_init(|| {
                let organization = self.organization()?;
                organization
                    .member(c"id")
                    .filter(|id| id.json_type() == "string")?;
                let id = organization.member_text(c"id")?;
                let bytes = uuid::parse(std::str::from_utf8(id.text_bytes()).ok()?)?;
                Some(DatumImage::new(&bytes))
            })
            .as_ref()
    }
}

/// The bytes of a by-reference datum, outside of Postgres's memory.
pub struct DatumImage(Box<[u8]>);

impl DatumImage {
    fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Copies a varlena datum, detoasted if necessary.
    ///
    /// # Safety
    ///
    /// `datum` must be that of a varlena.
    unsafe fn from_varlena(datum: pg_sys::Datum) -> Self {
        // SAFETY: as the caller promises; a detoasted varlena is one block of VARSIZE bytes.
        unsafe {
            let varlena = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            let size = pgrx::varlena::varsize_4b(varlena);
            Self::new(std::slice::from_raw_parts(varlena.cast::<u8>(), size))
        }
    }

    /// The bytes. Their address stays the same as long as the image exists.
    pub fn bytes(&self) -> *const [u8] {
        &raw const *self.0
    }

    /// A datum of these bytes in the current memory context.
    pub fn to_datum(&self) -> pg_sys::Datum {
        // SAFETY: palloc gives at least that many bytes, aligned for every type, or raises.
        unsafe {
            let copy = pg_sys::palloc(self.0.len()).cast::<u8>();
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), copy, self.0.len());
            pg_sys::Datum::from(copy)
        }
    }

    /// The characters of a `text`.
    pub fn text_bytes(&self) -> &[u8] {
        self.0.get(pg_sys::VARHDRSZ..).unwrap_or_default()
    }

    /// The member of that name of a `jsonb` object, as `->` returns it.
    fn member(&self, name: &CStr) -> Option<Self> {
        self.operator(pg_sys::jsonb_object_field, name)
    }

    /// The member of that name of a `jsonb` object, as `->>` returns it.
    fn member_text(&self, name: &CStr) -> Option<Self> {
        self.operator(pg_sys::jsonb_object_field_text, name)
    }

    /// The string at a path, a `text`; `None` if there is none, or something else.
    pub fn string_at(&self, path: &[CString]) -> Option<Self> {
        let (last, parents) = path.split_last()?;
        let mut parent = None;
        for part in parents {
            parent = Some(parent.as_ref().unwrap_or(self).child(part)?);
        }
        let parent = parent.as_ref().unwrap_or(self);
        let is_string = parent.child(last)?.json_type() == "string";
        is_string.then(|| parent.child_text(last)).flatten()
    }

    /// The member of an object, or the element of an array at a position that is not negative.
    fn child(&self, part: &CStr) -> Option<Self> {
        match self.position(part) {
            Some(position) => self.element(pg_sys::jsonb_array_element, position?),
            None => self.member(part),
        }
    }

    /// The same as text, as `->>` returns it.
    fn child_text(&self, part: &CStr) -> Option<Self> {
        match self.position(part) {
            Some(position) => self.element(pg_sys::jsonb_array_element_text, position?),
            None => self.member_text(part),
        }
    }

    /// If this is an array: the position in it that `part` names, if it names one.
    fn position(&self, part: &CStr) -> Option<Option<i32>> {
        let position = || {
            let text = part.to_str().ok()?;
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_number)
        };
        (self.json_type() == "array").then(position)
    }

    fn operator(
        &self,
        function: unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum,
        name: &CStr,
    ) -> Option<Self> {
        let name = varlena_image(name.to_bytes());
        // SAFETY: both functions take (jsonb, text) and return NULL or a varlena.
        unsafe {
            pgrx::direct_function_call_as_datum(
                function,
                &[Some(self.to_datum()), Some(name.to_datum())],
            )
            .map(|datum| Self::from_varlena(datum))
        }
    }

    fn element(
        &self,
        function: unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum,
        position: i32,
    ) -> Option<Self> {
        // SAFETY: both functions take (jsonb, integer) and return NULL or a varlena.
        unsafe {
            pgrx::direct_function_call_as_datum(
                function,
                &[Some(self.to_datum()), Some(pg_sys::Datum::from(position))],
            )
            .map(|datum| Self::from_varlena(datum))
        }
    }

    /// The result of `jsonb_typeof`.
    fn json_type(&self) -> String {
        // SAFETY: jsonb_typeof takes a jsonb and returns a text.
        unsafe {
            pgrx::direct_function_call(pg_sys::jsonb_typeof, &[Some(self.to_datum())])
                .unwrap_or_default()
        }
    }
}

/// As [`DatumImage::to_datum`], for the path that runs once per row.
///
/// # Safety
///
/// `bytes` must be valid until this returns. The caller must hold nothing that needs a drop: if
/// memory runs out, palloc leaves by `longjmp`.
#[inline]
pub unsafe fn copy_to_datum(bytes: *const [u8]) -> pg_sys::Datum {
    // SAFETY: palloc gives at least that many bytes, aligned for every type, or does not return.
    unsafe {
        let copy = unguarded::palloc(bytes.len());
        std::ptr::copy_nonoverlapping(bytes.cast::<u8>(), copy.cast(), bytes.len());
        pg_sys::Datum::from(copy)
    }
}

/// A varlena of these bytes, with a four-byte header (`SET_VARSIZE`).
fn varlena_image(bytes: &[u8]) -> DatumImage {
    let mut image = vec![0; pg_sys::VARHDRSZ];
    image.extend_from_slice(bytes);
    // A token is at most 64 KiB, so its length fits.
    let size = i32::try_from(image.len()).unwrap_or(i32::MAX);
    // SAFETY: the vector holds the header's four bytes; the function writes them as one u32, and
    // the allocator's alignment is sufficient for that.
    unsafe { pgrx::varlena::set_varsize_4b(image.as_mut_ptr().cast(), size) };
    DatumImage(image.into())
}

fn text_image(utf8: &str) -> Result<DatumImage, Report> {
    let text = encoding::to_server(utf8).ok_or_else(not_in_server_encoding)?;
    Ok(varlena_image(text.as_bytes()))
}

/// Has Postgres parse the payload as it was signed, so that `jsonb` keeps the JSON's values, and
/// numbers to their last digit. Raises nothing for it in a server of UTF-8: the verifier has already
/// refused everything else that `jsonb_in` would refuse (U+0000, lone surrogates, numbers beyond
/// `numeric`, depth).
fn claims_image(payload: &CStr) -> Option<DatumImage> {
    // SAFETY: jsonb_in takes a NUL-terminated string and returns a jsonb.
    unsafe {
        let argument = Some(pg_sys::Datum::from(payload.as_ptr()));
        let datum = pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[argument]);
        datum.map(|datum| DatumImage::from_varlena(datum))
    }
}

/// As [`claims_image`], in a server of another encoding: only `jsonb_in` finds escapes (`\u`) of
/// characters that it lacks.
fn claims_to_encode(payload: &CStr) -> Result<DatumImage, Report> {
    let image = pgrx::PgTryBuilder::new(AssertUnwindSafe(|| claims_image(payload)))
        .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, |_| None)
        .catch_when(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, |_| None)
        .execute();
    image.ok_or_else(not_in_server_encoding)
}
