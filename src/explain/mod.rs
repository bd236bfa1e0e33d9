//! `auth.explain_access`: shows the rows that a role sees with a token, policy by policy, and the
//! reasons.
//!
//! Policies are code of the table's owner, and run with the rights of the role that reads it. So do
//! functions in the expressions of indexes, which the planner calls for any query of the table.
//! Here the reader may be a superuser, whom such code could trick. So the caller must be allowed to
//! read all rows, but they are read with the rights of the table's owner, as by ANALYZE
//! ([`sandbox::as_owner`]); and the policies' expressions are evaluated on arrays of these rows,
//! with the rights of the role asked about and no way back to the caller's ([`sandbox::as_role`]).
//! The caller must be able to become that role. All is rolled back.

use std::ffi::CStr;
use std::fmt::Write;
use std::time::{Duration, Instant};

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::{SpiClient, SpiHeapTupleData};

use crate::errors::{argument_is_null, no_such_relation};
use crate::pg::encoding::{self, ServerText};
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::report::Report;
use crate::pg::sandbox::{self, Prepared, Table};
use crate::pg::version;
use crate::session;
use crate::session::functions::token;
use crate::settings;

mod claims;
mod errors;

use claims::Claims;

sql_function!(
    /// `auth.explain_access(relation regclass, token text, command text, role name)`.
    pg_auth_jwt_explain_access,
    |arguments| explain(&arguments)
);

/// Maximum number of rows that are looked at: enough for a table that a developer asks about.
const MOST_ROWS: u64 = 100_000;
/// Time limit, because a policy may take any time for a row.
const LONGEST: Duration = Duration::from_secs(5);
/// Rows of a batch: at first, and at most. The clock is read between two batches.
const BATCH: (usize, usize) = (10, 1000);
/// Approximate time of a batch.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// Approximate memory of a batch: rows may be large.
const BATCH_BYTES: usize = 16 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Select,
    Insert,
    Update,
    Delete,
}

