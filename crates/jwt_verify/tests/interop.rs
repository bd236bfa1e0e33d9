//! The whole verifier against two independent libraries, joserfc and jose, on
//! thousands of generated tokens.
//!
//! interop/generate.py makes the tokens and asks the libraries. Each difference between us and a
//! library must be in [`INTENDED`], with its reason and the number of cases; any other difference
//! fails. interop/run writes the data again.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::time::Duration;

use jwt_verify::{AlgorithmSet, Error, ErrorKind, Keyring, Policy, UnixTime, read_jwks, verify};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Recorded {
    keysets: HashMap<String, Value>,
    policies: HashMap<String, PolicyOfAll>,
    cases: Vec<Case>,
}

/// The policy that all three are asked to apply.
#[derive(Deserialize)]
struct PolicyOfAll {
    algorithms: Vec<String>,
    /// `None`: any, or none.
    issuer: Option<String>,
    audience: Option<Vec<String>>,
    required: Vec<String>,
    leeway: u64,
}

#[derive(Deserialize)]
struct Case {
    /// The change of a good token; several changes are joined by " + ".
    mutation: String,
    keyset: String,
    policy: String,
    now: i64,
    token: String,
    joserfc: bool,
    jose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Library {
    Joserfc,
    Jose,
}
use Library::{Jose, Joserfc};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum We {
    Accept,
    Refuse(ErrorKind),
}
use We::{Accept, Refuse};

use crate::common::report;

struct Difference {
    we: We,
    /// The library that disagrees, and in how many cases.
    others: &'static [(Library, usize)],
    /// The change of those tokens; `*` is any text.
    mutations: &'static [&'static str],
    reason: &'static str,
}

