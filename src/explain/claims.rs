//! Claims that a policy's expression reads, with their values, and the reason why one of them is
//! NULL.
//!
//! An expression is read in the text that Postgres writes for it. A read that this text hides, in a
//! function or a computed name, is shown by the call of the claim function alone.

use std::fmt::Write;

use crate::pg::sandbox::Prepared;
use crate::trust::schema::{SCHEMA, in_schema};

/// The claim functions of one claim, with its path in the payload and the type that its value has.
const OF_ONE_CLAIM: &[(&str, &[&str], &str)] = &[
    ("user_id", &["sub"], "text"),
    ("uid", &["sub"], "uuid"),
    ("role", &["role"], "text"),
    ("email", &["email"], "text"),
    ("organization", &["o"], "object"),
    ("organization_id", &["o", "id"], "uuid"),
];

/// The steps from one member of a claim to the next, as Postgres writes them.
const STEPS: &[(&str, &str)] = &[
    (" ->> '", "'"),
    (" -> '", "'"),
    (" #>> '{", "}'"),
    (" #> '{", "}'"),
    ("['", "'"),
];

/// A read of a claim.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Read {
    /// The text that is shown.
    shown: String,
    /// The claim, its member, and so on; empty for all claims.
    path: Vec<String>,
    /// Its value as `jsonb`.
    value: String,
    /// The claim function and its type, if it is a function of one claim.
    of_one_claim: Option<(String, &'static str)>,
}

/// Claims that a policy's expression reads with a token.
pub struct Claims {
    /// A JSON object: reads, and their values.
    pub values: String,
    /// Sentences that say why a value is NULL.
    pub remarks: Vec<String>,
}

/// Reads the claims of an expression that calls some of these claim functions, with the session's
/// token; `None` if it calls none of them.
pub fn read(expression: &str, functions: &[String]) -> Option<Claims> {
    let reads = reads(expression, functions);
    if reads.is_empty() {
        return None;
    }
    let mut arguments = String::new();
    let mut faults = String::new();
    for read in &reads {
        let separator = if arguments.is_empty() { "" } else { ", " };
        let shown = pgrx::spi::quote_literal(&read.shown);
        let _ = write!(arguments, "{separator}{shown}, {}", read.value);
        let _ = write!(faults, ", {}", read.fault());
    }
    let query =
        format!("SELECT pg_catalog.jsonb_build_object({arguments})::pg_catalog.text{faults}");
    let mut columns = Prepared::new(&query, None).texts().into_iter();
    let values = columns.next()?;
    let mut remarks: Vec<String> = reads
        .iter()
        .zip(columns)
        .filter_map(|(read, fault)| read.remark(&fault))
        .collect();
    remarks.dedup();
    Some(Claims { values, remarks })
}

fn reads(expression: &str, functions: &[String]) -> Vec<Read> {
    let mut reads = Vec::new();
    for function in functions {
        let call = format!("{function}()");
        for (at, _) in expression.match_indices(&call) {
            let (before, rest) = expression.split_at_checked(at).unwrap_or_default();
            let after = rest.strip_prefix(&call).unwrap_or_default();
            if before.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                continue;
            }
            let one = OF_ONE_CLAIM.iter().find(|(name, ..)| name == function);
            let (steps, path) = if one.is_some() {
                (String::new(), Vec::new())
            } else {
                path(before, after)
            };
            reads.push(match one {
                Some((_, path, kind)) => Read {
                    shown: format!("{SCHEMA}.{call}"),
                    path: path.iter().map(|&member| member.to_owned()).collect(),
                    value: format!("pg_catalog.to_jsonb({SCHEMA}.{call})"),
                    of_one_claim: Some((function.clone(), kind)),
                },
                None => Read {
                    shown: format!("{SCHEMA}.{call}{steps}"),
                    value: member(&path),
                    path,
                    of_one_claim: None,
                },
            });
        }
    }
    reads.sort();
    reads.dedup();
    reads
}

