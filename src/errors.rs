//! The one table of what we raise: SQLSTATE, message, DETAIL and HINT. (Only the calling convention's
//! own errors are in [`crate::pg::function`].)
//!
//! Messages name the claim and the rule, never the token, a signature or a key. The verifier has
//! already quoted, escaped and cut what comes from a token.

// A new error of the verifier must not get the code or the hint of another by default.
#![deny(clippy::wildcard_enum_match_arm)]

use jwt_verify::{Error, ErrorKind, JwksError, KeyError, Places, UnknownAlgorithm};

use crate::pg::report::{Report, SqlState};
use crate::pg::row::NotUtf8;
use crate::pg::row_security::Exemption;

/// A JWKS or a JWK, or another argument, that is not acceptable.
const INVALID_PARAMETER_VALUE: SqlState = SqlState(b"22023");

/// A missing privilege.
pub const INSUFFICIENT_PRIVILEGE: SqlState = SqlState(b"42501");

/// The SQLSTATE of a refused token. Class 28 (invalid authorization), so that a client can tell a
/// refusal by its first two characters.
pub fn sqlstate(kind: ErrorKind) -> SqlState {
    SqlState(match kind {
        ErrorKind::Malformed => b"28J01",
        ErrorKind::Algorithm => b"28J02",
        ErrorKind::Key => b"28J03",
        ErrorKind::Signature => b"28J04",
        ErrorKind::Expired => b"28J05",
        ErrorKind::NotYetValid => b"28J06",
        ErrorKind::Issuer => b"28J07",
        ErrorKind::Audience => b"28J08",
        ErrorKind::Claim => b"28J09",
        ErrorKind::UnknownIssuer => b"28J13",
    })
}

/// The message for each kind of refusal; the error itself gives the DETAIL.
fn message(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Malformed => "malformed token",
        ErrorKind::Algorithm => "algorithm of the token is not allowed",
        ErrorKind::Key => "no key for this token",
        ErrorKind::Signature => "signature of the token does not match",
        ErrorKind::Expired => "token has expired",
        ErrorKind::NotYetValid => "token is not valid yet",
        ErrorKind::Issuer => "issuer of the token is refused",
        ErrorKind::Audience => "audience of the token is refused",
        ErrorKind::Claim => "claim of the token is missing or malformed",
        ErrorKind::UnknownIssuer => "issuer of the token is not known",
    }
}

/// The words of advice about an issuer whose keys were loaded with `auth.init` or SQL, and about one that is
/// not known.
pub const LOADED: Places = Places {
    add_issuer: "have its keys followed with auth.follow() or auth.follow_url(), or load them with \
                 auth.init()",
    issuers: "auth.issuers",
    unknown_key: "after a rotation, load the issuer's new JWKS with auth.init(); else the token is \
                  from another environment",
    no_keys: "after a rotation, load the issuer's new JWKS with auth.init()",
    expired_key: "set a later \"expires_at\" in auth.jwks",
    keys: "auth.jwks",
    present_keys: "load that with auth.init()",
    takes_secrets: true,
    audiences: "the extension's owner sees what is accepted with auth.inspect()",
};

/// As above, of an issuer whose keys are followed in a table.
pub const FOLLOWED: Places = Places {
    unknown_key: "the issuer's keys are followed in a table; the view auth.key_status lists them",
    no_keys: "the issuer's keys are followed in a table; the view auth.key_status lists them",
    expired_key: "set a later end in its row of the followed table; the view auth.key_status lists \
                  them",
    keys: "the followed table",
    present_keys: "look into auth.key_status for the table that is followed",
    takes_secrets: false,
    ..LOADED
};

/// As above, of an issuer whose keys are fetched.
pub const FETCHED: Places = Places {
    unknown_key: "the issuer's keys are fetched from a URL; the view auth.key_status says how that \
                  goes",
    no_keys: "the issuer's keys are fetched from a URL; the view auth.key_status says how that goes",
    expired_key: "set \"expires_at\" of its row in auth.jwks to NULL: somebody has ended it by hand",
    present_keys: "fetch that with auth.refresh()",
    takes_secrets: false,
    ..LOADED
};

