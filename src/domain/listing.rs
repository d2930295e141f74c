//! Lists as people look at them: searched, sorted, a page at a time.

use unicode_normalization::UnicodeNormalization as _;

/// The most characters of what is searched for.
pub const SEARCH_MAX_CHARS: usize = 100;

/// What a person wants to see of a list. Whatever can't be read is as if it were not there: it comes from an address, not from a form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListQuery {
    /// What must be in the name, the ID or the description; letters of ASCII in either case.
    pub search: Option<String>,
    /// The column to sort by, of those that the list has; its own order otherwise.
    pub sort: Option<String>,
    /// Whether the last comes first.
    pub descending: bool,
    /// Entries of a page.
    pub size: u32,
    /// The page, from 1.
    pub page: u32,
}

impl Default for ListQuery {
    fn default() -> Self {
        Self { search: None, sort: None, descending: false, size: Self::SIZES[0], page: 1 }
    }
}

impl ListQuery {
    /// How many entries a page may have.
    pub const SIZES: [u32; 4] = [10, 30, 50, 100];
    /// The last page that can be asked for.
    pub const PAGE_MAX: u32 = 1_000_000;

    /// A query of what an address says.
    pub fn new(search: &str, sort: &str, descending: bool, size: &str, page: &str) -> Self {
        // No name has a control character, and PostgreSQL takes no NUL.
        let search: String = search.chars().filter(|c| !c.is_control()).nfc().take(SEARCH_MAX_CHARS).collect();
        let search = search.trim().to_owned();
        let size = size.parse().ok().filter(|size| Self::SIZES.contains(size)).unwrap_or(Self::SIZES[0]);
        let page = page.parse().ok().filter(|page| (1..=Self::PAGE_MAX).contains(page)).unwrap_or(1);
        Self { search: Some(search).filter(|text| !text.is_empty()), sort: Some(sort.to_owned()).filter(|text| !text.is_empty()), descending, size, page }
    }

    /// How many entries come before the page.
    pub fn offset(&self) -> i64 {
        (i64::from(self.page) - 1) * i64::from(self.size)
    }

    /// How many entries it has at most.
    pub fn limit(&self) -> i64 {
        i64::from(self.size)
    }
}

/// A page of a list, and how long the list is.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The page's entries.
    pub entries: Vec<T>,
    /// How many entries pass the search.
    pub total: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_read_is_not_there() {
        assert_eq!(ListQuery::new("", "", false, "", ""), ListQuery::default());
        assert_eq!(ListQuery::new(" ", "", false, "11", "0"), ListQuery::default());
        assert_eq!(ListQuery::new("\0", "", false, "", ""), ListQuery::default());
        assert_eq!(ListQuery::new("a\0b\u{7f}\n", "", false, "", "").search.as_deref(), Some("ab"));
        let query = ListQuery::new(" key ", "name", true, "50", "3");
        assert_eq!((query.search.as_deref(), query.offset(), query.limit()), (Some("key"), 100, 50));
        assert_eq!(ListQuery::new(&"x".repeat(1_000), "", false, "", "").search.map(|text| text.len()), Some(SEARCH_MAX_CHARS));
    }
}