const INTENDED: &[Difference] = &[
    Difference {
        we: Accept,
        others: &[(Joserfc, 2), (Jose, 2)],
        mutations: &["alg, signed: EdDSA to Ed25519, stated"],
        reason: "EdDSA and Ed25519 are one algorithm here (RFC 9864), also for a key that \
                 states one of them; the libraries compare the names",
    },
    Difference {
        we: Accept,
        others: &[(Joserfc, 68)],
        mutations: &["jti=*"],
        reason: "no rule reads jti, so its type is the application's affair; joserfc wants a \
                 string (RFC 7519 §4.1.7), jose does not",
    },
    Difference {
        we: Accept,
        others: &[(Joserfc, 27)],
        mutations: &[
            "header: cty=1",
            "header: jku=*",
            "header: jwk=*",
            "header: x5c=*",
            "header: x5t=*",
        ],
        reason: "cty, jku, jwk, x5c and x5t are never looked at; joserfc checks their form",
    },
    Difference {
        we: Accept,
        others: &[(Joserfc, 19)],
        mutations: &[
            "header: no kid",
            "header: no kid, keys with alg",
            "header as JSON: name in another case",
            "one kid, two types: *, no kid",
        ],
        reason: "a token may leave kid out as long as exactly one key takes its algorithm; \
                 joserfc wants a kid where the set has several keys",
    },
    Difference {
        we: Accept,
        others: &[(Joserfc, 1)],
        mutations: &["one kid, two types: EdDSA"],
        reason: "keys of different types may share a kid (RFC 7517 §4.5); joserfc takes the \
                 first",
    },
    Difference {
        we: Refuse(ErrorKind::Key),
        others: &[(Joserfc, 1)],
        mutations: &["one kid, one type: EdDSA"],
        reason: "two keys of one kid and one type: nothing says which is meant; joserfc takes \
                 the first",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Jose, 562)],
        mutations: &[
            "*: padding",
            "*: space ' ' *",
            "*: space '\\t' *",
            "*: space '\\n' *",
            "*: space '\\r\\n' *",
            "*: space '\\x0c' *",
            "*: stray bits",
        ],
        reason: "base64url without padding, white space and stray bits (RFC 7515 §2); jose \
                 leaves that to the platform's decoder, which forgives",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Joserfc, 63), (Jose, 63)],
        mutations: &["* as JSON: name twice*", "* as JSON: unknown name twice"],
        reason: "no name twice (RFC 7515 §4, RFC 7519 §4, which also allow the last to count, \
                 as it does for the libraries)",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Joserfc, 6), (Jose, 6)],
        mutations: &["* as JSON: byte order mark"],
        reason: "no byte order mark (RFC 8259 §8.1); the libraries skip it, as it allows",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Joserfc, 30)],
        mutations: &["* as JSON: UTF-16 or UTF-32", "* as JSON: not UTF-8"],
        reason: "UTF-8 only (RFC 7515 §4); Python's json also takes UTF-16, UTF-32 and encoded \
                 surrogates",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Joserfc, 141), (Jose, 159)],
        mutations: &[
            "*=*\\u0000*",
            "*=*\\ud*",
            "* as JSON: U+0000 in a name",
            "* as JSON: lone surrogate in a name",
        ],
        reason: "no U+0000 and no lone surrogate: Postgres's text cannot hold them",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Joserfc, 12)],
        mutations: &["*=NaN", "*=-Infinity"],
        reason: "not JSON (RFC 8259 §6), but for Python's json",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Joserfc, 44), (Jose, 93)],
        mutations: &[
            "*=1e400",
            "*=-1e400",
            "*=1e1001",
            "*=1e-1001",
            "*=10000* (311)",
        ],
        reason: "numbers within a double and Postgres's numeric",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Joserfc, 17), (Jose, 17)],
        mutations: &["nested *", "extra=[[[*"],
        reason: "at most 128 levels",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Joserfc, 26)],
        mutations: &["header: crit=*"],
        reason: "no extension is understood, and crit must not be empty nor name what the RFCs \
                 define (RFC 7515 §4.1.11); joserfc lets both pass",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Jose, 8)],
        mutations: &["header: crit=[\"b64\"], b64=true"],
        reason: "crit is refused, also where it names b64 (as above)",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Jose, 19)],
        mutations: &["header: b64=*"],
        reason: "b64 other than true may mean that the signature covers other bytes \
                 (RFC 7797 §7); jose ignores it without crit",
    },
    Difference {
        we: Refuse(ErrorKind::Malformed),
        others: &[(Jose, 17)],
        mutations: &["header: typ=*"],
        reason: "typ is a string (RFC 7515 §4.1.9), even where any will do",
    },
    Difference {
        we: Refuse(ErrorKind::NotYetValid),
        others: &[(Jose, 69)],
        mutations: &["iat=*"],
        reason: "not issued in the future; jose looks at iat only with a maximal age",
    },
    Difference {
        we: Refuse(ErrorKind::Claim),
        others: &[(Jose, 81)],
        mutations: &["sub=*"],
        reason: "sub is a string (RFC 7519 §4.1.2)",
    },
    Difference {
        we: Refuse(ErrorKind::Claim),
        others: &[(Joserfc, 49), (Jose, 91)],
        mutations: &["exp=*", "iat=*"],
        reason: "a date after the year 9999 is in milliseconds; to the libraries it is far away, and \
                 jose looks at iat only with a maximal age",
    },
    Difference {
        we: Refuse(ErrorKind::Issuer),
        others: &[(Jose, 17)],
        mutations: &["iss=*"],
        reason: "iss is a string (RFC 7519 §4.1.1), even where any will do",
    },
    Difference {
        we: Refuse(ErrorKind::Audience),
        others: &[(Jose, 39)],
        mutations: &["aud=*"],
        reason: "aud is a string or an array of strings (RFC 7519 §4.1.3), even where any will do",
    },
    Difference {
        we: Refuse(ErrorKind::Claim),
        others: &[(Jose, 3)],
        mutations: &["jti=null", "tenant=null"],
        reason: "a required claim of null counts as absent",
    },
];

impl Difference {
    fn is_of(&self, we: We, library: Library, mutation: &str) -> bool {
        let matches = |change| {
            let mut patterns = self.mutations.iter();
            patterns.any(|pattern| is_like(change, pattern))
        };
        self.we == we
            && self.others.iter().any(|(other, _)| *other == library)
            && mutation.split(" + ").any(matches)
    }
}

/// Whether a text matches a pattern, in which `*` stands for any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((start, pattern)) = pattern.split_once('*') else {
        return text == pattern;
    };
    text.strip_prefix(start).is_some_and(|rest| {
        let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        ends.any(|at| is_like(&rest[at..], pattern))
    })
}