/// A refused token, of an issuer whose keys come from there.
pub fn report(error: &Error, token: &str, places: &Places) -> Report {
    Report {
        sqlstate: sqlstate(error.kind()),
        message: message(error.kind()).to_owned(),
        detail: Some(sentence(&error.to_string())),
        hint: jwt_verify::advice(token, error, places).map(|advice| sentence(&advice)),
    }
}

/// A token that is longer than any.
pub fn token_too_long(bytes: usize) -> Report {
    report(&Error::TokenTooLong { bytes }, "", &LOADED)
}

/// A token of which nothing can be said, because the key tables could not be read.
pub fn keys_unread() -> Report {
    Report {
        sqlstate: sqlstate(ErrorKind::Key),
        message: message(ErrorKind::Key).to_owned(),
        detail: Some(
            "Tables auth.issuers and auth.jwks could not be read: one is missing, altered or being \
             replaced."
                .to_owned(),
        ),
        hint: None,
    }
}

/// A token refused for want of a key, of an issuer whose keys are followed in a table; `remark` says what is
/// wrong with the table.
pub fn key_not_followed(error: &Error, remark: Option<String>) -> Report {
    let refused = report(error, "", &FOLLOWED);
    let hint = remark.is_some().then(|| {
        "The view auth.key_status has the state of each source; auth.follow() follows a table again."
            .to_owned()
    });
    Report {
        detail: match (refused.detail, remark) {
            (Some(detail), Some(remark)) => Some(format!("{detail} {remark}")),
            (detail, remark) => detail.or(remark),
        },
        hint: hint.or(refused.hint),
        ..refused
    }
}

/// A token refused for want of a key, of an issuer whose keys are fetched; `remark` says what is
/// wrong with them, and `hint` what is being done about it.
pub fn key_not_fetched(error: &Error, remark: Option<&str>, hint: Option<&str>) -> Report {
    let refused = report(error, "", &FETCHED);
    Report {
        // None of the issuer's keys counts then, so the token's is not the one that is missing.
        detail: remark.map(str::to_owned).or(refused.detail),
        hint: hint.map(str::to_owned).or(refused.hint),
        ..refused
    }
}

/// A claim that a `text` or `jsonb` of this database cannot hold.
pub fn not_in_server_encoding() -> Report {
    Report {
        sqlstate: sqlstate(ErrorKind::Malformed),
        message: "malformed token".to_owned(),
        detail: Some(
            "Its claims hold a character that the encoding of this database lacks.".to_owned(),
        ),
        hint: Some("Use a database whose encoding is UTF8.".to_owned()),
    }
}

/// A name or a JWK that no token, whose text is UTF-8, could match.
fn not_utf8() -> Report {
    Report {
        sqlstate: SqlState(b"22P05"),
        message: "text cannot be converted to UTF-8".to_owned(),
        detail: Some(
            "Issuers, keys and audiences are compared to tokens, whose text is UTF-8.".to_owned(),
        ),
        hint: Some("Use a database whose encoding is UTF8.".to_owned()),
    }
}

impl From<NotUtf8> for Report {
    fn from(NotUtf8: NotUtf8) -> Self {
        not_utf8()
    }
}

/// Text of a key with characters that the encoding of the database lacks.
pub fn not_storable() -> Report {
    Report {
        sqlstate: SqlState(b"22P05"),
        message: "text cannot be converted to the encoding of this database".to_owned(),
        detail: None,
        hint: Some("Use a database whose encoding is UTF8.".to_owned()),
    }
}

fn invalid(message: String, detail: Option<String>, hint: Option<&str>) -> Report {
    Report {
        sqlstate: INVALID_PARAMETER_VALUE,
        message,
        detail,
        hint: hint.map(str::to_owned),
    }
}

/// The session token is another one than that which the query around has used. `could_be_caught`:
/// an exception handler inside of that query may be active, and must not turn the error into an
/// answer. `WHEN OTHERS` of PL/pgSQL does not catch `query_canceled`. `refusal` is why the token that
/// is set now is not good.
pub fn token_changed(could_be_caught: bool, refusal: Option<&Report>) -> Report {
    let rule = "A query uses the claims of one token only, from its first row to its last.";
    Report {
        sqlstate: SqlState(if could_be_caught { b"57014" } else { b"28J12" }),
        message: "session token changed while the query was running".to_owned(),
        detail: Some(refusal.map_or_else(
            || rule.to_owned(),
            |refusal| {
                let SqlState(code) = refusal.sqlstate;
                format!(
                    "{rule} The token that is set now is refused: {} ({}).",
                    refusal.message,
                    String::from_utf8_lossy(code)
                )
            },
        )),
        hint: Some(
            "Sign in by a statement of its own, before the query, and close the cursors of the former user."
                .to_owned(),
        ),
    }
}

