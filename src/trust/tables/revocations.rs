//! The rows of `auth.revocations`, by index and with a fresh snapshot, as those of the key tables.

use jwt_verify::{RevokedBy, UnixTime};
use pgrx::{pg_sys, varlena};

use crate::pg::row::{Columns, Row};
use crate::pg::{clock, encoding};
use crate::trust::tables::index::{self, LockedIndex};
use crate::trust::tables::triggers::{self, Faults, Watched};
use crate::trust::tables::{Table, find_table};

/// The columns that decide. If one is missing or has another type, no token is accepted.
const NEEDED: [(&str, pg_sys::Oid); 5] = [
    ("issuer", pg_sys::TEXTOID),
    ("kind", pg_sys::TEXTOID),
    ("value", pg_sys::TEXTOID),
    ("issued_before", pg_sys::TIMESTAMPTZOID),
    ("expires_at", pg_sys::TIMESTAMPTZOID),
];

/// A table with at most this many pages is scanned: that is some dozen rows, and to open an index for
/// the first time in a connection costs more.
const SCANNED_PAGES: u32 = 1;

/// The table, open and locked (ACCESS SHARE) until this is dropped.
pub struct Revocations {
    table: Table,
    columns: Columns,
}

/// A revocation.
pub struct Revocation {
    /// Tokens that were issued before this time are revoked.
    pub issued_before: UnixTime,
    /// Time by which those tokens have expired; `None`: not known.
    pub expires_at: Option<UnixTime>,
    pub reason: Option<String>,
}

/// The oid of the table; `None` if the extension has none.
pub fn find() -> Option<pg_sys::Oid> {
    find_table(c"revocations")
}

/// The relation in whose name changes of the rows are announced: the table's TOAST table, which
/// nobody opens. An announcement in the name of the table itself would have every backend make its
/// descriptor of the table again, at each revocation.
///
/// # Safety
///
/// The relation must be open.
pub unsafe fn announcer(relation: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: as the caller promises.
    unsafe {
        match (*(*relation).rd_rel).reltoastrelid {
            pg_sys::InvalidOid => (*relation).rd_id,
            toast => toast,
        }
    }
}

impl Revocations {
    /// `None` if there is no relation with this oid (any more).
    pub fn open(oid: pg_sys::Oid) -> Option<Self> {
        let table = Table::open(oid)?;
        let columns = table.columns();
        Some(Self { table, columns })
    }

    /// Whether it is a table with the needed columns.
    pub fn is_readable(&self) -> bool {
        self.table.is_ordinary() && self.columns.have(&NEEDED)
    }

    /// See [`announcer`].
    pub fn announcer(&self) -> pg_sys::Oid {
        // SAFETY: the relation is open.
        unsafe { announcer(self.table.relation()) }
    }

    /// The problems with the triggers that announce changes to other backends.
    pub fn trigger_faults(&self) -> Faults {
        // SAFETY: the relation is open.
        unsafe { triggers::faults([(Watched::Revocations, self.table.relation())]) }
    }

    /// Calls `look` with the rows as they are now. The table must be readable.
    pub fn look<T>(&self, look: impl FnOnce(&Rows) -> T) -> T {
        let relation = self.table.relation();
        // SAFETY: as for the key tables: the relation is open and locked, and the snapshot
        // registered until all tuples were read. If an error ends this early, Postgres releases it.
        unsafe {
            let pages = index::pages(relation);
            let index = match pages <= SCANNED_PAGES {
                true => None,
                false => index::of_columns(relation, &self.columns, &SELECTOR),
            };
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetCatalogSnapshot(self.table.oid()));
            let outcome = look(&Rows {
                table: self,
                pages,
                index,
                snapshot,
            });
            pg_sys::UnregisterSnapshot(snapshot);
            outcome
        }
    }
}

/// The columns that say which tokens a row is for.
const SELECTOR: [&str; 3] = ["issuer", "kind", "value"];

/// The rows at one moment.
pub struct Rows<'t> {
    table: &'t Revocations,
    /// Number of pages, some of which may be newer than the snapshot.
    pages: u32,
    /// The index of [`SELECTOR`], for a table that is not scanned.
    index: Option<LockedIndex>,
    /// A registered snapshot.
    snapshot: pg_sys::Snapshot,
}

/// The kinds of an issuer's revocations, in the order of [`RevokedBy::ALL`].
#[derive(Clone, Copy)]
pub struct Kinds([bool; RevokedBy::ALL.len()]);

impl Kinds {
    pub fn contain(self, by: RevokedBy) -> bool {
        let place = RevokedBy::ALL.into_iter().position(|known| known == by);
        place
            .and_then(|place| self.0.get(place).copied())
            .unwrap_or(true)
    }
}

/// A name by which tokens may be revoked.
pub struct Name<'n> {
    pub issuer: &'n str,
    pub by: RevokedBy,
    pub value: &'n str,
}

