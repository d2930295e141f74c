//! Client rules: the IPv4, MAC and certificate entries of key stores.

use diesel::prelude::*;

use super::error::StoreError;
use super::rows::{bytes, changed_one, known, stamp, state, time};
use super::schema::client_rules;
use super::unit::{Reader, Tx};
use crate::domain::caller::{CertFingerprint, MacAddr};
use crate::domain::client_checks::{ClientRule, Method, RuleValue};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ClientRuleId, KeyStoreId};
use crate::domain::key::{Stamp, State};
use crate::domain::text::Description;

/// All columns but the sealed `.p12`, which is for few and large.
#[derive(Queryable, Selectable)]
#[diesel(table_name = client_rules)]
pub(super) struct Row {
    id: i64,
    method: String,
    value: String,
    fingerprint: Option<Vec<u8>>,
    serial: Option<String>,
    not_after: Option<i64>,
    description: String,
    state: String,
    deletion_at: Option<i64>,
    created_by: String,
    created_at: i64,
    changed_by: String,
    changed_at: i64,
}

impl TryFrom<Row> for ClientRule {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        const WHAT: &str = "client rule";
        let value = match known(Method::parse(&row.method), WHAT)? {
            Method::Ipv4 => RuleValue::Ipv4(known(row.value.parse().ok(), WHAT)?),
            Method::Mac => RuleValue::Mac(known(MacAddr::parse(&row.value), WHAT)?),
            Method::Certificate => RuleValue::Certificate {
                name: row.value,
                fingerprint: CertFingerprint(bytes(known(row.fingerprint, WHAT)?, WHAT)?),
                serial: known(row.serial, WHAT)?,
                not_after: known(time(row.not_after), WHAT)?,
            },
        };
        Ok(Self {
            id: ClientRuleId(row.id),
            value,
            description: Description::from_stored(row.description),
            state: state(&row.state)?,
            deletion: time(row.deletion_at),
            created: stamp(row.created_by, row.created_at),
            changed: stamp(row.changed_by, row.changed_at),
        })
    }
}

fn visible() -> impl Iterator<Item = &'static str> {
    State::ALL.into_iter().filter(|state| state.is_visible()).map(State::as_str)
}

impl Reader<'_> {
    /// Rules of all visible states, of one method or of all, oldest first.
    pub fn client_rules(&mut self, key_store: KeyStoreId, method: Option<Method>) -> Result<Vec<ClientRule>, StoreError> {
        let mut query = client_rules::table
            .filter(client_rules::key_store_id.eq(key_store.0))
            .filter(client_rules::state.eq_any(visible()))
            .order(client_rules::id)
            .select(Row::as_select())
            .into_boxed();
        if let Some(method) = method {
            query = query.filter(client_rules::method.eq(method.as_str()));
        }
        query.load(self.db)?.into_iter().map(ClientRule::try_from).collect()
    }

    /// Certificates in service that end after `from` and not after `until`, with their key stores, a page of at most `limit`: the first after
    /// `after`.
    pub fn expiring_entries(
        &mut self,
        from: Timestamp,
        until: Timestamp,
        after: Option<ClientRuleId>,
        limit: i64,
    ) -> Result<Vec<(KeyStoreId, ClientRule)>, StoreError> {
        let rows: Vec<(i64, Row)> = client_rules::table
            .filter(client_rules::state.eq(State::Active.as_str()).and(client_rules::method.eq(Method::Certificate.as_str())))
            .filter(client_rules::not_after.gt(from.micros()).and(client_rules::not_after.le(until.micros())))
            .filter(client_rules::id.gt(after.map_or(i64::MIN, |after| after.0)))
            .order(client_rules::id)
            .limit(limit)
            .select((client_rules::key_store_id, Row::as_select()))
            .load(self.db)?;
        rows.into_iter().map(|(key_store, row)| Ok((KeyStoreId(key_store), row.try_into()?))).collect()
    }

    /// How many rules of that method and of all visible states a key store has. Whoever adds one holds the key store's row first, by
    /// [`Tx::hold_active_key_store`].
    pub fn count_client_rules(&mut self, key_store: KeyStoreId, method: Method) -> Result<i64, StoreError> {
        let of_method = client_rules::table
            .filter(client_rules::key_store_id.eq(key_store.0).and(client_rules::method.eq(method.as_str())))
            .filter(client_rules::state.eq_any(visible()));
        Ok(of_method.count().get_result(self.db)?)
    }

    /// The rule of a visible state with that value: a network with its prefix length, a MAC address, a certificate's name.
    pub fn client_rule_by_value(&mut self, key_store: KeyStoreId, method: Method, value: &str) -> Result<Option<ClientRule>, StoreError> {
        let row: Option<Row> = client_rules::table
            .filter(client_rules::key_store_id.eq(key_store.0).and(client_rules::method.eq(method.as_str())))
            .filter(client_rules::value.eq(value))
            .filter(client_rules::state.eq_any(visible()))
            .select(Row::as_select())
            .first(self.db)
            .optional()?;
        row.map(ClientRule::try_from).transpose()
    }

    /// The key store of a rule, and the rule, if it is of a visible state.
    pub fn client_rule(&mut self, id: ClientRuleId) -> Result<Option<(KeyStoreId, ClientRule)>, StoreError> {
        let row: Option<(i64, Row)> = client_rules::table
            .find(id.0)
            .filter(client_rules::state.eq_any(visible()))
            .select((client_rules::key_store_id, Row::as_select()))
            .first(self.db)
            .optional()?;
        row.map(|(key_store, row)| Ok((KeyStoreId(key_store), row.try_into()?))).transpose()
    }

    /// The `.p12` of a certificate rule, sealed, and the internal key version that sealed it.
    pub fn sealed_p12(&mut self, rule: ClientRuleId) -> Result<Option<Vec<u8>>, StoreError> {
        let row: Option<Option<Vec<u8>>> = client_rules::table
            .find(rule.0)
            .filter(client_rules::state.ne(State::Destroyed.as_str()))
            .select(client_rules::sealed_p12)
            .first(self.db)
            .optional()?;
        Ok(row.flatten())
    }
}