/// The WARNING where no policies apply to the role that signs in.
pub fn policies_do_not_apply(exemption: &Exemption) -> Report {
    let (detail, hint) = match exemption {
        Exemption::Superuser => (
            "It is a superuser, and sees all rows, whatever the token.".to_owned(),
            "Connect as a role that is no superuser, or use SET ROLE to become one before signing in.".to_owned(),
        ),
        Exemption::Bypasses => (
            "It has BYPASSRLS, and sees all rows, whatever the token.".to_owned(),
            "Connect as a role without BYPASSRLS, or use SET ROLE to become one before signing in.".to_owned(),
        ),
        Exemption::Owns(table) => (
            format!(
                "It owns table {table}, or has the rights of its owner, and sees all rows there, \
                 whatever the token."
            ),
            format!(
                "Connect as a role that owns none of the tables, or use ALTER TABLE {table} FORCE ROW \
                 LEVEL SECURITY."
            ),
        ),
    };
    Report {
        sqlstate: SqlState(b"01J01"),
        message: "row-level security does not apply to the current role".to_owned(),
        detail: Some(detail),
        hint: Some(hint),
    }
}

/// The NOTICE where a token is set for the session because there is no transaction block.
pub fn set_for_session() -> Report {
    Report {
        sqlstate: SqlState(b"01J02"),
        message: "token is set for the session, because there is no transaction block".to_owned(),
        detail: Some(
            "Behind a pooler in transaction mode, the next client of this connection has it, too."
                .to_owned(),
        ),
        hint: Some(
            "Call auth.jwt_session_init between BEGIN and COMMIT, or set pg_auth_jwt.scope to transaction. \
             Without such a pooler, is_local => false says that the session is meant."
                .to_owned(),
        ),
    }
}

/// A claim function without a session token, where `pg_auth_jwt.require_token` is on.
pub fn no_token() -> Report {
    Report {
        sqlstate: SqlState(b"28J11"),
        message: "no session token".to_owned(),
        detail: Some(
            "Setting pg_auth_jwt.require_token is on, and neither this transaction nor this session \
             has a token."
                .to_owned(),
        ),
        hint: Some(
            "Send BEGIN, auth.jwt_session_init() and the query in one transaction, on one connection. A \
             token that is set with SET LOCAL or is_local => true ends with its transaction, and \
             outside of BEGIN with its statement; behind a transaction pooler, the next statement \
             outside of BEGIN may run on another connection."
                .to_owned(),
        ),
    }
}

/// No token, but a setting in which other software hands over the user.
pub fn foreign_setting(name: &str) -> Report {
    Report {
        sqlstate: SqlState(b"28J11"),
        message: "no session token".to_owned(),
        detail: Some(format!(
            "Setting {name} is set, which pg_auth_jwt does not read, and pg_auth_jwt.unverified_claims \
             is error."
        )),
        hint: Some(
            "Pass the user's token to auth.jwt_session_init(), in the same transaction. Or reset that \
             setting for requests without a user."
                .to_owned(),
        ),
    }
}

/// A JWK that is not admitted as a key of `issuer`.
pub fn key(error: &KeyError, issuer: &str) -> Report {
    if error.is_private_key() {
        return private_key();
    }
    let hint = matches!(error, KeyError::SymmetricNotAllowed).then(|| name_hmac(issuer));
    invalid(
        "JWK is not acceptable".to_owned(),
        Some(sentence(&error.to_string())),
        hint.as_deref(),
    )
}

/// What makes an issuer one that may have shared secrets.
fn name_hmac(issuer: &str) -> String {
    let issuer = pgrx::spi::quote_literal(issuer);
    format!(
        "Shared secrets are for issuers that name an HMAC algorithm. List each algorithm that the \
         issuer's tokens use: INSERT INTO auth.issuers (issuer, algorithms) VALUES ({issuer}, \
         '{{HS256}}') ON CONFLICT (issuer) DO UPDATE SET algorithms = excluded.algorithms;"
    )
}

