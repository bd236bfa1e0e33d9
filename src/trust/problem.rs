//! Problems with an issuer's keys, as codes: the column `problem` of `auth.key_status`.
//!
//! `auth.lint` and monitoring go by the code, people by the sentence beside it. A code never changes
//! its meaning; docs/problems.md has each, with its remedy.

use jwt_verify::KeyError;

macro_rules! problems {
    (
        source { $($(#[$source_doc:meta])* $source:ident = $source_code:literal,)* }
        key { $($(#[$key_doc:meta])* $key:ident = $key_code:literal,)* }
    ) => {
        /// A kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Problem {
            $($(#[$source_doc])* $source,)*
            $($(#[$key_doc])* $key,)*
        }

        impl Problem {
            /// As `auth.key_status` shows it.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$source => $source_code,)*
                    $(Self::$key => $key_code,)*
                }
            }

            /// The codes of problems that concern all keys of a source.
            #[cfg(test)]
            const OF_SOURCES: &'static [&'static str] = &[$($source_code,)*];

            /// The codes of problems of single rows.
            #[cfg(test)]
            const OF_KEYS: &'static [&'static str] = &[$($key_code,)*];
        }
    };
}

problems! {
    source {
        /// `pg_auth_jwt.fetch_hosts` is empty.
        HostsEmpty = "hosts_empty",
        /// It does not list the host.
        HostNotListed = "host_not_listed",
        /// It does not list the host, and has an entry that cannot be read.
        HostsUnreadable = "hosts_unreadable",
        /// It lists the host by a pattern, and the host is an internal address.
        HostNotExact = "host_not_exact",
        /// The URL cannot be fetched, whatever is listed.
        UrlRefused = "url_refused",
        /// The library `pg_auth_jwt_fetch` is not there.
        LibraryMissing = "library_missing",
        /// The launcher has not begun a fetch that is due.
        Overdue = "overdue",
        /// A fetch is due, and begins with the next token, because there is no launcher.
        AwaitingTraffic = "awaiting_traffic",
        /// The last fetches failed.
        Failing = "failing",
        /// The keys were last fetched longer ago than `max_stale`.
        Stale = "stale",
        /// The time of the last fetch lies in the future.
        ClockAhead = "clock_ahead",
        /// The keys were not fetched yet.
        NeverFetched = "never_fetched",
        /// Some keys of the last answer were not stored, or the answer was an older one.
        AnswerIncomplete = "answer_incomplete",
        /// No trigger announces changes of a followed table.
        ChangesNotAnnounced = "changes_not_announced",
        /// Another session has locked the followed table.
        TableLocked = "table_locked",
        /// The column `source` holds something that `auth.follow` does not write.
        SourceUnreadable = "source_unreadable",
        TableMissing = "table_missing",
        NotATable = "not_a_table",
        OwnTable = "own_table",
        NotPermanent = "not_permanent",
        HasChildren = "has_children",
        HasParent = "has_parent",
        ColumnMissing = "column_missing",
        ColumnAmbiguous = "column_ambiguous",
        ColumnType = "column_type",
        ColumnGenerated = "column_generated",
        OtherOwner = "other_owner",
        PublicMayWrite = "public_may_write",
        RowSecurity = "row_security",
        SchemaNotUsable = "schema_not_usable",
        TableNotReadable = "table_not_readable",
        /// A trigger of the extension's tables does not fire.
        TriggersAltered = "triggers_altered",
    }
    key {
        /// A row without a JWK.
        KeyNull = "key_null",
        KeyTooLong = "key_too_long",
        /// A key id or an algorithm that is too long.
        KeyNameTooLong = "key_name_too_long",
        /// Text that cannot be converted to UTF-8.
        KeyNotUtf8 = "key_not_utf8",
        /// Not a JSON object of the form of a JWK.
        KeyNotJson = "key_not_json",
        KeyPrivate = "key_private",
        KeyMemberMissing = "key_member_missing",
        /// A member of the wrong type, encoding or length.
        KeyMemberMalformed = "key_member_malformed",
        /// `use` or `key_ops` say that it is for something else.
        KeyNotForSignatures = "key_not_for_signatures",
        /// A type or curve that is not supported, or not by this build.
        KeyTypeUnsupported = "key_type_unsupported",
        /// A number or a point that no safe key has.
        KeyUnsafe = "key_unsafe",
        KeyAlgorithmUnknown = "key_algorithm_unknown",
        KeyAlgorithmMismatch = "key_algorithm_mismatch",
        /// A shared secret, of an issuer that may have none.
        KeySecretNotAllowed = "key_secret_not_allowed",
        /// Another key has the same name.
        KeyRepeated = "key_repeated",
        /// More rows than are listed.
        TooManyRows = "too_many_rows",
    }
}

impl From<&KeyError> for Problem {
    fn from(error: &KeyError) -> Self {
        match error {
            KeyError::TooLong { .. } => Self::KeyTooLong,
            KeyError::Json(_) => Self::KeyNotJson,
            KeyError::PrivateMember { .. } => Self::KeyPrivate,
            KeyError::MissingMember { .. } => Self::KeyMemberMissing,
            KeyError::MemberType { .. }
            | KeyError::NotBase64url { .. }
            | KeyError::RepeatedOperation
            | KeyError::Length { .. } => Self::KeyMemberMalformed,
            KeyError::Use(_) | KeyError::NotForVerifying => Self::KeyNotForSignatures,
            KeyError::UnsupportedType(_)
            | KeyError::UnsupportedCurve(_)
            | KeyError::NotInThisBuild { .. } => Self::KeyTypeUnsupported,
            KeyError::NotOnCurve { .. }
            | KeyError::NotCanonical
            | KeyError::SmallOrder
            | KeyError::ZeroKey
            | KeyError::ModulusTooShort { .. }
            | KeyError::ModulusTooLong { .. }
            | KeyError::ModulusEven
            | KeyError::Exponent
            | KeyError::SecretTooShort { .. }
            | KeyError::Published { .. } => Self::KeyUnsafe,
            KeyError::UnknownAlgorithm(_) => Self::KeyAlgorithmUnknown,
            KeyError::AlgorithmMismatch { .. } => Self::KeyAlgorithmMismatch,
            KeyError::SymmetricNotAllowed => Self::KeySecretNotAllowed,
            KeyError::DuplicateKeyId | KeyError::OtherIssuer => Self::KeyRepeated,
        }
    }
}

/// A problem, for people.
#[derive(Clone, Debug)]
pub struct Finding {
    pub problem: Problem,
    /// A sentence.
    pub detail: String,
    /// The statement that corrects it, if there is one.
    pub fix: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::Problem;

    /// The codes in the first column of the table under a heading.
    fn documented(heading: &str) -> Vec<&'static str> {
        let page = include_str!("../../docs/problems.md");
        let lines = page.lines().skip_while(|line| *line != heading).skip(1);
        let section = lines.take_while(|line| !line.starts_with('#'));
        section
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
            .map(|(code, _)| code)
            .filter(|code| *code != "problem")
            .collect()
    }

    #[test]
    fn each_code_is_documented_and_no_other() {
        assert_eq!(documented("## Problems of a source"), Problem::OF_SOURCES);
        assert_eq!(documented("## Problems of a key"), Problem::OF_KEYS);
    }

    #[test]
    fn lint_names_each_problem_of_a_source_and_no_other() {
        let lint = include_str!("../../sql/lint.sql");
        let (_, list) = lint
            .split_once("source_problems (problem,")
            .expect("the list");
        let (list, _) = list.split_once("\n),").expect("its end");
        let rows = list.lines().filter_map(|line| line.split_once("('"));
        let codes: Vec<_> = rows.filter_map(|(_, row)| row.split('\'').next()).collect();
        assert_eq!(codes, Problem::OF_SOURCES);
    }
}