impl Rows<'_> {
    /// Whether there are none. False too if there may be some: deleted rows take their place until
    /// the table is vacuumed.
    pub fn are_none(&self) -> bool {
        if self.pages > SCANNED_PAGES {
            return false;
        }
        let mut are_none = true;
        if self.pages > 0 {
            self.scan(
                &mut [],
                |_| true,
                |_| {
                    are_none = false;
                    false
                },
            );
        }
        are_none
    }

    /// The kinds of which there may be revocations for this issuer.
    pub fn kinds(&self, issuer: &str) -> Kinds {
        Kinds(RevokedBy::ALL.map(|by| {
            if self.index.is_none() || !encoding::has_one_form(issuer) {
                return true;
            }
            let mut exists = false;
            if let Some(mut keys) = self.keys([issuer, by.name()]) {
                self.scan(
                    &mut keys,
                    |_| true,
                    |_| {
                        exists = true;
                        false
                    },
                );
            }
            exists
        }))
    }

    /// Calls `see` with the revocations of these names.
    pub fn of(&self, names: &[Name], mut see: impl FnMut(RevokedBy, Revocation)) {
        // In some encodings two texts become the same in UTF-8, and an index distinguishes them.
        let is_exact = names
            .iter()
            .all(|name| encoding::has_one_form(name.issuer) && encoding::has_one_form(name.value));
        let mut see = |row: &Row| {
            let text = |column| row.text(column).ok().flatten();
            let (issuer, kind, value) = (text("issuer"), text("kind"), text("value"));
            let is = |text: &Option<String>, wanted| text.as_deref() == Some(wanted);
            let name = names.iter().find(|name| {
                is(&value, name.value) && is(&kind, name.by.name()) && is(&issuer, name.issuer)
            });
            if let Some(name) = name {
                let instant = |column| row.timestamp(column).map(clock::from_postgres);
                let revocation = Revocation {
                    // A NULL, which the table does not admit, revokes all.
                    issued_before: instant("issued_before").unwrap_or(UnixTime::MAX),
                    expires_at: instant("expires_at"),
                    reason: text("reason"),
                };
                see(name.by, revocation);
            }
            true
        };
        if is_exact && self.index.is_some() {
            for name in names {
                if let Some(mut keys) = self.keys([name.issuer, name.by.name(), name.value]) {
                    self.scan(&mut keys, |_| true, &mut see);
                }
            }
            return;
        }
        let relation = self.table.table.relation();
        let number = self.table.columns.number("value").unwrap_or_default() as i32;
        // Text that the server's encoding lacks is in no row.
        let values = names
            .iter()
            .filter_map(|name| encoding::to_server(name.value));
        let values: Vec<_> = values.collect();
        let may_be_wanted = |tuple| {
            let is_one = |bytes: &[u8]| values.iter().any(|value| value.as_bytes() == bytes);
            // SAFETY: the tuple is one of the relation, and its column a text.
            !is_exact || unsafe { text_may_be(tuple, number, relation, is_one) }
        };
        self.scan(&mut [], may_be_wanted, see);
    }

    /// Scan keys for the first columns of [`SELECTOR`]; `None`: no row has these values.
    fn keys<const N: usize>(&self, values: [&str; N]) -> Option<Vec<pg_sys::ScanKeyData>> {
        let pairs = SELECTOR.iter().zip(values);
        let keys = pairs.map(|(column, value)| index::equals(&self.table.columns, column, value));
        keys.collect()
    }

    /// Scans by the index with these keys; without keys, the whole table.
    fn scan(
        &self,
        keys: &mut [pg_sys::ScanKeyData],
        may_be_wanted: impl Fn(pg_sys::HeapTuple) -> bool,
        see: impl FnMut(&Row) -> bool,
    ) {
        let Revocations { table, columns } = self.table;
        let index = self.index.as_ref().filter(|_| !keys.is_empty());
        // SAFETY: the table is readable, as `look` demands; the columns, the index and the keys are
        // its own, and the snapshot is registered.
        unsafe { table.scan_by(columns, index, keys, self.snapshot, may_be_wanted, see) }
    }
}

/// Whether the text of this attribute may be one of those: without a copy of it, as this is asked of
/// each row of a scanned table. True for a text that is compressed or stored elsewhere.
///
/// # Safety
///
/// The tuple must belong to the relation, and the attribute be of type `text`.
unsafe fn text_may_be(
    tuple: pg_sys::HeapTuple,
    attribute: i32,
    relation: pg_sys::Relation,
    is_one: impl Fn(&[u8]) -> bool,
) -> bool {
    // SAFETY: as the caller promises; the bytes are read while the tuple is there.
    unsafe {
        let mut is_null = false;
        let datum = pg_sys::heap_getattr(tuple, attribute, (*relation).rd_att, &mut is_null);
        let text = datum.cast_mut_ptr::<pg_sys::varlena>();
        let is_inline = || {
            varlena::varatt_is_4b_u(text)
                || (varlena::varatt_is_1b(text) && !varlena::varatt_is_1b_e(text))
        };
        !is_null && (!is_inline() || is_one(varlena::varlena_to_byte_slice(text)))
    }
}