/// A JWK with private members.
pub fn private_key() -> Report {
    invalid(
        "JWK holds a private key".to_owned(),
        Some("Verifying takes the public members only; nothing was stored.".to_owned()),
        Some(
            "Load the public JWKS of the issuer, and treat a private key that was published as leaked.",
        ),
    )
}

/// A JWKS that is none. `text` is what was given, as `jsonb` writes it.
pub fn jwks(error: &JwksError, text: &str) -> Report {
    if error.is_private_key() {
        return private_key();
    }
    const PEM: &str = "Turn the PEM into a JWK first, for example with Node.js: node -e \
                       'console.log(JSON.stringify(require(\"crypto\").createPublicKey(require(\"fs\")\
                       .readFileSync(0)).export({format:\"jwk\"})))' < key.pem";
    let hint = match text.trim_start() {
        text if text.starts_with("\"-----BEGIN") => Some(PEM),
        text if text.starts_with("\"http") => {
            Some("Nothing is fetched here: pass what this URL answers.")
        }
        text if text.starts_with("\"<") => {
            Some("This is a web page: look for the URL of the JWKS, and pass what that answers.")
        }
        text if text.starts_with("\"eyJ") => {
            Some("This is a token: pass the public keys of its issuer.")
        }
        text if text.contains("\"jwks_uri\"") => Some(
            "This is the discovery document: pass what the URL in its member \"jwks_uri\" answers.",
        ),
        _ if matches!(error, JwksError::NotASet) => Some(NO_KEYS),
        _ => None,
    };
    invalid(
        "JWKS is not acceptable".to_owned(),
        Some(sentence(&error.to_string())),
        hint,
    )
}

/// Keys of an issuer whose audience is not checked; a NOTICE.
pub fn audience_not_checked(issuer: &str) -> Report {
    let quoted = pgrx::spi::quote_literal(issuer);
    let issuer = shorten(issuer);
    Report {
        sqlstate: SqlState(b"00000"),
        message: format!("audience of issuer \"{issuer}\" is not checked"),
        detail: Some(
            "Its tokens are accepted whatever their \"aud\" says, also those for other applications."
                .to_owned(),
        ),
        hint: Some(format!(
            "Name the audience: SELECT auth.init(..., issuer => {quoted}, audience => '{{my-app}}');"
        )),
    }
}

/// A JWKS of which no key can be used; `reasons` are (name, reason) of each. `secrets_of` is the
/// issuer, where one of them is a shared secret that it may not have.
pub fn no_usable_key(reasons: &[(String, String)], secrets_of: Option<&str>) -> Report {
    let detail = if reasons.is_empty() {
        "It holds no keys.".to_owned()
    } else {
        reasons_in_lines(reasons)
    };
    let hint = secrets_of
        .map(name_hmac)
        .or_else(|| reasons.is_empty().then(|| NO_KEYS.to_owned()));
    invalid(
        "no usable key in the JWKS".to_owned(),
        Some(detail),
        hint.as_deref(),
    )
}

/// Advice on a set without keys.
pub const NO_KEYS: &str = "An issuer that signs with a shared secret publishes no keys: have it sign with an \
                           asymmetric key (RS256, ES256, EdDSA).";

/// The reasons for which keys were left out, a line for each of the first ones.
pub fn reasons_in_lines(reasons: &[(String, String)]) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = reasons
        .iter()
        .take(SHOWN)
        .map(|(name, reason)| format!("Key {name}: {reason}."))
        .collect();
    let more = reasons.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("And {more} more."));
    }
    lines.join("\n")
}

/// A column of `auth.jwks` that says other than the JWK's member of the same name.
pub fn column_contradicts_jwk(name: &str) -> Report {
    invalid(
        format!("column \"{name}\" contradicts the JWK"),
        Some(format!("The JWK has a member \"{name}\" of another value.")),
        None,
    )
}

/// A second key of the same kid and type.
pub fn second_key_of_kid() -> Report {
    invalid(
        "JWK is not acceptable".to_owned(),
        Some("The issuer has another key of the same kid and type.".to_owned()),
        None,
    )
}

