//! The change log: what nodes tell each other so that cached views are dropped.

use diesel::prelude::*;

use super::connection::Db;
use super::error::StoreError;
use super::model::Change;
use super::rows::{hex, id, known};
use super::schema::{change_log, change_seq};
use crate::domain::account::AccessKeyId;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{KeyStoreId, ProjectId};

/// How many of the last changes are kept at least. A node that falls further behind drops all of its cached views.
const KEPT: i64 = 10_000;
/// The log is cut each time its numbers pass a multiple of this.
const CUT_EVERY: i64 = 1_000;
/// The most rows that are read at once.
const PAGE: i64 = 1_000;

/// Gives `changes` their numbers. The row of `change_seq` stays locked until the commit, so that whoever sees a number sees all before
/// it (a sequence would let a later one become visible first); this is the last that a transaction does.
pub(super) fn number(db: &mut Db, changes: &[Change], at: Timestamp) -> Result<(), StoreError> {
    let Ok(count) = i64::try_from(changes.len()) else {
        return Err(StoreError::failed("too many changes in one batch"));
    };
    if count == 0 {
        return Ok(());
    }
    diesel::update(change_seq::table).set(change_seq::n.eq(change_seq::n + count)).execute(db)?;
    let last = position(db)?;
    for (number, change) in (last - count + 1..).zip(changes) {
        let (kind, subject) = parts(change);
        diesel::insert_into(change_log::table)
            .values((change_log::number.eq(number), change_log::kind.eq(kind), change_log::subject.eq(subject), change_log::at.eq(at.micros())))
            .execute(db)?;
    }
    if last / CUT_EVERY != (last - count) / CUT_EVERY {
        diesel::delete(change_log::table.filter(change_log::number.le(last - KEPT))).execute(db)?;
    }
    Ok(())
}

/// Writes without changing anything.
pub(super) fn touch(db: &mut Db) -> QueryResult<()> {
    diesel::update(change_seq::table).set(change_seq::n.eq(change_seq::n)).execute(db).map(drop)
}

/// The last number given.
pub(super) fn position(db: &mut Db) -> QueryResult<i64> {
    change_seq::table.select(change_seq::n).first(db)
}

/// What changed after a position.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) changes: Vec<Change>,
    /// The position after these.
    pub(super) reached: i64,
    /// Whether there was nothing more when it was read.
    pub(super) is_last: bool,
}

/// What changed after `position`, a page at most. Call within one view of the database.
pub(super) fn after(db: &mut Db, position: i64) -> Result<Page, StoreError> {
    let last = self::position(db)?;
    if last == position {
        return Ok(Page { changes: Vec::new(), reached: position, is_last: true });
    }
    let rows: Vec<(i64, String, String)> = change_log::table
        .filter(change_log::number.gt(position))
        .order(change_log::number)
        .limit(PAGE)
        .select((change_log::number, change_log::kind, change_log::subject))
        .load(db)?;
    let next = rows.first().map(|(number, ..)| *number);
    // Cut off beyond our position, or an older database put in this one's place.
    if last < position || next != Some(position + 1) {
        return Ok(Page { changes: vec![Change::Everything], reached: last, is_last: true });
    }
    let reached = rows.last().map_or(position, |(number, ..)| *number);
    let changes = rows.into_iter().map(|(_, kind, subject)| parse(&kind, &subject)).collect::<Result<_, _>>()?;
    Ok(Page { changes, reached, is_last: reached == last })
}

fn parts(change: &Change) -> (&'static str, String) {
    match change {
        Change::Key(key) => ("KEY", hex(key.as_bytes())),
        Change::KeyStore(key_store) => ("KEY_STORE", key_store.to_string()),
        Change::Project(project) => ("PROJECT", project.to_string()),
        Change::Identity => ("IDENTITY", String::new()),
        Change::AccessKey(access_key) => ("ACCESS_KEY", access_key.to_string()),
        Change::Token(hash) => ("TOKEN", hex::encode(hash)),
        Change::Session(hash) => ("SESSION", hex::encode(hash)),
        Change::ObjectGone(object) => ("OBJECT_GONE", hex(object.as_bytes())),
        Change::Authorities => ("AUTHORITIES", String::new()),
        Change::Everything => ("EVERYTHING", String::new()),
    }
}

fn parse(kind: &str, subject: &str) -> Result<Change, StoreError> {
    const WHAT: &str = "change";
    Ok(match kind {
        "KEY" => Change::Key(id(subject, WHAT)?),
        "KEY_STORE" => Change::KeyStore(KeyStoreId(known(subject.parse().ok(), WHAT)?)),
        "PROJECT" => Change::Project(ProjectId(known(subject.parse().ok(), WHAT)?)),
        "IDENTITY" => Change::Identity,
        "ACCESS_KEY" => Change::AccessKey(known(AccessKeyId::parse(subject), WHAT)?),
        "TOKEN" => Change::Token(hash(subject)?),
        "SESSION" => Change::Session(hash(subject)?),
        "OBJECT_GONE" => Change::ObjectGone(id(subject, WHAT)?),
        "AUTHORITIES" => Change::Authorities,
        // A newer node may tell what this one doesn't know.
        _ => Change::Everything,
    })
}

fn hash(subject: &str) -> Result<[u8; 32], StoreError> {
    let mut hash = [0; 32];
    known(hex::decode_to_slice(subject, &mut hash).ok(), "change")?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{KeyId, ObjectId};

    #[test]
    fn every_kind_reads_back_and_an_unknown_one_is_everything() {
        let all = [
            Change::Key(KeyId::from_bytes([1; 16])),
            Change::KeyStore(KeyStoreId(2)),
            Change::Project(ProjectId(3)),
            Change::Identity,
            Change::AccessKey(AccessKeyId::parse("AKID").expect("an ID")),
            Change::Token([5; 32]),
            Change::Session([6; 32]),
            Change::ObjectGone(ObjectId::from_bytes([4; 16])),
            Change::Authorities,
            Change::Everything,
        ];
        for change in all {
            let (kind, subject) = parts(&change);
            assert_eq!(parse(kind, &subject).ok(), Some(change));
        }
        assert_eq!(parse("NEW", "x").ok(), Some(Change::Everything));
        assert!(parse("KEY", "x").is_err());
        assert!(parse("TOKEN", "05").is_err());
    }
}
