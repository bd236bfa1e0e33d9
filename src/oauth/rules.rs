//! The rules for a login whose token is verified.

use std::ffi::CString;

use serde_json::Value;

use crate::oauth::checks::Line;
use crate::oauth::errors;
use crate::oauth::message::{Accepted, Reason, Request};
use crate::oauth::{issuer, role};
use crate::pg::encoding;
use crate::pg::report::{Report, SqlState};
use crate::session::{self, identity::Identity};
use crate::settings;
use crate::trust::claim_path::ClaimPath;
use crate::trust::keys::Keys;
use crate::trust::writers::{self, Stranger};

/// Longest name of a user, in bytes. OpenID Connect allows 255 characters for `sub`.
const NAME_BYTES: usize = 1_024;

/// Verifies the token by this database's rows, and returns the user's name and the role.
///
/// # Errors
///
/// Why the login is refused.
pub fn judge(request: &Request) -> Result<Accepted, Reason> {
    let (identity, keys) =
        session::verify_for_login(request.token).map_err(without_unverified_text)?;
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| errors::malformed());
    let wanted = issuer::of_line(text(request.issuer)?).unwrap_or_default();
    let line = Line {
        issuer: &wanted,
        scope: text(request.scope)?,
    };
    // The payload that was verified just now.
    let payload = jwt_verify::unverified_payload(text(request.token)?);
    let claims = line.check(&payload.ok_or_else(errors::malformed)?)?;
    // Issuers that share a row of that name are not kept apart by their signatures.
    if keys.issuer_for(Some(&wanted)) != Some(&wanted) {
        return Err(errors::no_issuer_row(&wanted).into());
    }
    if keys.audience(Some(&wanted)).is_none_or(<[_]>::is_empty) {
        return Err(errors::no_audience(&wanted).into());
    }
    if let Some(stranger) = key_writer(&keys) {
        return Err(errors::keys_of_a_stranger(&stranger).into());
    }
    let name = user_name(&identity, &claims, &settings::login_claim())?;
    if request.skips_usermap {
        let claimed = session::login::role_of(&identity, &keys).map_err(errors::no_role)?;
        let is_same = keys
            .login()
            .is_some_and(|login| is_same(&claims, &login.claim, claimed.to_bytes()));
        if !is_same || claimed.to_bytes() != request.role {
            let claimed = encoding::from_server_lossy(claimed.to_bytes());
            return Err(errors::other_role(&claimed).into());
        }
    }
    let role = CString::new(request.role).map_err(|_| errors::role_missing())?;
    let role = role::admit(&role)?;
    Ok(Accepted {
        name: name.into_bytes(),
        role: role.to_u32(),
    })
}

/// A role that is no superuser, and decides about the keys by which the token was verified, or about its end.
fn key_writer(keys: &Keys) -> Option<Stranger> {
    let followed = keys.sight().and_then(|sight| sight.source.as_ref());
    let sessions = keys
        .sessions()
        .and_then(|sessions| sessions.source.as_ref());
    let sources = followed
        .into_iter()
        .chain(sessions.map(|source| &source.table));
    writers::of_extension().or_else(|| sources.into_iter().find_map(writers::of_source))
}

/// The reason without texts of a token whose signature may not hold: anyone could write lines into the log by them.
fn without_unverified_text(report: Report) -> Reason {
    let SqlState(code) = report.sqlstate;
    let mut reason = Reason::from(report);
    if code.starts_with(b"28J") && !errors::is_of_verified(reason.code) {
        reason.detail = None;
        reason.hint = None;
    }
    reason
}

/// The claim that names the user.
fn user_name(identity: &Identity, claims: &Value, claim: &str) -> Result<String, Report> {
    let place = ClaimPath::parse(claim).ok_or_else(errors::bad_claim_path)?;
    let path: Option<Vec<CString>> = place
        .parts()
        .iter()
        .map(|part| encoding::to_server(part))
        .collect();
    path.and_then(|path: Vec<CString>| identity.claims()?.string_at(&path))
        .filter(|name| is_same(claims, &place, name.text_bytes()))
        .and_then(|name| encoding::from_server(name.text_bytes().to_vec()))
        .filter(|name| is_name(name))
        .ok_or_else(|| errors::no_name(claim))
}

/// Whether a text of the server is the one that the token has at this place. In some encodings two characters become the
/// same one, so that a user's name would be another's.
fn is_same(claims: &Value, place: &ClaimPath, text: &[u8]) -> bool {
    let claimed = place.find_in(claims).and_then(Value::as_str);
    claimed.is_some() && claimed == encoding::from_server(text.to_vec()).as_deref()
}

/// Whether a text can be a user's name: in the log, in `pg_ident.conf` and in `system_user` it stands on one line.
fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::{NAME_BYTES, is_name};

    #[test]
    fn a_name_stands_on_one_line() {
        for text in [
            "a",
            "auth0|5f7",
            "https://a.example/u 1",
            "jürgen",
            &"a".repeat(NAME_BYTES),
        ] {
            assert!(is_name(text), "{text}");
        }
        for text in [
            "",
            "a\n",
            "a\0",
            "\u{7f}",
            "a\u{85}b",
            &"a".repeat(NAME_BYTES + 1),
        ] {
            assert!(!is_name(text), "{text}");
        }
    }
}