/// The steps that follow a call of `session()`, as they are written and as members' names.
fn path(before: &str, mut after: &str) -> (String, Vec<String>) {
    let mut open = parentheses(before);
    let (mut steps, mut path) = (String::new(), Vec::new());
    loop {
        // The name of a column of a sub-select.
        if let Some((name, rest)) = after
            .strip_prefix(" AS ")
            .and_then(|rest| rest.split_once(')'))
            && !name.contains([' ', ','])
            && open > 0
        {
            open = open.saturating_sub(1);
            after = rest;
            continue;
        }
        if open > 0
            && let Some(rest) = after.strip_prefix(')')
        {
            open = open.saturating_sub(1);
            after = rest;
            continue;
        }
        let step = STEPS.iter().find_map(|(begin, end)| {
            let (names, rest) = after.strip_prefix(begin)?.split_once(end)?;
            // A name that has a quote, or is written as an escape, ends the path.
            (!rest.starts_with('\'') && !names.contains(['\'', '\\', '"', '{']))
                .then_some((begin, names, end, rest))
        });
        let Some((begin, names, end, rest)) = step else {
            return (steps, path);
        };
        if begin.ends_with('{') {
            path.extend(names.split(',').map(str::to_owned));
        } else {
            path.push(names.to_owned());
        }
        let bracket = if *begin == "['" { "]" } else { "" };
        let _ = write!(steps, "{begin}{names}{end}{bracket}");
        after = rest
            .strip_prefix("::text[]")
            .or_else(|| rest.strip_prefix("::text"))
            .unwrap_or(rest);
        after = after.strip_prefix(bracket).unwrap_or(after);
    }
}

/// Number of parentheses right before a call that enclose nothing else: those of a function's
/// arguments do not count.
fn parentheses(before: &str) -> usize {
    let mut before = before
        .strip_suffix(in_schema!("@extschema@."))
        .unwrap_or(before);
    let mut count = 0_usize;
    loop {
        let outer = before.trim_end();
        let outer = outer.strip_suffix("SELECT").map_or(outer, str::trim_end);
        let Some(outer) = outer.strip_suffix('(') else {
            return count;
        };
        if outer.ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == '"') {
            return count;
        }
        count = count.saturating_add(1);
        before = outer;
    }
}

/// All claims, or a member of them, as SQL for a `jsonb`.
fn member(path: &[String]) -> String {
    if path.is_empty() {
        return in_schema!("@extschema@.session()").to_owned();
    }
    let names: Vec<String> = path.iter().map(pgrx::spi::quote_literal).collect();
    format!(
        "({SCHEMA}.session() OPERATOR(pg_catalog.#>) ARRAY[{}]::pg_catalog.text[])",
        names.join(", ")
    )
}

impl Read {
    /// SQL for the reason why the value is NULL: empty if it is not; the number of path's members
    /// up to the first that the token lacks, and after it a claim of a similar name; or `type`,
    /// `null`.
    fn fault(&self) -> String {
        let Some(claim) = self.path.first() else {
            return "''::pg_catalog.text".to_owned();
        };
        let mut cases = String::new();
        for length in 1..=self.path.len() {
            let prefix = self.path.get(..length).unwrap_or_default();
            let similar = if length > 1 {
                "''".to_owned()
            } else {
                let plain =
                    |name| format!("pg_catalog.lower(pg_catalog.translate({name}, '_-', ''))");
                format!(
                    "coalesce((SELECT pg_catalog.min(name) FROM pg_catalog.jsonb_object_keys({SCHEMA}.session()) AS name \
                     WHERE {} OPERATOR(pg_catalog.=) {}), '')",
                    plain("name"),
                    plain(pgrx::spi::quote_literal(claim).as_str())
                )
            };
            let _ = write!(
                cases,
                " WHEN {} IS NULL THEN pg_catalog.concat('{length} ', {similar})",
                member(prefix)
            );
        }
        format!(
            "CASE WHEN {SCHEMA}.session() IS NULL THEN ''{cases} WHEN {} OPERATOR(pg_catalog.=) 'null'::pg_catalog.jsonb THEN 'null' \
             WHEN {} IS NULL THEN 'type' ELSE '' END",
            member(&self.path),
            self.value
        )
    }

    fn remark(&self, fault: &str) -> Option<String> {
        let claim = self.path.join(".");
        match (fault, &self.of_one_claim) {
            ("", _) => None,
            ("null", _) => Some(format!("The token's claim {claim} is null.")),
            ("type", Some((function, kind))) => Some(format!(
                "{SCHEMA}.{function}() is NULL, because {claim} is no {kind}."
            )),
            ("type", None) => None,
            (missing, _) => {
                let (length, similar) = missing.split_once(' ')?;
                let claim = self.path.get(..length.parse().ok()?)?.join(".");
                Some(if similar.is_empty() {
                    format!("The token has no claim {claim}.")
                } else {
                    format!("The token has no claim {claim}, but one that is named {similar}.")
                })
            }
        }
    }
}