/// An algorithm in `auth.issuers` that we do not know (the table's constraint knows them too).
pub fn unknown_algorithm(unknown: &UnknownAlgorithm) -> Report {
    invalid(unknown.to_string(), None, None)
}

/// A required argument that is NULL.
pub fn argument_is_null(name: &str) -> Report {
    Report {
        sqlstate: SqlState(b"22004"),
        message: format!("{name} must not be null"),
        detail: None,
        hint: None,
    }
}

/// A role that is not there, in Postgres's words.
pub fn no_such_role(name: &str) -> Report {
    Report {
        sqlstate: SqlState(b"42704"),
        message: format!("role \"{name}\" does not exist"),
        detail: None,
        hint: None,
    }
}

/// A relation that is not there, in Postgres's words.
pub fn no_such_relation(oid: u32) -> Report {
    Report {
        sqlstate: SqlState(b"42P01"),
        message: format!("relation with OID {oid} does not exist"),
        detail: None,
        hint: None,
    }
}

/// `auth.explain_access` of what has no policies.
pub fn not_a_table(name: &str) -> Report {
    Report {
        sqlstate: SqlState(b"42809"),
        message: format!("{name} is not a table"),
        detail: Some("Only tables have policies.".to_owned()),
        hint: Some(
            "Ask about the tables that a view reads; auth.lint() lists the views that get around their \
             policies."
                .to_owned(),
        ),
    }
}

/// `auth.explain_access` of another command.
pub fn unknown_command(command: &str) -> Report {
    let command = shorten(command);
    invalid(
        format!("command \"{command}\" is not known"),
        None,
        Some("Available values: SELECT, INSERT, UPDATE, DELETE."),
    )
}

/// A query of the catalogs whose outcome is not what they give.
pub fn catalogs(error: pgrx::spi::SpiError) -> Report {
    Report {
        sqlstate: SqlState(b"55000"),
        message: "could not read the catalogs".to_owned(),
        detail: Some(sentence(&error.to_string())),
        hint: None,
    }
}

/// `auth.init` where the key tables are not, or are not the extension's.
pub fn no_tables() -> Report {
    Report {
        sqlstate: SqlState(b"55000"),
        message: "tables auth.issuers and auth.jwks of pg_auth_jwt were not found".to_owned(),
        detail: Some("One of them was dropped, renamed or taken out of the extension.".to_owned()),
        hint: None,
    }
}

/// A function that writes the key tables, where nothing can be written.
pub fn on_standby(function: &str) -> Report {
    Report {
        sqlstate: SqlState(b"25006"),
        message: format!("cannot execute {function} during recovery"),
        detail: None,
        hint: Some(
            "Run it on the primary. This standby uses the keys once it has replayed the change."
                .to_owned(),
        ),
    }
}

/// A function that writes the key tables, where the client asked for nothing to be written.
pub fn in_read_only_transaction(function: &str) -> Report {
    Report {
        sqlstate: SqlState(b"25006"),
        message: format!("cannot execute {function} in a read-only transaction"),
        detail: None,
        hint: Some("Run it in a transaction that is READ WRITE.".to_owned()),
    }
}

/// Keys given to an issuer whose keys come from elsewhere.
pub fn issuer_is_followed(issuer: &str, is_fetched: bool) -> Report {
    let quoted = pgrx::spi::quote_literal(issuer);
    let (how, others) = if is_fetched {
        ("fetched from a URL", "the fetched ones")
    } else {
        ("followed in a table", "the table's")
    };
    Report {
        sqlstate: SqlState(b"55000"),
        message: format!("keys of issuer \"{}\" are {how}", shorten(issuer)),
        detail: Some("An issuer's keys come from one source only.".to_owned()),
        hint: Some(format!(
            "To load keys in place of {others}, run auth.unfollow({quoted}) first."
        )),
    }
}

/// A key that is written by hand for an issuer that there is not.
pub fn no_row_of_issuer(issuer: &str) -> Report {
    let quoted = pgrx::spi::quote_literal(issuer);
    Report {
        sqlstate: SqlState(b"23503"),
        message: format!("auth.issuers has no issuer \"{}\"", shorten(issuer)),
        detail: Some("A key counts for the issuer of its row alone.".to_owned()),
        hint: Some(format!(
            "Run INSERT INTO auth.issuers (issuer, audience) VALUES ({quoted}, '{{...}}') first, with \
             the aud of its tokens."
        )),
    }
}