impl Tx<'_> {
    /// Inserts a client rule, `ACTIVE`.
    pub fn insert_client_rule(
        &mut self,
        key_store: KeyStoreId,
        value: &RuleValue,
        description: &Description,
        sealed_p12: Option<&[u8]>,
        created: &Stamp,
    ) -> Result<ClientRuleId, StoreError> {
        let (text, certificate) = match value {
            RuleValue::Ipv4(net) => (net.to_string(), None),
            RuleValue::Mac(mac) => (mac.to_string(), None),
            RuleValue::Certificate { name, fingerprint, serial, not_after } => (name.clone(), Some((fingerprint, serial, not_after))),
        };
        let id = diesel::insert_into(client_rules::table)
            .values((
                client_rules::key_store_id.eq(key_store.0),
                client_rules::method.eq(value.method().as_str()),
                client_rules::value.eq(text),
                client_rules::fingerprint.eq(certificate.map(|(fingerprint, ..)| fingerprint.0.as_slice())),
                client_rules::serial.eq(certificate.map(|(_, serial, _)| serial)),
                client_rules::not_after.eq(certificate.map(|(.., not_after)| not_after.micros())),
                client_rules::sealed_p12.eq(sealed_p12),
                client_rules::description.eq(description.as_str()),
                client_rules::state.eq(State::Active.as_str()),
                client_rules::created_by.eq(&created.user),
                client_rules::created_at.eq(created.at.micros()),
                client_rules::changed_by.eq(&created.user),
                client_rules::changed_at.eq(created.at.micros()),
            ))
            .returning(client_rules::id)
            .get_result(self.db)?;
        Ok(ClientRuleId(id))
    }

    /// Moves a client rule from one state to another; `Stale` if it isn't in `from`. A `.p12` doesn't outlive its rule.
    pub fn set_client_rule_state(&mut self, id: ClientRuleId, from: State, to: State, deletion: Option<Timestamp>, changed: &Stamp) -> Result<(), StoreError> {
        self.note_revocation(id, to, changed.at)?;
        let rows = diesel::update(client_rules::table.find(id.0).filter(client_rules::state.eq(from.as_str())))
            .set((
                client_rules::state.eq(to.as_str()),
                client_rules::deletion_at.eq(deletion.map(Timestamp::micros)),
                client_rules::changed_by.eq(&changed.user),
                client_rules::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "client rule")?;
        if to == State::Destroyed {
            diesel::update(client_rules::table.find(id.0)).set(client_rules::sealed_p12.eq(None::<&[u8]>)).execute(self.db)?;
        }
        Ok(())
    }

    /// Since when a certificate is revoked stays what it was until it is restored (X.509, 8.5.2.2: a hold's date is that of what follows).
    fn note_revocation(&mut self, id: ClientRuleId, to: State, at: Timestamp) -> Result<(), StoreError> {
        let certificate = client_rules::table.find(id.0).filter(client_rules::method.eq(Method::Certificate.as_str()));
        if to == State::Active {
            diesel::update(certificate).set(client_rules::revoked_at.eq(None::<i64>)).execute(self.db)?;
        } else {
            let unrevoked = certificate.filter(client_rules::revoked_at.is_null());
            diesel::update(unrevoked).set(client_rules::revoked_at.eq(Some(at.micros()))).execute(self.db)?;
        }
        Ok(())
    }
}
