//! The certificate authorities, and what their revocation lists tell.

use diesel::prelude::*;

use super::error::StoreError;
use super::model::{ExpiringCertificates, KeptAuthority, RevocationList, RevokedRule};
use super::rows::{changed_one, hex, id, known, state, time, version};
use super::schema::{authorities, client_rules};
use super::unit::{Reader, Tx};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientRuleId, KeyId, KeyVersion};
use crate::domain::key::State;

const WHAT: &str = "certificate authority";

impl Reader<'_> {
    /// All authorities with their keys, oldest first.
    pub fn authorities(&mut self) -> Result<Vec<KeptAuthority>, StoreError> {
        let rows: Vec<(i64, String, Vec<u8>, i64)> = authorities::table
            .order(authorities::version)
            .select((authorities::version, authorities::key_id, authorities::certificate, authorities::created_at))
            .load(self.db)?;
        let mut kept = Vec::with_capacity(rows.len());
        for (number, key, certificate, created_at) in rows {
            let key = known(self.internal_key_version(id(&key, WHAT)?, version(number)?)?, WHAT)?;
            kept.push(KeptAuthority { key, certificate, created: Timestamp::from_micros(created_at) });
        }
        Ok(kept)
    }

    /// Certificates of one issuer that are revoked and did not expire before `expired_before`, at most `limit`.
    pub fn revoked_certificates(&mut self, issuer: KeyVersion, expired_before: Timestamp, limit: i64) -> Result<Vec<RevokedRule>, StoreError> {
        let rows: Vec<(Option<String>, Option<i64>, String)> = client_rules::table
            .filter(client_rules::issuer.eq(i64::from(issuer.number())).and(client_rules::revoked_at.is_not_null()))
            .filter(client_rules::not_after.ge(expired_before.micros()))
            .order((client_rules::not_after, client_rules::id))
            .limit(limit)
            .select((client_rules::serial, client_rules::revoked_at, client_rules::state))
            .load(self.db)?;
        let revoked = |(serial, at, in_state): (Option<String>, Option<i64>, String)| {
            Ok(RevokedRule { serial: known(serial, WHAT)?, at: known(time(at), WHAT)?, on_hold: state(&in_state)? == State::PendingDeletion })
        };
        rows.into_iter().map(revoked).collect()
    }

    /// The newest list that an authority's revoked certificates were put on.
    pub fn newest_revocation_list(&mut self, authority: KeyVersion) -> Result<RevocationList, StoreError> {
        let row: Option<(i64, i64)> =
            authorities::table.find(i64::from(authority.number())).select((authorities::crl_number, authorities::crl_at)).first(self.db).optional()?;
        let (number, at) = known(row, WHAT)?;
        Ok(RevocationList { number: known(u64::try_from(number).ok(), WHAT)?, at: Timestamp::from_micros(at) })
    }

    /// How many `ACTIVE` certificates that are valid at `now` expire until `until`, and when the next of all does.
    pub fn expiring_certificates(&mut self, now: Timestamp, until: Timestamp) -> Result<ExpiringCertificates, StoreError> {
        let valid = || {
            client_rules::table
                .filter(client_rules::state.eq(State::Active.as_str()).and(client_rules::not_after.is_not_null()))
                .filter(client_rules::not_after.gt(now.micros()))
        };
        let soon: i64 = valid().filter(client_rules::not_after.le(until.micros())).count().get_result(self.db)?;
        let next: Option<Option<i64>> = valid().order(client_rules::not_after).select(client_rules::not_after).first(self.db).optional()?;
        Ok(ExpiringCertificates { soon, next: time(next.flatten()) })
    }
}

impl Tx<'_> {
    /// Keeps the certificate of a version of the CA's key. `Exists` if that version has one.
    pub fn insert_authority(&mut self, key: KeyId, version: KeyVersion, certificate: &[u8], created: Timestamp) -> Result<(), StoreError> {
        diesel::insert_into(authorities::table)
            .values((
                authorities::version.eq(i64::from(version.number())),
                authorities::key_id.eq(hex(key.as_bytes())),
                authorities::certificate.eq(certificate),
                authorities::crl_number.eq(0_i64),
                authorities::crl_at.eq(0_i64),
                authorities::created_at.eq(created.micros()),
            ))
            .execute(self.db)?;
        Ok(())
    }

    /// The next number of an authority's revocation lists, for one that is made at `at`. Its row is held until the commit: what is read
    /// after this comes no earlier than what any list with a lower number says.
    pub fn next_revocation_list(&mut self, authority: KeyVersion, at: Timestamp) -> Result<u64, StoreError> {
        let row = authorities::table.find(i64::from(authority.number()));
        let rows = diesel::update(row).set((authorities::crl_number.eq(authorities::crl_number + 1), authorities::crl_at.eq(at.micros()))).execute(self.db)?;
        changed_one(rows, WHAT)?;
        Ok(self.newest_revocation_list(authority)?.number)
    }

    /// Notes which authority issued the certificate of a client rule.
    pub fn note_issuer(&mut self, rule: ClientRuleId, issuer: KeyVersion) -> Result<(), StoreError> {
        let rows = diesel::update(client_rules::table.find(rule.0)).set(client_rules::issuer.eq(Some(i64::from(issuer.number())))).execute(self.db)?;
        changed_one(rows, "client rule")
    }
}
