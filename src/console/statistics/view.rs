//! What a page of statistics shows, from what was counted.

use std::collections::BTreeMap;

use super::Asked;
use crate::console::chart::{Bar, Chart, Size};
use crate::console::history::operation_in_words;
use crate::console::text::ENGLISH;
use crate::domain::audit::Operation;
use crate::service::{ByResult, KeyCalls, NamedKey, Period, SlotBegin, Statistics};

/// How many operations have a pattern of their own; all others share one.
const OPERATIONS_APART: usize = super::PATTERNS.len() - 1;

/// The columns of the files.
pub(super) const OPERATION_COLUMNS: [&str; 6] = ["begin", "operation", "success", "refused", "failed", "total"];
pub(super) const KEY_COLUMNS: [&str; 6] = ["keyId", "keyName", "success", "refused", "failed", "total"];

/// A period one can go to.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) label: &'static str,
    pub(super) address: String,
    pub(super) is_current: bool,
}

/// A row of a table.
#[derive(Debug)]
pub(super) struct Row {
    /// The time, or the key.
    pub(super) of: String,
    pub(super) operation: String,
    /// By result, and in all.
    pub(super) figures: [String; 4],
    /// The same page for that key alone.
    pub(super) only: Option<String>,
    /// The key's own page.
    pub(super) details: Option<String>,
}

/// All that the page shows.
#[derive(Debug)]
pub(super) struct View {
    /// `2026-11-28`, `2026-11-23 – 2026-11-29`, `2026-11`.
    pub(super) heading: String,
    pub(super) periods: Vec<Choice>,
    pub(super) earlier: Option<String>,
    pub(super) later: Option<String>,
    /// Today's, if that isn't shown.
    pub(super) today: Option<String>,
    pub(super) date: String,
    pub(super) latest: String,
    /// Success, refused, failed, all.
    pub(super) totals: [String; 4],
    pub(super) is_empty: bool,
    pub(super) operations: Vec<String>,
    pub(super) by_operation: Vec<Chart>,
    pub(super) by_result: Vec<Chart>,
    pub(super) by_key: Vec<Chart>,
    pub(super) slots: Vec<Row>,
    pub(super) keys: Vec<Row>,
    /// The name or ID of the only key, and the page of all.
    pub(super) only: Option<(String, String)>,
    /// The query that the files are asked for with.
    pub(super) query: String,
    pub(super) hours_are_gone: bool,
    pub(super) is_behind: bool,
}

/// `1 234 567`: the spaces are narrow and don't break a line.
pub(super) fn figure(number: i64) -> String {
    let digits = number.to_string();
    let mut parts = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            parts.push('\u{202f}');
        }
        parts.push(digit);
    }
    parts
}

fn sum(calls: ByResult) -> i64 {
    calls.iter().fold(0, |sum: i64, calls| sum.saturating_add(*calls))
}

fn with_total(calls: ByResult) -> [i64; 4] {
    let [success, refused, failed] = calls;
    [success, refused, failed, sum(calls)]
}

fn add(to: &mut ByResult, calls: ByResult) {
    to.iter_mut().zip(calls).for_each(|(sum, calls)| *sum = sum.saturating_add(calls));
}

/// What a table calls a time.
fn time(begin: &SlotBegin) -> String {
    match begin {
        SlotBegin::Hour(clock) => clock.clone(),
        SlotBegin::Day(date) => date.to_string(),
    }
}

/// What a chart calls it, where there is little room: `02:00`, `28`.
fn short_time(begin: &SlotBegin) -> String {
    match begin {
        SlotBegin::Hour(clock) => clock.split(' ').next().unwrap_or_default().to_owned(),
        SlotBegin::Day(date) => date.format("%d").to_string(),
    }
}

/// The name of a key that is known, the ID of one that isn't.
fn key_label(counted: &KeyCalls, named: Option<&NamedKey>) -> String {
    named.map_or_else(|| counted.key.to_string(), |named| named.name.clone())
}

/// The operations of a period, those asked for most often first, with what was asked.
fn operations(found: &Statistics) -> Vec<(Operation, i64)> {
    let mut sums = BTreeMap::<Operation, i64>::new();
    for (operation, calls) in found.slots.iter().flat_map(|slot| &slot.calls) {
        let total = sums.entry(*operation).or_default();
        *total = total.saturating_add(sum(*calls));
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(operation, calls)| (std::cmp::Reverse(*calls), *operation));
    sums
}