#[test]
fn agrees_with_other_libraries() {
    let recorded = read();
    let mut keyrings = HashMap::new();
    let mut agreed = BTreeMap::from([(Joserfc, 0), (Jose, 0)]);
    let mut found = BTreeMap::new();
    let mut unexplained = Vec::new();
    for case in &recorded.cases {
        let keyring = keyrings
            .entry((&case.keyset, &case.policy))
            .or_insert_with(|| recorded.keyring(case));
        let verdict = verify(&case.token, keyring, UnixTime::from_seconds(case.now)).map(drop);
        let we = match &verdict {
            Ok(()) => Accept,
            Err(error) => Refuse(error.kind()),
        };
        for (library, accepts) in [(Joserfc, case.joserfc), (Jose, case.jose)] {
            if accepts == (we == Accept) {
                *agreed.get_mut(&library).unwrap() += 1;
                continue;
            }
            let mut rows = INTENDED.iter();
            match rows.position(|row| row.is_of(we, library, &case.mutation)) {
                Some(row) => *found.entry((row, library)).or_insert(0) += 1,
                None => unexplained.push(describe(case, library, &verdict)),
            }
        }
    }

    let by_us = found
        .iter()
        .filter(|((row, _), _)| INTENDED[*row].we == Accept);
    report(&format!(
        "interop: {} cases, joserfc agrees on {}, jose agrees on {}, {} intended differences, \
         of which we accept {}",
        recorded.cases.len(),
        agreed[&Joserfc],
        agreed[&Jose],
        found.values().sum::<usize>(),
        by_us.map(|(_, count)| count).sum::<usize>(),
    ));
    assert!(
        unexplained.is_empty(),
        "{} differences are not intended:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    let mut miscounted = Vec::new();
    for (index, row) in INTENDED.iter().enumerate() {
        for &(library, expected) in row.others {
            let count = found.get(&(index, library)).copied().unwrap_or(0);
            if count != expected {
                miscounted.push(format!(
                    "{index}, {library:?}, {expected}, {count}: {}",
                    row.reason
                ));
            }
        }
    }
    assert!(
        miscounted.is_empty(),
        "not as many as intended:\n{}",
        miscounted.join("\n")
    );
}

#[test]
fn patterns() {
    for (text, pattern) in [
        ("a", "a"),
        ("ab", "a*"),
        ("ab", "*b"),
        ("a+b", "a*b"),
        ("a", "*"),
    ] {
        assert!(is_like(text, pattern), "{text} {pattern}");
    }
    for (text, pattern) in [("ab", "a"), ("ba", "a*"), ("a", "a*a"), ("", "a")] {
        assert!(!is_like(text, pattern), "{text} {pattern}");
    }
}

fn describe(case: &Case, library: Library, verdict: &Result<(), Error>) -> String {
    let Case {
        mutation,
        keyset,
        policy,
        now,
        token,
        ..
    } = case;
    let mut start = token.clone();
    start.truncate(token.floor_char_boundary(100));
    format!("{mutation} ({keyset}, {policy}, {now}): not as {library:?}: {verdict:?}: {start}")
}

impl Recorded {
    fn keyring(&self, case: &Case) -> Keyring {
        let asked = &self.policies[&case.policy];
        let names = asked.algorithms.iter().map(String::as_str);
        let algorithms = AlgorithmSet::from_names(names).unwrap();
        let policy = Policy {
            algorithms,
            audience: asked.audience.clone(),
            required_claims: asked.required.clone(),
            leeway: Duration::from_secs(asked.leeway),
            // The libraries are not asked to check it either.
            token_types: None,
            ..Policy::default()
        };
        let issuer = asked.issuer.as_deref().unwrap_or("*");
        let mut keyring = Keyring::new();
        keyring.add_issuer(issuer, policy);
        let jwks = self.keysets[&case.keyset].to_string();
        for entry in read_jwks(&jwks, algorithms).unwrap() {
            if let Ok(key) = entry.key {
                keyring.add_key(issuer, key.kid(), key.alg(), &entry.jwk, None);
            }
        }
        keyring
    }
}

fn read() -> Recorded {
    let zipped: &[u8] = include_bytes!("interop/verdicts.json.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(zipped)
        .read_to_string(&mut text)
        .unwrap();
    serde_json::from_str(&text).unwrap()
}