/// Another transaction has stored a key that this one's snapshot does not show; in Postgres's words.
pub fn not_serializable() -> Report {
    Report {
        sqlstate: SqlState(b"40001"),
        message: "could not serialize access due to concurrent update".to_owned(),
        detail: None,
        hint: None,
    }
}

/// A key that is noted as withdrawn for an issuer that there is not.
pub fn withdrawn_of_no_issuer(issuer: &str) -> Report {
    Report {
        sqlstate: SqlState(b"01000"),
        message: format!("auth.issuers has no issuer \"{}\"", shorten(issuer)),
        detail: Some("The key stays withdrawn for an issuer of that name alone.".to_owned()),
        hint: None,
    }
}

/// `auth.refresh` of an issuer whose keys are not fetched.
pub fn issuer_not_fetched(issuer: &str) -> Report {
    Report {
        sqlstate: SqlState(b"55000"),
        message: format!(
            "keys of issuer \"{}\" are not fetched from a URL",
            shorten(issuer)
        ),
        detail: None,
        hint: Some("auth.follow_url() has the keys of an issuer fetched.".to_owned()),
    }
}

/// `auth.follow_url` for any issuer, without the URL of the keys.
pub fn no_discovery_of_any() -> Report {
    invalid(
        "issuer \"*\" has no discovery document".to_owned(),
        Some("A discovery document names its issuer, and must be of that one.".to_owned()),
        Some("Pass the URL of the keys: url => 'https://...'."),
    )
}

/// A URL that `auth.follow_url` refuses; `is_of_issuer`: it was made of the issuer's name.
pub fn url_not_acceptable(reason: &str, is_of_issuer: bool) -> Report {
    let hint = is_of_issuer.then_some(
        "Without an argument url, the issuer itself must be a URL, below which its OpenID discovery \
         document is. Pass the URL of the keys: url => 'https://...'.",
    );
    invalid(
        "URL is not acceptable".to_owned(),
        Some(sentence(reason)),
        hint,
    )
}

/// A URL that the present settings do not allow to be fetched; a WARNING. `entry` is what the setting has to
/// list, and `hosts` its value, where the caller may know it.
///
/// The HINT's statement keeps what is listed: it names all of that, or has psql add to it.
pub fn host_not_admitted(reason: &str, hosts: Option<&str>, entry: &str) -> Report {
    let how = match hosts.map(str::trim) {
        Some(hosts) => {
            let all = format!("{hosts} {entry}");
            let all = pgrx::spi::quote_literal(all.trim());
            format!(
                "A superuser allows the host: LOAD 'pg_auth_jwt'; ALTER SYSTEM SET pg_auth_jwt.fetch_hosts = {all}; \
                 SELECT pg_reload_conf();"
            )
        }
        None => {
            let entry = pgrx::spi::quote_literal(entry);
            format!(
                "A superuser adds the host, in psql: LOAD 'pg_auth_jwt'; SELECT unnest(ARRAY[format('ALTER SYSTEM SET \
                 pg_auth_jwt.fetch_hosts = %L', concat_ws(' ', nullif(current_setting('pg_auth_jwt.fetch_hosts'), ''), \
                 {entry})), 'SELECT pg_reload_conf()']) \\gexec"
            )
        }
    };
    let caution = if entry.starts_with("http://") {
        "Without TLS, whoever is between this server and that host can give it keys of their own. "
    } else {
        ""
    };
    Report {
        sqlstate: SqlState(b"01000"),
        message: "keys cannot be fetched from this URL yet".to_owned(),
        detail: Some(sentence(reason)),
        hint: Some(format!("{caution}{how}")),
    }
}

/// Keys of an issuer whose audience is not checked, and that are fetched; a NOTICE.
pub fn audience_of_url_not_checked(issuer: &str) -> Report {
    let quoted = pgrx::spi::quote_literal(issuer);
    Report {
        hint: Some(format!(
            "Name the audience: SELECT auth.follow_url({quoted}, audience => '{{my-app}}');"
        )),
        ..audience_not_checked(issuer)
    }
}

