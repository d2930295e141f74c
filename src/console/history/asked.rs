//! What an address asks of the history: filters, a place, a length. All of it is in the address, so that a view can be linked.

use std::net::IpAddr;

use chrono::{Datelike as _, Duration, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _};
use chrono_tz::Tz;

use super::super::form::Form;
use super::super::text::ENGLISH;
use crate::domain::audit::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::history::{HistoryFilter, HistoryPlace, HistoryScope, Outcome, Seek, Who};
use crate::domain::ids::ProjectId;
use crate::domain::listing::ListQuery;
use crate::domain::text::Invalid;
use crate::service::Refusal;

/// The fields of the filter, as they are named in addresses.
const FILTERS: [&str; 9] = ["from", "to", "operation", "key", "keyStore", "who", "address", "result", "project"];
/// The most characters of a field that are looked at: more than the longest value has.
const VALUE_MAX_CHARS: usize = 200;
/// The value of the project's field for what belongs to none.
pub(super) const NO_PROJECT: &str = "none";

/// What an address says.
#[derive(Debug)]
pub(super) struct Asked {
    /// Fields of the filter that say something, in their order.
    filters: Vec<(&'static str, String)>,
    older: Option<String>,
    newer: Option<String>,
    pub(super) size: u32,
}

/// A date and time that somebody typed, in the zone of the console.
#[derive(Debug, Clone, Copy)]
struct Moment {
    local: NaiveDateTime,
    /// How much time the text names: a day, a minute, a second.
    length: Duration,
}

impl Moment {
    fn parse(text: &str) -> Option<Self> {
        let moment = |local, length| Self { local, length };
        let with_time = |format, length| NaiveDateTime::parse_from_str(text, format).ok().map(|local| moment(local, length));
        let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|day| moment(day.and_time(NaiveTime::MIN), Duration::days(1)));
        let found = with_time("%Y-%m-%dT%H:%M:%S", Duration::seconds(1)).or_else(|| with_time("%Y-%m-%dT%H:%M", Duration::minutes(1))).or_else(day)?;
        (1970..=9999).contains(&found.local.year()).then_some(found)
    }

    /// When it is. An hour that a clock shows twice begins with the first time; in one that it leaves out, the clock is an hour ahead.
    fn begins(local: NaiveDateTime, zone: Tz, last: bool) -> Option<Timestamp> {
        let found = |local: NaiveDateTime| {
            let both = zone.from_local_datetime(&local);
            if last { both.latest() } else { both.earliest() }
        };
        let at = found(local).or_else(|| found(local.checked_add_signed(Duration::hours(1))?))?;
        Some(Timestamp::from_micros(at.timestamp_micros()))
    }
}

impl Asked {
    /// Of the pairs of a query; of several of a name the first.
    pub(super) fn new(pairs: &[(String, String)]) -> Self {
        let value = |name: &str| {
            let value = pairs.iter().find(|(known, _)| known == name)?.1.trim();
            Some(value.chars().take(VALUE_MAX_CHARS).collect::<String>()).filter(|value| !value.is_empty())
        };
        Self {
            filters: FILTERS.into_iter().filter_map(|name| Some((name, value(name)?))).collect(),
            older: value("older"),
            newer: value("newer"),
            size: ListQuery::new("", "", false, &value("size").unwrap_or_default(), "").size,
        }
    }

    fn value(&self, field: &str) -> Option<&str> {
        self.filters.iter().find(|(known, _)| *known == field).map(|(_, value)| value.as_str())
    }

    /// How many filters there are.
    pub(super) fn count(&self) -> usize {
        self.filters.len()
    }