impl Command {
    fn parse(text: &str) -> Result<Self, Report> {
        Ok(match text.to_ascii_uppercase().as_str() {
            "SELECT" => Self::Select,
            "INSERT" => Self::Insert,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            _ => return Err(errors::unknown_command(text)),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    /// Code in `pg_policy.polcmd`.
    fn of_policy(code: &str) -> Option<Self> {
        match code {
            "r" => Some(Self::Select),
            "a" => Some(Self::Insert),
            "w" => Some(Self::Update),
            "d" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// A row of the answer.
#[derive(Default)]
struct AccessRow {
    subject: String,
    applies: Option<bool>,
    kind: Option<&'static str>,
    expression: Option<String>,
    claims: Option<String>,
    rows: Option<u64>,
    detail: Option<String>,
}

/// Facts of the catalogs about the table, the role and the caller.
struct Facts {
    role: pg_sys::Oid,
    role_name: String,
    is_table: bool,
    table: String,
    alias: String,
    array_type: pg_sys::Oid,
    /// Privileges that the role lacks; empty if it may run the command.
    missing: String,
    /// Reason why no policy applies to the role; empty if they apply.
    unguarded: String,
    /// Reason why rows cannot be counted; empty if they can.
    uncountable: String,
}

/// Run with a safe search_path. $1 is the table, $2 the role, $3 the command, $4 the privilege by
/// which the caller may become the role.
const FACTS: &str = "
SELECT r.oid, quote_ident(r.rolname), c.relkind IN ('r', 'p'), format('%I.%I', n.nspname, c.relname), quote_ident(c.relname),
       coalesce(t.typarray, 0::oid),
       CASE WHEN NOT has_schema_privilege(r.oid, c.relnamespace, 'USAGE')
            THEN format('USAGE on schema %I', n.nspname)
            WHEN NOT has_table_privilege(r.oid, c.oid, $3)
                 AND ($3 = 'DELETE' OR NOT has_any_column_privilege(r.oid, c.oid, CASE $3 WHEN 'DELETE' THEN 'SELECT' ELSE $3 END))
            THEN format('%s on %s', $3, c.oid::regclass) ELSE '' END,
       CASE WHEN NOT c.relrowsecurity THEN format('it is not enabled (ALTER TABLE %s ENABLE ROW LEVEL SECURITY)', c.oid::regclass)
            WHEN r.rolsuper THEN format('%I is a superuser', r.rolname)
            WHEN r.rolbypassrls THEN format('%I has BYPASSRLS', r.rolname)
            WHEN pg_has_role(r.oid, c.relowner, 'USAGE') AND NOT c.relforcerowsecurity
            THEN format('%I %s (ALTER TABLE %s FORCE ROW LEVEL SECURITY)', r.rolname,
                        CASE WHEN r.oid = c.relowner THEN 'owns the table' ELSE 'has the rights of its owner' END, c.oid::regclass)
            ELSE '' END,
       CASE WHEN NOT pg_has_role(r.oid, $4) THEN format('the caller cannot become %I (GRANT %I TO %I)', r.rolname, r.rolname, current_user)
            WHEN NOT has_schema_privilege(c.relnamespace, 'USAGE') OR NOT has_table_privilege(c.oid, 'SELECT')
            THEN 'the caller may not SELECT from the table'
            WHEN row_security_active(c.oid) THEN 'policies apply to the caller as well'
            WHEN NOT has_schema_privilege(c.relowner, c.relnamespace, 'USAGE') OR NOT has_table_privilege(c.relowner, c.oid, 'SELECT')
            THEN 'its owner may not SELECT from the table'
            WHEN EXISTS (WITH RECURSIVE children AS (
                             SELECT i.inhrelid AS child FROM pg_inherits AS i WHERE i.inhparent = c.oid
                             UNION SELECT i.inhrelid FROM children JOIN pg_inherits AS i ON i.inhparent = child)
                         SELECT FROM children JOIN pg_class AS other ON other.oid = child WHERE other.relowner <> c.relowner)
            THEN 'a partition, or a table that inherits from it, has another owner'
            ELSE '' END
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_type AS t ON t.oid = c.reltype, pg_roles AS r
 WHERE c.oid = $1 AND r.rolname = $2";

/// Run with a safe search_path, too. $1 is the table, $2 the role's oid. An `only_call` is the
/// function of an expression that is a call of it alone, or a sub-select of one.
const POLICIES: &str = "
SELECT p.oid, quote_ident(p.polname), p.polcmd::text, p.polpermissive,
       EXISTS (SELECT FROM unnest(p.polroles) AS named (role) WHERE named.role = 0 OR pg_has_role($2, named.role, 'USAGE')),
       (SELECT string_agg(quote_ident(n.rolname), ', ') FROM pg_roles AS n WHERE n.oid = ANY (p.polroles)),
       (SELECT string_agg(f.proname, ',' ORDER BY f.proname)
          FROM pg_depend AS d JOIN pg_proc AS f ON f.oid = d.refobjid JOIN pg_namespace AS s ON s.oid = f.pronamespace
          JOIN pg_language AS l ON l.oid = f.prolang AND l.lanname = 'c'
         WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
           AND s.nspname = 'auth' AND f.pronargs = 0 AND NOT f.proretset AND f.prosrc ~ '^pg_auth_jwt_'),
       only_call.of_using, only_call.of_check
  FROM pg_policy AS p CROSS JOIN LATERAL (
           SELECT min(f.oid::regprocedure::text) FILTER (WHERE e.part = 'using'),
                  min(f.oid::regprocedure::text) FILTER (WHERE e.part = 'check')
             FROM (VALUES ('using', p.polqual::text), ('check', p.polwithcheck::text)) AS e (part, tree)
             JOIN pg_proc AS f ON f.oid = coalesce(
                      substring(e.tree FROM '^[{]FUNCEXPR :funcid ([0-9]+) '),
                      substring(e.tree FROM '^[{]SUBLINK :subLinkType 4 .*:targetList [(][{]TARGETENTRY :expr [{]FUNCEXPR :funcid ([0-9]+) ')
                  )::oid
             JOIN pg_namespace AS s ON s.oid = f.pronamespace
            WHERE s.nspname <> 'pg_catalog'
       ) AS only_call (of_using, of_check)
 WHERE p.polrelid = $1
 ORDER BY p.polpermissive DESC, p.polname";

/// Run with the search_path of the caller, with which the texts will be parsed again. $1 is the
/// policy.
const EXPRESSIONS: &str = "
SELECT pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
  FROM pg_catalog.pg_policy AS p WHERE p.oid OPERATOR(pg_catalog.=) $1";

/// Effect of a policy on the command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Decides which rows the command finds.
    Finds,
    /// Decides which rows an UPDATE or DELETE can read in order to find them.
    Reads,
    /// Decides which rows may be written.
    Checks,
}

/// A policy of row-level security; that of an issuer is `jwt_verify::Policy`.
struct RowPolicy {
    name: String,
    is_permissive: bool,
    is_for_all: bool,
    usage: Use,
    /// `None` if it has none: a permissive policy then lets nothing pass, and a restrictive one
    /// restricts nothing (add_security_quals and add_with_check_options in
    /// src/backend/rewrite/rowsecurity.c).
    expression: Option<String>,
    /// Whether its USING decides on new rows as well.
    is_for_new_rows: bool,
    /// The function, if the expression is a call of it alone.
    only_call: String,
    /// The claim functions that it calls, without schema and parentheses.
    functions: Vec<String>,
    /// Reason why it does not apply.
    why_not: Option<String>,
    claims: Option<Claims>,
    rows: Option<u64>,
}

fn explain(arguments: &Arguments) -> SqlResult {
    let null = |name| move || argument_is_null(name);
    let relation = arguments.datum(0).ok_or_else(null("relation"))?;
    let token = token(arguments, 1)?.filter(|token| !token.is_empty());
    let command = Command::parse(&arguments.text(2)?.ok_or_else(null("command"))?)?;
    let role = arguments.datum(3).ok_or_else(null("role"))?;
    settings::check()?;
    let verified = match token {
        None => session::without_token().map_or(Ok(None), Err),
        Some(token) => session::verify(token).map(Some),
    };
    let oid = u32::try_from(relation.value()).unwrap_or_default();
    let table = sandbox::lock(oid.into()).ok_or_else(|| no_such_relation(oid))?;
    let lines = Spi::connect(|client| {
        let facts = sandbox::with_safe_search_path(|| facts(client, relation, role, command))?;
        if !facts.is_table {
            return Err(errors::not_a_table(&facts.table));
        }
        if !facts.uncountable.is_empty() {
            // The caller may have no privilege on it, and then must not keep others from altering it.
            table.unlock();
        }
        let mut policies = policies(client, relation, &facts, command)?;
        let mut counted = None;
        if verified.is_ok() {
            // A good token is base64url and dots.
            let token =
                encoding::to_server_c_string(&String::from_utf8_lossy(token.unwrap_or_default()));
            counted = sandbox::undone(|| {
                sandbox::set_local(settings::table::TOKEN.name, &token);
                for warning in version::WARNINGS_OF_TEXTS {
                    sandbox::set_local(warning, c"off");
                }
                read_claims(&mut policies);
                count(&facts, &table, &mut policies, command)
            });
        }
        let mut lines = introduction(&facts, command, verified.as_ref().err(), token.is_some());
        let conclusion = conclusion(&facts, &policies, command, verified.is_err(), counted);
        lines.extend(policies.into_iter().map(RowPolicy::line));
        lines.push(conclusion);
        Ok(lines)
    })?;
    arguments.return_rows(lines.into_iter().map(AccessRow::datums))?;
    Ok(None)
}

fn facts(
    client: &SpiClient,
    relation: pg_sys::Datum,
    role: pg_sys::Datum,
    command: Command,
) -> Result<Facts, Report> {
    // SAFETY: the arguments are declared regclass and name, and stay in place until the call is
    // over.
    let (relation, name) = unsafe {
        (
            DatumWithOid::new(relation, pg_sys::OIDOID),
            DatumWithOid::new(role, pg_sys::NAMEOID),
        )
    };
    let rows = client
        .select(
            FACTS,
            Some(1),
            &[
                relation,
                name,
                command.name().into(),
                version::BECOMES.into(),
            ],
        )
        .map_err(errors::catalogs)?;
    let Some(row) = rows.into_iter().next() else {
        // SAFETY: the datum of a name points to its bytes, which end in NUL.
        let name = unsafe { CStr::from_ptr(role.cast_mut_ptr()) };
        return Err(errors::no_such_role(&encoding::from_server_lossy(
            name.to_bytes(),
        )));
    };
    Ok(Facts {
        role: oid(&row, 1)?,
        role_name: text(&row, 2)?,
        is_table: row.get(3).map_err(errors::catalogs)?.unwrap_or_default(),
        table: text(&row, 4)?,
        alias: text(&row, 5)?,
        array_type: oid(&row, 6)?,
        missing: text(&row, 7)?,
        unguarded: text(&row, 8)?,
        uncountable: text(&row, 9)?,
    })
}

fn text(row: &SpiHeapTupleData, column: usize) -> Result<String, Report> {
    let text: Option<ServerText> = row.get(column).map_err(errors::catalogs)?;
    Ok(text.map_or_else(String::new, |text| text.0))
}

fn oid(row: &SpiHeapTupleData, column: usize) -> Result<pg_sys::Oid, Report> {
    let oid: Option<pg_sys::Oid> = row.get(column).map_err(errors::catalogs)?;
    Ok(oid.unwrap_or(pg_sys::InvalidOid))
}

fn policies(
    client: &SpiClient,
    relation: pg_sys::Datum,
    facts: &Facts,
    command: Command,
) -> Result<Vec<RowPolicy>, Report> {
    // SAFETY: as above.
    let relation = unsafe { DatumWithOid::new(relation, pg_sys::OIDOID) };
    let rows = sandbox::with_safe_search_path(|| {
        client.select(POLICIES, None, &[relation, facts.role.into()])
    });
    let mut policies = Vec::new();
    for row in rows.map_err(errors::catalogs)? {
        let name = text(&row, 2)?;
        let of = Command::of_policy(&text(&row, 3)?);
        let is_permissive = row.get(4).map_err(errors::catalogs)?.unwrap_or_default();
        let is_for_role: bool = row.get(5).map_err(errors::catalogs)?.unwrap_or_default();
        let roles = text(&row, 6)?;
        let functions = text(&row, 7)?;
        let only_calls = (text(&row, 8)?, text(&row, 9)?);
        let expressions = client
            .select(EXPRESSIONS, Some(1), &[oid(&row, 1)?.into()])
            .map_err(errors::catalogs)?;
        let (mut using, mut check) = (String::new(), String::new());
        for row in expressions {
            (using, check) = (text(&row, 1)?, text(&row, 2)?);
        }
        let has_own_check = !check.is_empty();
        let using = (&using, &only_calls.0);
        let check = if check.is_empty() {
            using
        } else {
            (&check, &only_calls.1)
        };
        let is_for = |wanted| of.is_none_or(|of| of == wanted);
        let reads = matches!(command, Command::Update | Command::Delete);
        let usages = [
            (
                Use::Finds,
                command != Command::Insert && is_for(command),
                using,
            ),
            (Use::Reads, reads && of == Some(Command::Select), using),
            (
                Use::Checks,
                is_for(command)
                    // A USING that decides on both is shown once.
                    && (command == Command::Insert
                        || (command == Command::Update && has_own_check)),
                check,
            ),
        ];
        let mut of_policy = Vec::new();
        for (usage, is_for_command, expression) in usages {
            // A policy FOR ALL also decides about reading, but once is enough.
            if !is_for_command {
                continue;
            }
            let why_not = if !facts.unguarded.is_empty() {
                Some("Row-level security does not apply.".to_owned())
            } else if !is_for_role {
                Some(format!("It is for {roles}."))
            } else {
                None
            };
            of_policy.push((usage, expression, why_not));
        }
        if of_policy.is_empty() {
            let of = of.map_or("ALL", Command::name);
            let expression = if using.0.is_empty() { check } else { using };
            of_policy.push((Use::Finds, expression, Some(format!("It is for {of}."))));
        }
        for (usage, (expression, only_call), why_not) in of_policy {
            policies.push(RowPolicy {
                name: name.clone(),
                is_permissive,
                is_for_all: of.is_none(),
                usage,
                expression: Some(expression.clone()).filter(|text| !text.is_empty()),
                is_for_new_rows: usage == Use::Checks
                    || (usage == Use::Finds && command == Command::Update && !has_own_check),
                only_call: only_call.clone(),
                functions: functions
                    .split(',')
                    .filter(|f| !f.is_empty())
                    .map(str::to_owned)
                    .collect(),
                why_not,
                claims: None,
                rows: None,
            });
        }
    }
    Ok(policies)
}

impl RowPolicy {
    fn applies(&self) -> bool {
        self.why_not.is_none()
    }

    fn is_counted(&self) -> bool {
        self.applies() && self.usage != Use::Checks
    }

    fn line(self) -> AccessRow {
        let kind = match (self.is_permissive, self.usage) {
            (true, Use::Checks) => "permissive, for new rows",
            (false, Use::Checks) => "restrictive, for new rows",
            (true, _) => "permissive",
            (false, _) => "restrictive",
        };
        let applies = self.applies();
        AccessRow {
            subject: format!("policy {}", self.name),
            applies: Some(applies),
            kind: Some(kind),
            detail: Some(self.detail()).filter(|detail| !detail.is_empty()),
            expression: self.expression,
            claims: self.claims.map(|claims| claims.values),
            rows: self.rows,
        }
    }

    fn detail(&self) -> String {
        if let Some(why_not) = &self.why_not {
            return why_not.clone();
        }
        let mut sentences: Vec<String> = Vec::new();
        if self.usage == Use::Reads {
            sentences.push("The command reads the rows that it changes.".to_owned());
        }
        if self.expression.is_none() {
            let missing = match self.usage {
                Use::Finds | Use::Reads => "It has no USING",
                Use::Checks => "It has no WITH CHECK",
            };
            sentences.push(if self.is_permissive {
                format!("{missing}, so it lets nothing pass.")
            } else {
                format!("{missing}, so it restricts nothing.")
            });
        }
        if !self.only_call.is_empty() {
            sentences.push(format!(
                "Function {} decides; what it reads is not shown here.",
                self.only_call
            ));
        }
        if let Some(claims) = &self.claims {
            sentences.extend_from_slice(&claims.remarks);
        }
        sentences.join(" ")
    }

    /// The expression, or the effect of its absence.
    fn condition(&self) -> &str {
        let without = if self.is_permissive { "false" } else { "true" };
        self.expression.as_deref().unwrap_or(without)
    }

    /// Whether rows can pass because of it.
    fn permits(&self) -> bool {
        self.applies() && self.is_permissive && self.expression.is_some()
    }

    /// Whether it decides which rows an UPDATE or DELETE can read.
    fn is_for_reading(&self) -> bool {
        self.usage == Use::Reads || (self.usage == Use::Finds && self.is_for_all)
    }
}

/// Counts of rows.
struct Counted {
    all: u64,
    passing: u64,
    is_complete: bool,
}

/// Asks for the claims that the policies read, with the session's token.
fn read_claims(policies: &mut [RowPolicy]) {
    for policy in policies.iter_mut().filter(|policy| policy.applies()) {
        if let Some(expression) = &policy.expression {
            policy.claims = claims::read(expression, &policy.functions);
        }
    }
}

/// Evaluates the policies that apply, with the session's token and with the rights of the role.
fn count(
    facts: &Facts,
    table: &Table,
    policies: &mut [RowPolicy],
    command: Command,
) -> Option<Counted> {
    if command == Command::Insert || !facts.unguarded.is_empty() || !facts.uncountable.is_empty() {
        return None;
    }
    let rows = table.rows(&facts.table)?;
    let query = query(facts, policies, command);
    let evaluate = sandbox::as_role(facts.role, || Prepared::new(&query, Some(facts.array_type)));
    let mut totals: Vec<u64> = Vec::new();
    let mut seen = 0_u64;
    let mut size = BATCH.0;
    let began = Instant::now();
    let is_complete = loop {
        let batch = rows.fetch(size);
        if batch.rows == 0 {
            break true;
        }
        if seen >= MOST_ROWS || began.elapsed() > LONGEST {
            break false;
        }
        seen = seen.saturating_add(batch.rows as u64);
        let numbers = sandbox::as_role(facts.role, || evaluate.numbers(Some(batch.datum())));
        totals.resize(numbers.len(), 0);
        for (total, number) in totals.iter_mut().zip(numbers) {
            *total = total.saturating_add(number);
        }
        let bytes = batch.bytes.checked_div(batch.rows).unwrap_or(0).max(1);
        let micros = began.elapsed().as_micros().checked_div(u128::from(seen));
        let in_time = BATCH_TIME
            .as_micros()
            .checked_div(micros.unwrap_or(0).max(1));
        size = BATCH_BYTES
            .checked_div(bytes)
            .unwrap_or(1)
            .min(usize::try_from(in_time.unwrap_or(1)).unwrap_or(BATCH.1))
            .clamp(1, BATCH.1);
        batch.free();
    };
    let mut totals = totals.into_iter().chain(std::iter::repeat(0));
    let passing = totals.next().unwrap_or(0);
    for policy in policies.iter_mut().filter(|policy| policy.is_counted()) {
        policy.rows = totals.next();
    }
    Some(Counted {
        all: seen,
        passing,
        is_complete,
    })
}

/// Number of rows of the array that pass all of the policies together, and then each.
fn query(facts: &Facts, policies: &[RowPolicy], command: Command) -> String {
    let mut together = passing(policies, |policy| policy.usage == Use::Finds);
    if matches!(command, Command::Update | Command::Delete) {
        let reads = passing(policies, RowPolicy::is_for_reading);
        together = format!("({together}) AND ({reads})");
    }
    let mut query = format!("SELECT pg_catalog.count(*) FILTER (WHERE {together})");
    for policy in policies.iter().filter(|policy| policy.is_counted()) {
        let expression = policy.condition();
        let _ = write!(query, ", pg_catalog.count(*) FILTER (WHERE ({expression}))");
    }
    let _ = write!(query, " FROM pg_catalog.unnest($1) AS {}", facts.alias);
    query
}

/// The condition of some policies together: one permissive policy, and each restrictive one.
fn passing(policies: &[RowPolicy], is_one: impl Fn(&RowPolicy) -> bool) -> String {
    let expressions = |is_permissive, joined: &str, none: &str| {
        let expressions: Vec<String> = policies
            .iter()
            .filter(|policy| policy.applies() && policy.is_permissive == is_permissive)
            .filter(|policy| is_one(policy))
            .map(|policy| format!("({})", policy.condition()))
            .collect();
        if expressions.is_empty() {
            none.to_owned()
        } else {
            expressions.join(joined)
        }
    };
    format!(
        "({}) AND ({})",
        expressions(true, " OR ", "false"),
        expressions(false, " AND ", "true")
    )
}

/// The lines above the policies: obstacles of the role, and reasons why policies do not apply to
/// it.
fn introduction(
    facts: &Facts,
    command: Command,
    refusal: Option<&Report>,
    has_token: bool,
) -> Vec<AccessRow> {
    let role = &facts.role_name;
    let privilege = if facts.missing.is_empty() {
        format!("Role {role} may {}.", command.name())
    } else {
        format!(
            "Role {role} has no {}, so the command ends in error 42501.",
            facts.missing
        )
    };
    let guarded = if facts.unguarded.is_empty() {
        format!("Row-level security applies to {role}.")
    } else {
        format!(
            "Row-level security does not apply, so {role} sees all rows: {}.",
            facts.unguarded
        )
    };
    let token = match (refusal, has_token) {
        (Some(report), _) => [
            Some(format!(
                "{}: {}.",
                String::from_utf8_lossy(report.sqlstate.0),
                report.message
            )),
            report.detail.clone(),
            report.hint.clone(),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" "),
        (None, true) => "It is accepted.".to_owned(),
        (None, false) => "There is none, so claim functions return NULL.".to_owned(),
    };
    [
        ("privilege", facts.missing.is_empty(), privilege),
        ("row-level security", facts.unguarded.is_empty(), guarded),
        ("token", refusal.is_none() && has_token, token),
    ]
    .into_iter()
    .map(|(subject, applies, detail)| AccessRow {
        subject: subject.to_owned(),
        applies: Some(applies),
        detail: Some(detail),
        ..AccessRow::default()
    })
    .collect()
}

/// The reason why nothing passes.
fn none_permits<'a>(mut policies: impl Iterator<Item = &'a RowPolicy>, wanted: &str) -> String {
    if policies.any(|policy| policy.applies() && policy.is_permissive) {
        format!("None: no permissive policy{wanted} that applies has an expression.")
    } else {
        format!("None: no permissive policy{wanted} applies.")
    }
}

/// The policies that a new or changed row must pass.
fn new_rows(policies: &[RowPolicy]) -> String {
    let names = |is_permissive, joined| {
        let names: Vec<&str> = policies
            .iter()
            .filter(|policy| policy.is_for_new_rows && policy.applies())
            .filter(|policy| policy.is_permissive == is_permissive && policy.expression.is_some())
            .map(|policy| policy.name.as_str())
            .collect();
        names.join(joined)
    };
    let (one_of, each) = (names(true, " or "), names(false, " and "));
    if one_of.is_empty() {
        "No new row can pass: no permissive policy has a WITH CHECK.".to_owned()
    } else if each.is_empty() {
        format!("A new row must pass policy {one_of}.")
    } else {
        format!("A new row must pass policy {one_of}, and {each}.")
    }
}

/// The last line: the number of rows that the command finds.
fn conclusion(
    facts: &Facts,
    policies: &[RowPolicy],
    command: Command,
    is_refused: bool,
    counted: Option<Counted>,
) -> AccessRow {
    let role = &facts.role_name;
    let usage = if command == Command::Insert {
        Use::Checks
    } else {
        Use::Finds
    };
    let reads = matches!(command, Command::Update | Command::Delete);
    let of_command = |policy: &&RowPolicy| policy.usage == usage;
    let for_reading = |policy: &&RowPolicy| policy.is_for_reading();
    let mut rows = None;
    let detail = if !facts.missing.is_empty() {
        "None: the privilege is missing.".to_owned()
    } else if !facts.unguarded.is_empty() {
        "All rows: no policy applies.".to_owned()
    } else if is_refused {
        "None: a query that reads a claim ends in the error above.".to_owned()
    } else if !policies.iter().filter(of_command).any(RowPolicy::permits) {
        rows = (command != Command::Insert).then_some(0);
        none_permits(policies.iter().filter(of_command), "")
    } else if reads && !policies.iter().filter(for_reading).any(RowPolicy::permits) {
        rows = Some(0);
        none_permits(policies.iter().filter(for_reading), " for SELECT")
    } else if command == Command::Insert {
        format!(
            "{} With RETURNING, those of SELECT as well.",
            new_rows(policies)
        )
    } else if let Some(counted) = counted {
        rows = Some(counted.passing);
        let all = counted.all;
        let mut detail = if counted.is_complete {
            format!("Of {all} rows.")
        } else {
            format!("Of the first {all} rows, after which counting stopped.")
        };
        if policies
            .iter()
            .any(|policy| policy.applies() && policy.usage == Use::Checks)
        {
            let _ = write!(detail, " {}", new_rows(policies));
        }
        detail
    } else if facts.uncountable.is_empty() {
        "Rows were not counted: another table has its name by now.".to_owned()
    } else {
        format!("Rows were not counted: {}.", facts.uncountable)
    };
    AccessRow {
        subject: format!("{} as {role}", command.name()),
        rows,
        detail: Some(detail),
        ..AccessRow::default()
    }
}

impl AccessRow {
    fn datums(self) -> [Option<pg_sys::Datum>; 7] {
        let text = |text: Option<String>| text.and_then(|text| sandbox::text(&text));
        let rows = self
            .rows
            .map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
        [
            sandbox::text(&self.subject),
            self.applies.into_datum(),
            sandbox::text(self.kind.unwrap_or_default()).filter(|_| self.kind.is_some()),
            text(self.expression),
            self.claims
                .and_then(|claims| sandbox::jsonb(&encoding::to_server_lossy(&claims))),
            rows.into_datum(),
            text(self.detail),
        ]
    }
}