/// `auth.follow` for an issuer of which no audience is checked.
pub fn audience_required() -> Report {
    invalid(
        "an audience is required to follow a table".to_owned(),
        Some(
            "Issuers sign tokens for other applications with the same keys; only the audience tells \
             them apart."
                .to_owned(),
        ),
        Some("Pass what the tokens for this application have in \"aud\", as in audience => '{https://app.example.com}'."),
    )
}

/// An argument `columns` of `auth.follow` that is not an object of known members.
pub fn columns_not_acceptable(member: Option<&str>, known: &str) -> Report {
    let detail = match member {
        Some(member) => format!(
            "Member \"{}\" is unknown, or neither a column's name nor null.",
            shorten(member)
        ),
        None => "It is not a JSON object.".to_owned(),
    };
    let hint = format!("Its members may be {known}.");
    invalid(
        "argument columns is not acceptable".to_owned(),
        Some(detail),
        Some(&hint),
    )
}

/// A negative interval.
pub fn negative_interval(name: &str) -> Report {
    invalid(format!("{name} must not be negative"), None, None)
}

/// Rows of `auth.jwks` that an issuer no longer needs, whose keys are followed; a NOTICE.
pub fn keys_removed(count: usize) -> Report {
    notice(
        format!("removed {count} keys of the issuer from auth.jwks"),
        "An issuer's keys come from one source only.",
        None,
    )
}

/// Further rows of `auth.jwks` that held a key which was deleted by hand; a NOTICE.
pub fn other_names_deleted(count: usize, issuer: &str) -> Report {
    notice(
        "key was withdrawn under its other names too".to_owned(),
        &format!(
            "Further rows of issuer \"{}\" that were deleted from auth.jwks: {count}.",
            shorten(issuer)
        ),
        None,
    )
}

/// A followed table in which no column with the keys' expiry was found, by none of the usual names; a NOTICE.
pub fn keys_do_not_expire(table: &str) -> Report {
    notice(
        format!("keys in table {table} do not expire"),
        "It has no column \"expiresAt\" or \"expires_at\", and none is named.",
        Some(
            "If another column says until when a key is used, name it: columns => '{\"expires_at\": \
             \"...\"}'. With null for its name there is none, and nothing is said."
                .to_owned(),
        ),
    )
}

/// A followed table without triggers of ours; a NOTICE. `grant` is what the extension's owner has to run
/// before the table's owner can run `statements`.
pub fn changes_not_announced(table: &str, grant: Option<&str>, statements: &str) -> Report {
    let first = grant.map_or_else(String::new, |grant| {
        format!("run, as the owner of the extension: {grant} then ")
    });
    notice(
        "changes of the table are not announced".to_owned(),
        &format!(
            "The current role does not own table {table}, or may not use auth.keys_changed(). Sessions look \
             at the table once a second, and at once for an unknown key."
        ),
        Some(format!(
            "To have changes announced, {first}let the table's owner run: {statements};"
        )),
    )
}

/// Triggers on a table that is no longer followed; a NOTICE.
pub fn triggers_left(table: &str) -> Report {
    notice(
        format!("triggers of pg_auth_jwt are left on table {table}"),
        "The current role does not own the table, or another session uses it now. The triggers do no harm.",
        None,
    )
}

fn notice(message: String, detail: &str, hint: Option<String>) -> Report {
    Report {
        sqlstate: SqlState(b"00000"),
        message,
        detail: Some(detail.to_owned()),
        hint,
    }
}

/// Roles besides its owner that can write to a followed table; a WARNING.
pub fn other_writers(table: &str, roles: &str) -> Report {
    Report {
        sqlstate: SqlState(b"01000"),
        message: format!("other roles can write to table {table}"),
        detail: Some(format!(
            "These roles have rights on it beyond SELECT: {roles}."
        )),
        hint: Some(
            "Who can write there can be any user of the issuer. Revoke what is not needed."
                .to_owned(),
        ),
    }
}

/// Rows of a followed table that are no keys; a WARNING. `reasons` are (name, reason) of each.
pub fn odd_rows(table: &str, reasons: &[(String, String)]) -> Report {
    Report {
        sqlstate: SqlState(b"01000"),
        message: format!("some rows of table {table} are no usable keys"),
        detail: Some(reasons_in_lines(reasons)),
        hint: None,
    }
}

