//! Lists as people look at them at the console: searched, sorted, counted, a page at a time.

mod administration;
mod clients;

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::error::StoreError;
use super::inventory::ListedKey;
use super::keys::Row as KeyRow;
use super::schema::keys;
use super::unit::Reader;
use crate::domain::ids::KeyStoreId;
use crate::domain::key::State;
use crate::domain::listing::{ListQuery, Listed};

pub use clients::ClientsPage;

diesel::define_sql_function! {
    /// Of ASCII's letters alone, in both databases.
    fn lower(text: Text) -> Text;
}

diesel::define_sql_function! {
    /// Both databases have it: a text in which something is found is another one without that.
    fn replace(text: Text, wanted: Text, by: Text) -> Text;
}

fn visible() -> impl Iterator<Item = &'static str> {
    State::ALL.into_iter().filter(|state| state.is_visible()).map(State::as_str)
}

impl Reader<'_> {
    /// A page of a key store's keys. They are sorted by `name`, `type`, `status` or `id`, else in the order in which they were made.
    pub fn listed_keys_page(&mut self, key_store: KeyStoreId, query: &ListQuery) -> Result<Listed<ListedKey>, StoreError> {
        // Made twice: a boxed query is used up by what it answers.
        macro_rules! found {
            () => {{
                let mut found = keys::table.filter(keys::key_store_id.eq(key_store.0)).filter(keys::state.eq_any(visible())).into_boxed();
                if let Some(wanted) = &query.search {
                    let wanted = wanted.to_ascii_lowercase();
                    let in_name = replace(lower(keys::name), wanted.clone(), "").ne(lower(keys::name));
                    let in_description = replace(lower(keys::description), wanted.clone(), "").ne(lower(keys::description));
                    let in_id = replace(keys::id, wanted, "").ne(keys::id);
                    found = found.filter(in_name.or(in_description).or(in_id));
                }
                found
            }};
        }
        let total = found!().count().get_result(self.db)?;
        let page = found!();
        let page = match (query.sort.as_deref(), query.descending) {
            (Some("name"), false) => page.order((keys::name.asc(), keys::id)),
            (Some("name"), true) => page.order((keys::name.desc(), keys::id)),
            (Some("type"), false) => page.order((keys::kind.asc(), keys::id)),
            (Some("type"), true) => page.order((keys::kind.desc(), keys::id)),
            (Some("status"), false) => page.order((keys::state.asc(), keys::id)),
            (Some("status"), true) => page.order((keys::state.desc(), keys::id)),
            (Some("id"), false) => page.order(keys::id.asc()),
            (Some("id"), true) => page.order(keys::id.desc()),
            (_, false) => page.order((keys::created_at.asc(), keys::id)),
            (_, true) => page.order((keys::created_at.desc(), keys::id)),
        };
        let rows: Vec<KeyRow> = page.limit(query.limit()).offset(query.offset()).load(self.db)?;
        Ok(Listed { entries: self.with_last_access(rows)?, total })
    }
}
