//! Table of the settings, with the texts for Postgres and the user.

use std::ffi::{CStr, CString, c_int};
use std::sync::atomic::{AtomicI32, Ordering};

use pgrx::guc::{GucFlags, GucSetting};
use pgrx::pg_sys;
use pgrx::pg_sys::GucContext::{PGC_POSTMASTER, PGC_SIGHUP, PGC_SUSET, PGC_USERSET};

/// A setting, with the meaning of its present text.
pub struct Setting {
    pub name: &'static CStr,
    pub kind: ValueKind,
    /// Roles that may set it, as Postgres names them.
    pub context: pg_sys::GucContext::Type,
    pub flags: GucFlags,
    /// One sentence about it, for `pg_settings`.
    pub short: &'static CStr,
    /// More, for `pg_settings`.
    pub long: &'static CStr,
    /// Its text.
    pub text: GucSetting<Option<CString>>,
    /// The meaning of a text that is parsed, or [`UNREADABLE`].
    value: AtomicI32,
}

/// The texts that a setting takes.
pub enum ValueKind {
    /// The session's token: any text; nobody sees it again.
    Token,
    /// One of these names, in any case; its value is the index in the list.
    Choice {
        names: &'static [&'static CStr],
        /// The HINT of a refusal.
        available: &'static CStr,
        /// A value that takes a superuser.
        of_superuser: Option<OfSuperuser>,
    },
    /// Any text that Postgres accepts for a `boolean` setting.
    Boolean,
    /// Any text that Postgres accepts for an `integer` setting, in this range.
    Integer {
        least: c_int,
        most: c_int,
        /// `GUC_UNIT_MS` for a time in milliseconds, `GUC_UNIT_KB` for a size in kibibytes, else 0.
        unit: c_int,
        /// The HINT of a refusal.
        available: &'static CStr,
    },
    /// A list of hosts.
    Hosts,
    /// Any text: a path, a name.
    Text,
}

/// A value that takes a superuser, and what all others are told.
pub struct OfSuperuser {
    pub value: c_int,
    pub message: &'static CStr,
    pub hint: &'static CStr,
}

/// The value of a text that cannot be read.
const UNREADABLE: c_int = c_int::MIN;

impl Setting {
    const fn new(
        name: &'static CStr,
        kind: ValueKind,
        default: &'static CStr,
        context: pg_sys::GucContext::Type,
        flags: GucFlags,
        short: &'static CStr,
        long: &'static CStr,
    ) -> Self {
        Self {
            name,
            kind,
            context,
            flags,
            short,
            long,
            text: GucSetting::<Option<CString>>::new(Some(default)),
            value: AtomicI32::new(UNREADABLE),
        }
    }

    /// The meaning of its text: the number, 0 or 1, or the index in the list of names; `None` if the text
    /// cannot be read.
    #[inline]
    pub fn value(&self) -> Option<c_int> {
        match self.value.load(Ordering::Relaxed) {
            UNREADABLE => None,
            value => Some(value),
        }
    }

    /// Notes the meaning of its text.
    pub fn set_value(&self, value: Option<c_int>) {
        self.value
            .store(value.unwrap_or(UNREADABLE), Ordering::Relaxed);
    }

    /// The values that it takes, as a HINT.
    pub fn available(&self) -> &'static CStr {
        match self.kind {
            ValueKind::Choice { available, .. } | ValueKind::Integer { available, .. } => available,
            ValueKind::Boolean => c"Available values: on, off.",
            ValueKind::Token | ValueKind::Hosts | ValueKind::Text => c"",
        }
    }
}

/// Visits each setting with its index in [`ALL`] as a constant: Postgres does not tell a hook its
/// setting, so each setting has hooks of its own.
pub trait Visit {
    fn visit<const I: usize>(&self);
}