/// A followed table with more rows than are looked through for a count; a WARNING.
pub fn not_all_rows(table: &str, limit: usize) -> Report {
    Report {
        sqlstate: SqlState(b"01000"),
        message: format!("table {table} has more than {limit} rows"),
        detail: Some(
            "The others count as keys, but were not looked at and are not counted.".to_owned(),
        ),
        hint: None,
    }
}

/// A table that `auth.follow` refuses.
pub fn table_not_followed(
    sqlstate: SqlState,
    name: &str,
    detail: String,
    hint: Option<&str>,
) -> Report {
    Report {
        sqlstate,
        message: format!("cannot follow \"{}\"", shorten(name)),
        detail: Some(detail),
        hint: hint.map(str::to_owned),
    }
}

/// A table whose columns are not those that the extension gave it.
pub fn table_was_altered() -> Report {
    Report {
        sqlstate: SqlState(b"55000"),
        message: "columns of the table are not those of auth.jwks".to_owned(),
        detail: Some("A column is missing, or of another type.".to_owned()),
        hint: None,
    }
}

/// Triggers of the key tables that do not announce every change; a WARNING.
pub fn triggers_altered(faults: &str, repair: &str) -> Report {
    Report {
        sqlstate: SqlState(b"01000"),
        message: "changes to the keys of pg_auth_jwt may go unnoticed".to_owned(),
        detail: Some(format!(
            "{faults} Until this is repaired, this session reads its keys again in every statement."
        )),
        hint: Some(format!("Run: {repair}")),
    }
}

/// The first use of the library in a place where Postgres would forget its settings.
pub fn loaded_too_late() -> Report {
    Report {
        sqlstate: SqlState(b"55000"),
        message: "cannot load pg_auth_jwt during a parallel operation".to_owned(),
        detail: Some("The settings pg_auth_jwt.* of this session would be lost.".to_owned()),
        hint: Some(
            "Load it from the connection's start, with session_preload_libraries = 'pg_auth_jwt'."
                .to_owned(),
        ),
    }
}

/// A connection option that the client may not set; in Postgres's words.
pub fn setting_denied(name: &str) -> Report {
    Report {
        sqlstate: INSUFFICIENT_PRIVILEGE,
        message: format!("permission denied to set parameter \"{name}\""),
        detail: None,
        hint: None,
    }
}

/// A setting whose value cannot be read; `place` says where it comes from and `remedy` how to correct it.
pub fn setting_unreadable(
    name: &str,
    value: &str,
    available: &str,
    place: &str,
    remedy: &str,
) -> Report {
    let value = shorten(value);
    Report {
        sqlstate: INVALID_PARAMETER_VALUE,
        message: format!("invalid value for parameter \"{name}\": \"{value}\""),
        detail: Some(format!(
            "The value \"{value}\" of {name} {place}. {available}"
        )),
        hint: Some(remedy.to_owned()),
    }
}

/// A name with our prefix that is not one of our settings. Its value is not shown: it may be a
/// token.
pub fn setting_unknown(name: &str, place: &str, remedy: &str) -> Report {
    let name = shorten(name);
    Report {
        sqlstate: SqlState(b"42602"),
        message: format!("invalid configuration parameter name \"{name}\""),
        detail: Some(format!(
            "The setting {name} {place}, and pg_auth_jwt has no setting of this name."
        )),
        hint: Some(remedy.to_owned()),
    }
}

/// A query of ours with a result that the extension's own tables cannot give. Postgres's own errors
/// are raised as they are.
pub fn spi(error: pgrx::spi::SpiError) -> Report {
    Report {
        sqlstate: SqlState(b"55000"),
        message: "could not read the key tables".to_owned(),
        detail: Some(sentence(&error.to_string())),
        hint: Some(
            "auth.issuers and auth.jwks must be as the extension created them, without rules."
                .to_owned(),
        ),
    }
}

/// A line of the verifier as a DETAIL: a sentence.
pub fn sentence(line: &str) -> String {
    let mut chars = line.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => String::new(),
    }
}

/// A string from outside, short enough for a line.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 100;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain("...".chars()).collect()
}
