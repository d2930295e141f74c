//! Lists: search, order, **Unit of Display**, pages. All of it is in the address, so that it can be kept and sent.

use serde::Deserialize;

use crate::domain::listing::{ListQuery, Listed};

/// What an address says about a list.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    dir: String,
    #[serde(default)]
    size: String,
    #[serde(default)]
    page: String,
    /// What the key stores beside the list are searched for.
    #[serde(default)]
    pub(super) stores: String,
    /// What was just done, as a word of [`super::text`].
    #[serde(default)]
    pub(super) done: String,
}

impl Asked {
    /// What the service is asked.
    pub(super) fn query(&self) -> ListQuery {
        ListQuery::new(&self.q, &self.sort, self.dir == "desc", &self.size, &self.page)
    }
}

/// What is around a list: for its template.
#[derive(Debug)]
pub(super) struct Around {
    /// The page's own address, without a query.
    pub(super) path: String,
    pub(super) query: ListQuery,
    pub(super) total: i64,
    /// What the address says beside that: a name and a value, if there is one.
    kept: Option<(&'static str, &'static str)>,
}

/// A page's number as the template shows it.
impl Around {
    pub(super) fn new<T>(path: impl Into<String>, query: ListQuery, listed: &Listed<T>) -> Self {
        Self { path: path.into(), query, total: listed.total, kept: None }
    }

    /// With something else that the addresses say, unless it is nothing.
    pub(super) fn keeping(self, name: &'static str, value: &'static str) -> Self {
        Self { kept: Some((name, value)).filter(|(_, value)| !value.is_empty()), ..self }
    }

    pub(super) fn search(&self) -> &str {
        self.query.search.as_deref().unwrap_or_default()
    }

    pub(super) fn sizes(&self) -> [u32; 4] {
        ListQuery::SIZES
    }

    pub(super) fn is_size(&self, size: &u32) -> bool {
        self.query.size == *size
    }

    fn last_page(&self) -> u32 {
        let pages = self.total.max(1).saturating_add(self.query.limit() - 1) / self.query.limit();
        u32::try_from(pages).unwrap_or(u32::MAX)
    }

    pub(super) fn pages(&self) -> u32 {
        self.last_page()
    }

    pub(super) fn previous(&self) -> Option<String> {
        (self.query.page > 1).then(|| self.address(&self.query, self.query.page.min(self.last_page() + 1) - 1))
    }

    pub(super) fn next(&self) -> Option<String> {
        (self.query.page < self.last_page()).then(|| self.address(&self.query, self.query.page + 1))
    }

    /// The address that sorts by a column, the other way round where it is sorted by that already.
    pub(super) fn sorted_by(&self, column: &str) -> String {
        let again = self.query.sort.as_deref() == Some(column);
        let query = ListQuery { sort: Some(column.to_owned()), descending: again && !self.query.descending, ..self.query.clone() };
        self.address(&query, 1)
    }

    /// What `aria-sort` says of a column.
    pub(super) fn order_of(&self, column: &str) -> &'static str {
        match (self.query.sort.as_deref() == Some(column), self.query.descending) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        }
    }

    pub(super) fn arrow(&self, column: &str) -> &'static str {
        match self.order_of(column) {
            "ascending" => "↑",
            "descending" => "↓",
            _ => "",
        }
    }

    fn address(&self, query: &ListQuery, page: u32) -> String {
        let (size, page) = (query.size.to_string(), page.to_string());
        let pairs = [
            ("q", query.search.as_deref().unwrap_or_default()),
            ("sort", query.sort.as_deref().unwrap_or_default()),
            ("dir", if query.descending { "desc" } else { "" }),
            ("size", &size),
            ("page", &page),
        ];
        let told: Vec<_> = pairs.into_iter().chain(self.kept).filter(|(_, value)| !value.is_empty()).collect();
        format!("{}?{}", self.path, serde_urlencoded::to_string(told).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(page: &str, total: i64) -> Around {
        Around { path: "/x".to_owned(), query: ListQuery::new("a&b", "name", false, "30", page), total, kept: None }
    }

    #[test]
    fn addresses_hold_what_was_asked() {
        let around = around("2", 100);
        assert_eq!(around.pages(), 4);
        assert_eq!(around.previous().as_deref(), Some("/x?q=a%26b&sort=name&size=30&page=1"));
        assert_eq!(around.next().as_deref(), Some("/x?q=a%26b&sort=name&size=30&page=3"));
        assert_eq!(around.sorted_by("name"), "/x?q=a%26b&sort=name&dir=desc&size=30&page=1");
        assert_eq!((around.order_of("name"), around.order_of("id")), ("ascending", "none"));
    }

    #[test]
    fn beyond_the_end_the_way_back_leads_to_the_last_page() {
        assert_eq!(around("9", 31).previous().as_deref(), Some("/x?q=a%26b&sort=name&size=30&page=2"));
        assert_eq!((around("9", 31).next(), around("1", 0).next(), around("1", 0).previous()), (None, None, None));
    }
}