/// Bars by operation; the last part of each is of all operations that have no pattern of their own.
fn operation_bars(found: &Statistics, apart: &[Operation]) -> Vec<Bar> {
    let bar = |slot: &crate::service::CallSlot| {
        let of = |operation: &Operation| slot.calls.get(operation).map_or(0, |calls| sum(*calls));
        let others = slot.calls.iter().filter(|(operation, _)| !apart.contains(operation)).fold(0, |all: i64, (_, calls)| all.saturating_add(sum(*calls)));
        Bar { label: short_time(&slot.begin), values: apart.iter().map(of).chain([others]).collect() }
    };
    found.slots.iter().map(bar).collect()
}

fn result_bars(found: &Statistics) -> Vec<Bar> {
    let bar = |slot: &crate::service::CallSlot| {
        let mut all = ByResult::default();
        slot.calls.values().for_each(|calls| add(&mut all, *calls));
        Bar { label: short_time(&slot.begin), values: all.to_vec() }
    };
    found.slots.iter().map(bar).collect()
}

/// Keys, then all others, then what named none; those that are nothing are left out.
fn key_calls(found: &Statistics) -> Vec<(String, ByResult)> {
    let keys = found.keys.iter().map(|(counted, named)| (key_label(counted, named.as_ref()), counted.calls));
    let rest = [(ENGLISH.statistics.other_keys, found.other_keys), (ENGLISH.statistics.without_key, found.without_key)];
    keys.chain(rest.map(|(label, calls)| (label.to_owned(), calls)).into_iter().filter(|(_, calls)| sum(*calls) > 0)).collect()
}

/// The lines of a file by time and operation.
pub(super) fn operation_lines(found: &Statistics) -> impl Iterator<Item = [String; 6]> {
    found.slots.iter().flat_map(move |slot| {
        let begin = match &slot.begin {
            SlotBegin::Hour(clock) => format!("{} {clock}", found.first),
            SlotBegin::Day(date) => date.to_string(),
        };
        slot.calls.iter().map(move |(operation, calls)| {
            let [success, refused, failed, total] = with_total(*calls).map(|calls| calls.to_string());
            [begin.clone(), operation.as_str().to_owned(), success, refused, failed, total]
        })
    })
}

/// The lines of a file by key.
pub(super) fn key_lines(found: &Statistics) -> impl Iterator<Item = [String; 6]> {
    let rest = [(ENGLISH.statistics.other_keys, found.other_keys), (ENGLISH.statistics.without_key, found.without_key)];
    let keys = found.keys.iter().map(|(counted, named)| {
        let name = named.as_ref().map(|named| named.name.clone()).unwrap_or_default();
        (counted.key.to_string(), name, counted.calls)
    });
    let rest = rest.into_iter().filter(|(_, calls)| sum(*calls) > 0).map(|(label, calls)| (String::new(), label.to_owned(), calls));
    keys.chain(rest).map(|(id, name, calls)| {
        let [success, refused, failed, total] = with_total(calls).map(|calls| calls.to_string());
        [id, name, success, refused, failed, total]
    })
}

fn slot_rows(found: &Statistics) -> Vec<Row> {
    let row = |begin: &SlotBegin, operation: &Operation, calls: &ByResult| Row {
        of: time(begin),
        operation: operation_in_words(*operation),
        figures: with_total(*calls).map(figure),
        only: None,
        details: None,
    };
    found.slots.iter().flat_map(|slot| slot.calls.iter().map(|(operation, calls)| row(&slot.begin, operation, calls))).collect()
}

/// Where the pages of one period and key are.
struct Links<'a> {
    path: &'a str,
    base: String,
    period: Period,
    on: String,
    key: String,
}

