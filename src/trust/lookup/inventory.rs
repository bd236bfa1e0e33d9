//! Inventory of the tables by issuer, for lists such as `auth.key_status`.

use jwt_verify::{AlgorithmSet, UnixTime, Wanted};

use crate::trust::lookup::seen::Seen;
use crate::trust::lookup::{MAX_LISTED, Sight, in_a_context, stored_keys, with_source};
use crate::trust::problem::Problem;
use crate::trust::tables::Tables;
use crate::trust::tables::stored::{OddRow, StoredKey};

/// All data of one issuer.
pub struct Inventory {
    /// State of the table, for keys that are followed in one.
    pub sight: Option<Sight>,
    /// State of fetching, for keys that are fetched.
    pub endpoint: Option<Seen>,
    pub keys: Vec<ListedKey>,
    /// False if there are more than [`MAX_LISTED`].
    pub is_complete: bool,
}

/// A row of an inventory.
pub struct ListedKey {
    pub kid: Option<String>,
    pub valid_until: Option<UnixTime>,
    pub created_at: Option<UnixTime>,
    /// The algorithms that the key takes, or why it is none.
    pub takes: Result<AlgorithmSet, Unusable>,
}

/// Why a row is no key.
pub struct Unusable {
    pub problem: Problem,
    /// A part of a sentence.
    pub reason: String,
}

impl ListedKey {
    fn new(kid: Option<&str>, key: Result<StoredKey, OddRow>, algorithms: AlgorithmSet) -> Self {
        let kid = kid.map(str::to_owned);
        match key {
            Ok(key) => Self {
                kid,
                valid_until: key.valid_until,
                created_at: key.created_at,
                takes: match key.admit(algorithms) {
                    Ok(admitted) => Ok(admitted.algorithms()),
                    Err(error) => Err(Unusable {
                        problem: Problem::from(&error),
                        reason: error.to_string(),
                    }),
                },
            },
            Err(row) => Self {
                kid,
                valid_until: None,
                created_at: None,
                takes: Err(Unusable {
                    problem: row.problem(),
                    reason: row.reason(),
                }),
            },
        }
    }
}

/// All data of the issuer of exactly this name; `None` if there is none.
pub fn inventory(tables: &Tables, name: &str) -> Option<Inventory> {
    let wanted = Wanted {
        issuer: Some(name),
        key_id: None,
    };
    in_a_context(|| {
        with_source(tables, wanted, |look, issuer, source| {
            let issuer = issuer.filter(|issuer| issuer.name == name)?;
            let mut keys = Vec::new();
            let limit = MAX_LISTED.saturating_add(1);
            stored_keys(look, issuer, source, None, limit, |kid, key| {
                keys.push(ListedKey::new(kid, key, issuer.policy.algorithms));
            });
            let is_complete = keys.len() <= MAX_LISTED;
            keys.truncate(MAX_LISTED);
            Some(Inventory {
                sight: source.and_then(|attempt| attempt.sight(name)),
                endpoint: source.and_then(|attempt| attempt.endpoint().cloned()),
                keys,
                is_complete,
            })
        })
    })
}

/// The names of all issuers.
pub fn issuer_names(tables: &Tables) -> Vec<String> {
    let mut names = Vec::new();
    in_a_context(|| {
        tables.look(|look| {
            look.issuers(&[], usize::MAX, |row| {
                names.extend(row.text("issuer").ok().flatten())
            });
        });
    });
    names
}
