//! Counts of tokens accepted and refused, for the view `auth.stats`: this backend's, and where there
//! is shared memory, those of all backends.
//!
//! There is no lock: a place in the table is claimed once, by compare-and-swap, and then only its
//! counts change. Nothing is counted per row; once per verification, or use of a token that was
//! verified before. Names are those of rows in `auth.issuers`, never a name that a stranger wrote
//! into a token.

use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use jwt_verify::UnixTime;
use pgrx::pg_sys;

use crate::pg::clock;
use crate::pg::report::SqlState;
use crate::pg::shared::Area;

/// An event that is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A token was verified and accepted at that time.
    Accepted(UnixTime),
    /// A token was refused at that time, with this SQLSTATE of ours.
    Refused(SqlState, UnixTime),
    /// A token that was verified before was used again, in another statement.
    CacheHit,
    /// A token was verified whose signature a session of this server had found good before.
    SignatureCacheHit,
    /// Found keys became doubtful, because the tables may have changed.
    Reread,
    /// A token was verified, at that time, that names a session of an issuer whose sessions are followed.
    SessionNamed(UnixTime),
    /// The same of a token that names none.
    SessionUnnamed(UnixTime),
}

/// The kinds of events: a refusal has one for each SQLSTATE, 28J00 to 28J15.
const KINDS: usize = 22;
const FIRST_REFUSAL: usize = 6;

impl Event {
    fn kind(self) -> usize {
        match self {
            Self::Accepted(_) => 0,
            Self::CacheHit => 1,
            Self::Reread => 2,
            Self::SignatureCacheHit => 3,
            Self::SessionNamed(_) => 4,
            Self::SessionUnnamed(_) => 5,
            Self::Refused(SqlState([_, _, _, tens, units]), _) => {
                let digit = |ch: &u8| usize::from(ch.wrapping_sub(b'0').min(9));
                let number = digit(tens).saturating_mul(10).saturating_add(digit(units));
                number
                    .saturating_add(FIRST_REFUSAL)
                    .min(KINDS.saturating_sub(1))
            }
        }
    }

    /// Time of the event, if the caller knew it already.
    fn at(self) -> Option<UnixTime> {
        match self {
            Self::Accepted(at)
            | Self::Refused(_, at)
            | Self::SessionNamed(at)
            | Self::SessionUnnamed(at) => Some(at),
            Self::CacheHit | Self::SignatureCacheHit | Self::Reread => None,
        }
    }

    /// The columns `event` and `sqlstate` of the view.
    fn names(kind: usize) -> (&'static str, Option<String>) {
        match kind {
            0 => ("accepted", None),
            1 => ("cache_hit", None),
            2 => ("keys_reread", None),
            3 => ("signature_cache_hit", None),
            4 => ("session_named", None),
            5 => ("session_unnamed", None),
            kind => (
                "refused",
                Some(format!("28J{:02}", kind.saturating_sub(FIRST_REFUSAL))),
            ),
        }
    }
}

/// Bytes of an issuer's name that are kept.
const NAME_BYTES: usize = 120;

/// The counts of one issuer of one database.
struct Counters {
    /// [`FREE`], [`BEING_CLAIMED`] or [`CLAIMED`]. A place is lost if its backend is killed while
    /// it claims it.
    state: AtomicU32,
    database: AtomicU32,
    /// Length of the issuer's name; 0 for a place without an issuer.
    name_bytes: AtomicU32,
    name: [AtomicU8; NAME_BYTES],
    counts: [AtomicU64; KINDS],
    /// Time at which each was counted last, in Postgres's time; [`NEVER`] too if that is not kept.
    last: [AtomicI64; KINDS],
}

/// Zero, because a table of zeros is an empty one.
const NEVER: pg_sys::TimestampTz = 0;

const FREE: u32 = 0;
const BEING_CLAIMED: u32 = 1;
const CLAIMED: u32 = 2;