/// Makes a static of each row, and the list of all. A row with a condition in brackets is only there if that is set for
/// the build: to define a setting takes a part of a new connection's time.
macro_rules! settings {
    ($($(#[$about:meta])* $id:ident $([$condition:ident])? = ($($part:expr),+ $(,)?);)+) => {
        $(
            $(#[$about])*
            $(#[cfg($condition)])?
            pub static $id: Setting = Setting::new($($part),+);
        )+

        /// All settings.
        pub static ALL: [&Setting; [$($(#[cfg($condition)])? stringify!($id)),+].len()] =
            [$($(#[cfg($condition)])? &$id),+];

        /// Visits each setting.
        pub fn visit_each(visitor: &impl Visit) {
            #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "names of statics")]
            enum Index {
                $($(#[cfg($condition)])? $id),+
            }
            $($(#[cfg($condition)])? visitor.visit::<{ Index::$id as usize }>();)+
        }
    };
}

const NONE: GucFlags = GucFlags::empty();

settings! {
    /// The session's token: the only place in which an identity lives. Everything that Postgres does to a
    /// setting (SET LOCAL, rollback, DISCARD ALL, a parallel worker's copy) it also does to the
    /// identity.
    ///
    /// `SUPERUSER_ONLY` would make `set_config()` fail, which returns what SHOW shows; the show hook hides the
    /// token from superusers too. `NO_SHOW_ALL` keeps it out of `pg_settings`, whose `reset_val` knows no
    /// show hook.
    TOKEN = (
        c"pg_auth_jwt.token",
        ValueKind::Token,
        c"",
        PGC_USERSET,
        GucFlags::NO_SHOW_ALL.union(GucFlags::DISALLOW_IN_FILE),
        c"The JSON Web Token of this session's user.",
        c"Verified at first use; auth.jwt_session_init() also verifies it at once.",
    );

    /// Lifetime of a token set by `auth.jwt_session_init`, if the call does not say it; see
    /// [`Scope`](crate::settings::Scope). `session` takes a superuser: it would make the next user
    /// of a shared connection inherit an identity that they did not ask for.
    SCOPE = (
        c"pg_auth_jwt.scope",
        ValueKind::Choice {
            names: &[c"session", c"auto", c"transaction"],
            available: c"Available values: auto, transaction, session.",
            of_superuser: Some(OfSuperuser {
                value: 0,
                message: c"permission denied to set parameter \"pg_auth_jwt.scope\" to \"session\"",
                hint: c"A single token is set for the session with is_local => false.",
            }),
        },
        c"auto",
        PGC_USERSET,
        NONE,
        c"How long a token set by auth.jwt_session_init() lasts where is_local is NULL.",
        c"auto: in a transaction block until its end, else for the session. \
          transaction: until the end of the transaction, also where is_local is false. \
          session: for the session.",
    );

    /// Verified tokens kept per backend; 256 by default: a pooled backend serves about as many users
    /// between two visits of the same one, at 2 to 4 KiB each.
    CACHE_SIZE = (
        c"pg_auth_jwt.cache_size",
        ValueKind::Integer {
            least: 0,
            most: 1_000_000,
            unit: 0,
            available: c"Available values: 0 to 1000000.",
        },
        c"256",
        PGC_SUSET,
        NONE,
        c"Number of verified tokens that each backend keeps.",
        c"From 0, which turns the cache off, to 1000000.",
    );

    /// Memory for the signatures that any session of the server has found good, in kibibytes; 1 MB by default: some
    /// 65,000 signatures, 16 bytes each. Its size is fixed as long as the server runs, if the server loads the
    /// library.
    SIGNATURE_CACHE = (
        c"pg_auth_jwt.signature_cache",
        ValueKind::Integer {
            least: 0,
            most: 1024 * 1024,
            unit: pg_sys::GUC_UNIT_KB as c_int,
            available: c"Available values: 0 to 1048576 kB.",
        },
        c"1MB",
        PGC_POSTMASTER,
        NONE,
        c"Shared memory for signatures that a session of this server has found good.",
        c"From 0, which turns it off, to 1 GB.",
    );

    /// Verifications that are logged; none by default.
    AUDIT_LOG = (
        c"pg_auth_jwt.audit_log",
        ValueKind::Choice {
            names: &[c"off", c"failures", c"all"],
            available: c"Available values: off, failures, all.",
            of_superuser: None,
        },
        c"off",
        PGC_SUSET,
        NONE,
        c"Which verifications are written to the server log.",
        c"off, failures or all.",
    );

    /// Whether the planner evaluates claim functions once per execution; on by default. If off, they
    /// are called wherever the query has them, which helps to rule out a problem with the plan.
    EVALUATE_ONCE = (
        c"pg_auth_jwt.evaluate_once",
        ValueKind::Boolean,
        c"on",
        PGC_USERSET,
        GucFlags::EXPLAIN,
        c"Has the planner evaluate auth.user_id() and the like once per execution.",
        c"Off, they are evaluated for each row.",
    );

    /// Whether a claim function without a token raises an error; off by default. Useful for roles that
    /// never work anonymously: there a missing token means that the application forgot it.
    REQUIRE_TOKEN = (
        c"pg_auth_jwt.require_token",
        ValueKind::Boolean,
        c"off",
        PGC_USERSET,
        NONE,
        c"Has auth.user_id() and the like raise an error where there is no token.",
        c"Off, they return NULL, so that policies match no row.",
    );

    /// Whether a claim function without a token raises an error if a setting has a value in which
    /// other software keeps the user; ignored by default. See
    /// [`unverified`](crate::settings::unverified).
    UNVERIFIED_CLAIMS = (
        c"pg_auth_jwt.unverified_claims",
        ValueKind::Choice {
            names: &[c"ignore", c"error"],
            available: c"Available values: ignore, error.",
            of_superuser: None,
        },
        c"ignore",
        PGC_USERSET,
        NONE,
        c"Has auth.user_id() and the like raise an error where another extension's setting has the user.",
        c"error: where there is no token, and pg_session_jwt.jwt, pg_session_jwt.jwk, request.jwt.claims \
          or request.jwt.claim.sub is set. ignore: these settings have no effect.",
    );

    /// The hosts from which keys may be fetched; none by default, because fetching makes the server
    /// call hosts that the extension's owner names, who is no superuser. Roles that may only sign
    /// in do not see the names of a network's hosts.
    FETCH_HOSTS = (
        c"pg_auth_jwt.fetch_hosts",
        ValueKind::Hosts,
        c"",
        PGC_SIGHUP,
        GucFlags::SUPERUSER_ONLY,
        c"Hosts from which auth.follow_url() may have keys fetched.",
        c"Entries are host[:port], *.domain, * or http://host[:port]. Empty: nothing is fetched.",
    );

    /// The file with the certificates of the authorities that vouch for these hosts; empty by
    /// default: those of the operating system.
    FETCH_CA_FILE = (
        c"pg_auth_jwt.fetch_ca_file",
        ValueKind::Text,
        c"",
        PGC_SIGHUP,
        GucFlags::SUPERUSER_ONLY,
        c"PEM file with the certificate authorities of the hosts of pg_auth_jwt.fetch_hosts.",
        c"Empty: the operating system's, or else those that come with pg_auth_jwt.",
    );

    /// Time that `auth.jwt_session_init` waits for a fetch that it has started, in milliseconds; 1
    /// s by default: most endpoints answer within that, and a login takes no longer.
    FETCH_WAIT = (
        c"pg_auth_jwt.fetch_wait",
        ValueKind::Integer {
            least: 0,
            most: 60_000,
            unit: pg_sys::GUC_UNIT_MS as c_int,
            available: c"Available values: 0 to 60000 milliseconds.",
        },
        c"1000",
        PGC_USERSET,
        NONE,
        c"How long auth.jwt_session_init() waits for keys that it has fetched.",
        c"In milliseconds, from 0, which turns the wait off, to 60000.",
    );

    /// The database in which tokens are verified at login; none by default, so that no token opens a connection. Not the
    /// one that the client asks for: its owner could add keys there.
    LOGIN_DATABASE [login_by_token] = (
        c"pg_auth_jwt.login_database",
        ValueKind::Text,
        c"",
        PGC_SIGHUP,
        NONE,
        c"Database in which tokens are verified at login.",
        c"The extension there must be owned by a superuser. Empty: no token opens a connection.",
    );

    /// The claim with the user's name, by which `pg_ident.conf` finds roles.
    LOGIN_CLAIM [login_by_token] = (
        c"pg_auth_jwt.login_claim",
        ValueKind::Text,
        c"sub",
        PGC_SIGHUP,
        NONE,
        c"Claim that names the user at login.",
        c"A name, or a path as an array literal: {realm_access,name}.",
    );

    /// Whether a token opens roles to which no policy applies; off by default: a leaked key of an issuer must not give
    /// more than its tokens do.
    LOGIN_SUPERUSER [login_by_token] = (
        c"pg_auth_jwt.login_superuser",
        ValueKind::Boolean,
        c"off",
        PGC_SIGHUP,
        NONE,
        c"Lets tokens open roles with SUPERUSER, REPLICATION or BYPASSRLS.",
        c"Also for roles that are members of such a role.",
    );

    /// Whether the token of the login is the session's; on by default. Takes a superuser, because in a connection that
    /// many users share, it is the identity of none of them.
    LOGIN_SESSION [login_by_token] = (
        c"pg_auth_jwt.login_session",
        ValueKind::Boolean,
        c"on",
        PGC_SUSET,
        NONE,
        c"Makes the token of the login the session's.",
        c"Off, the session begins without a token. For pools that log in by a token of their own.",
    );

    /// Logins that are verified at once; 2 by default: each takes one of `max_worker_processes`, of which there are 8, for
    /// some milliseconds.
    LOGIN_WORKERS [login_by_token] = (
        c"pg_auth_jwt.login_workers",
        ValueKind::Integer {
            least: 1,
            most: 64,
            unit: 0,
            available: c"Available values: 1 to 64.",
        },
        c"2",
        PGC_SIGHUP,
        NONE,
        c"Number of logins by token that are verified at once.",
        c"From 1 to 64. Others wait for their turn.",
    );
}