    /// The form with what was typed.
    pub(super) fn form(&self) -> Form {
        Form::showing(self.filters.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// The filter, or the form with what is wrong.
    pub(super) fn filter(&self, zone: Tz) -> Result<HistoryFilter, Box<Form>> {
        let mut form = self.form();
        let mut right = true;
        let mut note = |invalid: Invalid| {
            right = false;
            if let Ok(noted) = std::mem::take(&mut form).refuse(Refusal::Field(invalid)) {
                form = noted;
            }
        };
        let t = &ENGLISH.history;
        macro_rules! field {
            ($name:literal, $parse:expr) => {
                self.value($name).and_then(|text| $parse(text).map_err(&mut note).ok())
            };
        }
        let moment = |field: &'static str| move |text: &str| Moment::parse(text).ok_or_else(|| Invalid::new(field, t.wrong_time));
        let from = field!("from", moment("from")).and_then(|moment| Moment::begins(moment.local, zone, false));
        // Up to the end of what was typed.
        let before = field!("to", moment("to")).and_then(|moment| Moment::begins(moment.local.checked_add_signed(moment.length)?, zone, true));
        let operation = field!("operation", |text| Operation::parse(text).ok_or_else(|| Invalid::new("operation", t.wrong_operation)));
        let key = field!("key", |text| HistoryFilter::parse_key("key", text));
        let key_store = field!("keyStore", |text| HistoryFilter::parse_key_store("keyStore", text));
        let who = field!("who", |text| Who::parse("who", text));
        let address = field!("address", |text: &str| text.parse::<IpAddr>().map_err(|_| Invalid::new("address", t.wrong_address)));
        let outcome = field!("result", |text| Outcome::parse("result", text));
        if from.zip(before).is_some_and(|(from, before)| before <= from) {
            note(Invalid::new("to", t.wrong_span));
        }
        // The log has IPv4 addresses as such.
        let address = address.map(|address| address.to_canonical());
        if right { Ok(HistoryFilter { from, before, operation, key, key_store, who, address, outcome }) } else { Err(Box::new(form)) }
    }

    /// Whose records, at the organization's page.
    pub(super) fn scope(&self) -> Result<HistoryScope, Invalid> {
        match self.value("project") {
            None => Ok(HistoryScope::Everything),
            Some(NO_PROJECT) => Ok(HistoryScope::NoProject),
            Some(id) => id.parse().map(|id| HistoryScope::Project(ProjectId(id))).map_err(|_| Invalid::new("project", ENGLISH.history.wrong_project)),
        }
    }

    /// From where; `None` where the address names no place.
    pub(super) fn seek(&self) -> Option<Seek> {
        match (&self.older, &self.newer) {
            (None, None) => Some(Seek::Newest),
            (Some(place), _) => place.parse().ok().map(Seek::Older),
            (None, Some(place)) => place.parse().ok().map(Seek::Newer),
        }
    }

    /// The query of the same filters; `with` besides.
    pub(super) fn query(&self, with: &[(&'static str, String)]) -> String {
        let pairs: Vec<_> = self.filters.iter().chain(with).collect();
        serde_urlencoded::to_string(pairs).unwrap_or_default()
    }

    /// The query of the same page at another place.
    pub(super) fn query_at(&self, way: Option<(&'static str, HistoryPlace)>) -> String {
        let mut with = vec![("size", self.size.to_string())];
        with.extend(way.map(|(word, place)| (word, place.to_string())));
        self.query(&with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Asked {
        Asked::new(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
    }

    fn micros(rfc3339: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(rfc3339).expect("a date").timestamp_micros()
    }

    #[test]
    fn times_are_in_the_zone_and_the_last_one_counts_as_a_whole() {
        let span = |from, to| {
            let filter = asked(&[("from", from), ("to", to)]).filter(chrono_tz::Europe::Berlin).expect("a filter");
            [filter.from, filter.before].map(|at| at.expect("a time").micros())
        };
        assert_eq!(span("2025-01-25T12:00", "2025-01-25T12:00"), [micros("2025-01-25T11:00:00Z"), micros("2025-01-25T11:01:00Z")]);
        assert_eq!(span("2025-01-25", "2025-07-01"), [micros("2025-01-24T23:00:00Z"), micros("2025-07-01T22:00:00Z")]);
        // 02:30 comes twice on that day, and not at all on the other.
        assert_eq!(span("2025-10-26T02:30", "2025-10-26T02:30:00"), [micros("2025-10-26T00:30:00Z"), micros("2025-10-26T01:30:01Z")]);
        assert_eq!(span("2025-03-30T02:30", "2025-03-30T03:30"), [micros("2025-03-30T01:30:00Z"), micros("2025-03-30T01:31:00Z")]);
    }

    #[test]
    fn whatever_is_wrong_is_told_at_its_field_all_at_once() {
        let wrong = [
            ("from", "yesterday"),
            ("to", "10000-01-01"),
            ("operation", "encrypt"),
            ("key", "a\u{0}b"),
            ("keyStore", "\u{7}"),
            ("who", "<b>"),
            ("address", "10.0.0.0/8"),
            ("result", "42"),
        ];
        let form = asked(&wrong).filter(Tz::UTC).expect_err("a form");
        for (field, value) in wrong {
            assert!(form.error(field).is_some(), "{field}");
            assert_eq!(form.value(field), value);
        }
        assert!(asked(&[("from", "2025-01-02"), ("to", "2025-01-01")]).filter(Tz::UTC).expect_err("a form").error("to").is_some());
        assert!(asked(&[("project", "x")]).scope().is_err());
        assert_eq!(asked(&[("older", "x")]).seek(), None);
    }

    #[test]
    fn addresses_hold_the_filters_and_nothing_empty() {
        let asked =
            asked(&[("who", " kim "), ("key", ""), ("key", "second"), ("who", "other"), ("size", "50"), ("nonsense", "1"), ("address", "::ffff:10.0.0.1")]);
        let place = HistoryPlace { at: Timestamp::from_micros(5), position: 7 };
        assert_eq!(asked.query_at(Some(("older", place))), "who=kim&address=%3A%3Affff%3A10.0.0.1&size=50&older=5.7");
        assert_eq!(asked.filter(Tz::UTC).expect("a filter").address, Some(IpAddr::from([10, 0, 0, 1])));
    }
}