impl Counters {
    const fn new() -> Self {
        Self {
            state: AtomicU32::new(FREE),
            database: AtomicU32::new(0),
            name_bytes: AtomicU32::new(0),
            name: [const { AtomicU8::new(0) }; NAME_BYTES],
            counts: [const { AtomicU64::new(0) }; KINDS],
            last: [const { AtomicI64::new(NEVER) }; KINDS],
        }
    }

    fn name(&self) -> Vec<u8> {
        let length = usize::try_from(self.name_bytes.load(Ordering::Relaxed)).unwrap_or(0);
        let bytes = self.name.iter().take(length);
        bytes.map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    #[inline]
    fn count(&self, event: Event) {
        if let Some(count) = self.counts.get(event.kind()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(at) = event.at()
            && let Some(last) = self.last.get(event.kind())
        {
            last.fetch_max(clock::to_postgres(at), Ordering::Relaxed);
        }
    }

    fn is(&self, database: u32, name: &[u8]) -> bool {
        self.state.load(Ordering::Acquire) == CLAIMED
            && self.database.load(Ordering::Relaxed) == database
            && usize::try_from(self.name_bytes.load(Ordering::Relaxed)) == Ok(name.len())
            && self
                .name
                .iter()
                .zip(name)
                .all(|(kept, byte)| kept.load(Ordering::Relaxed) == *byte)
    }

    fn claim(&self, database: u32, name: &[u8]) -> bool {
        let claimed =
            self.state
                .compare_exchange(FREE, BEING_CLAIMED, Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_err() {
            return false;
        }
        self.database.store(database, Ordering::Relaxed);
        for (kept, byte) in self.name.iter().zip(name) {
            kept.store(*byte, Ordering::Relaxed);
        }
        let length = u32::try_from(name.len()).unwrap_or(0);
        self.name_bytes.store(length, Ordering::Relaxed);
        self.state.store(CLAIMED, Ordering::Release);
        true
    }
}

/// Places for issuers, and one for those that found none.
pub struct CounterTable<const PLACES: usize> {
    places: [Counters; PLACES],
    others: Counters,
}

impl<const PLACES: usize> CounterTable<PLACES> {
    const fn new() -> Self {
        Self {
            places: [const { Counters::new() }; PLACES],
            others: Counters::new(),
        }
    }

    /// The place of that name, claimed if need be. Two backends that claim a place for the same
    /// name at once may get two places, whose counts are then added.
    fn place(&self, database: u32, name: &[u8]) -> &Counters {
        // FNV-1a.
        let hash = name
            .iter()
            .chain(&database.to_ne_bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let start = usize::try_from(hash)
            .unwrap_or(0)
            .checked_rem(PLACES)
            .unwrap_or(0);
        let (before, after) = self.places.split_at(start.min(PLACES));
        after
            .iter()
            .chain(before)
            .find(|place| place.is(database, name) || place.claim(database, name))
            .unwrap_or(&self.others)
    }

    /// Sets the counts of this database to 0. Events that are counted meanwhile may be lost or not.
    fn reset(&self, database: u32) {
        for place in self.places.iter().chain([&self.others]) {
            let is_ours = place.state.load(Ordering::Acquire) != CLAIMED
                || place.database.load(Ordering::Relaxed) == database;
            if is_ours {
                for count in &place.counts {
                    count.store(0, Ordering::Relaxed);
                }
                for last in &place.last {
                    last.store(NEVER, Ordering::Relaxed);
                }
            }
        }
    }

    fn add_to(&self, lines: &mut Vec<StatsRow>, scope: &'static str, database: u32) {
        let named = self.places.iter().map(|place| (place, false));
        for (place, is_others) in named.chain([(&self.others, true)]) {
            let is_ours = place.state.load(Ordering::Acquire) == CLAIMED
                && place.database.load(Ordering::Relaxed) == database;
            if !is_ours && !is_others {
                continue;
            }
            let issuer = if is_others {
                Some("(others)".to_owned())
            } else {
                let name = place.name();
                (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned())
            };
            for (kind, (count, last)) in place.counts.iter().zip(&place.last).enumerate() {
                let count = count.load(Ordering::Relaxed);
                let last = Some(last.load(Ordering::Relaxed)).filter(|&last| last != NEVER);
                let (event, sqlstate) = Event::names(kind);
                let known = |line: &&mut StatsRow| {
                    line.scope == scope
                        && line.issuer == issuer
                        && line.event == event
                        && line.sqlstate == sqlstate
                };
                if count == 0 {
                    continue;
                }
                match lines.iter_mut().find(known) {
                    Some(line) => {
                        line.count = line.count.saturating_add(count);
                        line.last_at = line.last_at.max(last);
                    }
                    None => lines.push(StatsRow {
                        scope,
                        issuer: issuer.clone(),
                        event,
                        sqlstate,
                        count,
                        last_at: last,
                    }),
                }
            }
        }
    }
}

/// Counts of this backend, which belongs to one database.
static OWN: CounterTable<64> = CounterTable::new();

/// Counts of all backends and databases.
pub type Shared = CounterTable<512>;

/// Shared memory with these counts.
pub static SHARED: Area<Shared> = Area::new(c"pg_auth_jwt stats");

fn shared() -> Option<&'static Shared> {
    SHARED.get()
}

/// Places of this backend's database without an issuer, in both tables, once they were looked for:
/// each use of a token that was verified before counts there.
static NAMELESS: [AtomicPtr<Counters>; 2] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 2];

/// Counts an event. `issuer` is the name of its row in `auth.issuers`, if there is one.
#[inline]
pub fn count(issuer: Option<&str>, event: Event) {
    let Some(issuer) = issuer else {
        let [own, of_server] = &NAMELESS;
        // SAFETY: NULL, or a place of a table, which is there as long as the process.
        let (own, of_server) = unsafe {
            (
                own.load(Ordering::Relaxed).as_ref(),
                of_server.load(Ordering::Relaxed).as_ref(),
            )
        };
        return match own {
            None => count_first(event),
            Some(own) => {
                own.count(event);
                if let Some(of_server) = of_server {
                    of_server.count(event);
                }
            }
        };
    };
    let end = (0..=NAME_BYTES.min(issuer.len()))
        .rev()
        .find(|&end| issuer.is_char_boundary(end));
    for place in places(
        issuer
            .as_bytes()
            .get(..end.unwrap_or(0))
            .unwrap_or_default(),
    ) {
        place.count(event);
    }
}

/// As [`count`] without an issuer, before the places were found: the second one only if there is
/// shared memory.
#[cold]
fn count_first(event: Event) {
    for (known, place) in NAMELESS.iter().zip(places(&[])) {
        known.store(std::ptr::from_ref(place).cast_mut(), Ordering::Relaxed);
        place.count(event);
    }
}

/// The places of that name in both tables.
fn places(name: &[u8]) -> impl Iterator<Item = &'static Counters> {
    // SAFETY: reads a variable of the backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    let of_shared = shared().map(|shared| shared.place(database, name));
    [Some(OWN.place(database, name)), of_shared]
        .into_iter()
        .flatten()
}

/// A row of the view.
pub struct StatsRow {
    pub scope: &'static str,
    pub issuer: Option<String>,
    pub event: &'static str,
    pub sqlstate: Option<String>,
    pub count: u64,
    pub last_at: Option<pg_sys::TimestampTz>,
}

/// Counts of this database.
pub fn lines() -> Vec<StatsRow> {
    // SAFETY: reads a variable of the backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    let mut lines = Vec::new();
    OWN.add_to(&mut lines, "backend", database);
    if let Some(shared) = shared() {
        shared.add_to(&mut lines, "server", database);
    }
    lines
}

/// Sets the counts to 0, in this backend and, if there is shared memory, for all of this database.
/// Events without a place of their own are not counted by database, and begin again for all
/// databases.
pub fn reset() {
    // SAFETY: reads a variable of the backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    OWN.reset(database);
    if let Some(shared) = shared() {
        shared.reset(database);
    }
}