impl Links<'_> {
    fn to(&self, period: Period, on: &str, key: &str) -> String {
        let asked = Asked { by: period.as_str().to_owned(), on: on.to_owned(), key: key.to_owned() };
        format!("{}?{}", self.path, asked.address())
    }

    fn on(&self, on: &str) -> String {
        self.to(self.period, on, &self.key)
    }

    fn key_rows(&self, found: &Statistics) -> Vec<Row> {
        let rest = key_calls(found).into_iter().skip(found.keys.len());
        let rest = rest.map(|(of, calls)| Row { of, operation: String::new(), figures: with_total(calls).map(figure), only: None, details: None });
        let keys = found.keys.iter().map(|(counted, named)| Row {
            of: key_label(counted, named.as_ref()),
            operation: String::new(),
            figures: with_total(counted.calls).map(figure),
            only: self.key.is_empty().then(|| self.to(self.period, &self.on, &counted.key.to_string())),
            details: named.as_ref().filter(|named| named.is_visible).map(|named| format!("{}/key-stores/{}/keys/{}", self.base, named.key_store, counted.key)),
        });
        keys.chain(rest).collect()
    }

    fn periods(&self) -> Vec<Choice> {
        let label = |period| match period {
            Period::Day => ENGLISH.statistics.day,
            Period::Week => ENGLISH.statistics.week,
            Period::Month => ENGLISH.statistics.month,
        };
        let choice = |period| Choice { label: label(period), address: self.to(period, &self.on, &self.key), is_current: period == self.period };
        Period::ALL.map(choice).into()
    }
}

impl View {
    pub(super) fn new(path: &str, base: String, found: Statistics) -> Self {
        let key = found.key.as_ref().map(|(key, _)| key.to_string()).unwrap_or_default();
        let links = Links { path, base, period: found.period, on: found.date.to_string(), key };
        let all = found.slots.iter().flat_map(|slot| slot.calls.values()).fold(ByResult::default(), |mut sum, calls| {
            add(&mut sum, *calls);
            sum
        });
        let ranked = operations(&found);
        let apart: Vec<_> = ranked.iter().take(OPERATIONS_APART).map(|(operation, _)| *operation).collect();
        let others = (ranked.len() > apart.len()).then(|| ENGLISH.statistics.other_operations.to_owned());
        let (by_operation, by_result) = (operation_bars(&found, &apart), result_bars(&found));
        let by_key: Vec<_> = key_calls(&found).into_iter().map(|(label, calls)| Bar { label, values: calls.to_vec() }).collect();
        let both = |bars: &[Bar]| [Size::WIDE, Size::NARROW].map(|size| Chart::standing(size, bars)).into();
        let shows_today = (found.first..=found.last).contains(&found.today);
        let only = found.key.as_ref().map(|(key, named)| {
            let label = named.as_ref().map_or_else(|| key.to_string(), |named| named.name.clone());
            (label, links.to(links.period, &links.on, ""))
        });
        Self {
            heading: heading(&found),
            periods: links.periods(),
            earlier: found.previous.map(|date| links.on(&date.to_string())),
            later: found.next.map(|date| links.on(&date.to_string())),
            today: (!shows_today).then(|| links.on("")),
            date: links.on.clone(),
            latest: found.today.to_string(),
            totals: with_total(all).map(figure),
            is_empty: sum(all) == 0,
            // Where none is left over, no part is of the last pattern.
            operations: apart.iter().map(|operation| operation_in_words(*operation)).chain(others).collect(),
            by_operation: both(&by_operation),
            by_result: both(&by_result),
            by_key: [Size::WIDE, Size::NARROW].map(|size| Chart::lying(size, &by_key, figure)).into(),
            slots: slot_rows(&found),
            keys: links.key_rows(&found),
            only,
            query: Asked { by: links.period.as_str().to_owned(), on: links.on.clone(), key: links.key.clone() }.address(),
            hours_are_gone: found.hours_are_gone,
            is_behind: found.is_behind,
        }
    }

    /// The words beside the patterns of results.
    pub(super) fn results(&self) -> [&'static str; 3] {
        [ENGLISH.statistics.success, ENGLISH.statistics.refused, ENGLISH.statistics.failed]
    }
}

fn heading(found: &Statistics) -> String {
    match found.period {
        Period::Day => found.first.to_string(),
        Period::Week => format!("{} – {}", found.first, found.last),
        Period::Month => found.first.format("%Y-%m").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_groups_of_three() {
        assert_eq!([0, 12, 123, 1_234, 1_234_567].map(figure), ["0", "12", "123", "1\u{202f}234", "1\u{202f}234\u{202f}567"]);
    }
}
