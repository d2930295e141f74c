//! Statistics: how often what was asked of which key and what came of it, by hour or day, from sums of the audit log that a task keeps.

mod calendar;
mod counting;

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use super::Service;
use super::refusal::Refusal;
use super::request::{Request, Right};
use crate::domain::audit::Operation;
use crate::domain::ids::{KeyId, ProjectId};
use crate::domain::statistics::{CallResult, Slot};
use crate::domain::text::Invalid;
use crate::store::{CallRange, KeyCalls, NamedKey, OperationCalls};
use calendar::Calendar;
pub use calendar::Period;
pub use counting::{DAYS_KEPT, HOURS_KEPT_DAYS};

/// Calls by what came of them, in the order of [`CallResult::ALL`].
pub type ByResult = [i64; CallResult::ALL.len()];

/// What is asked for, as it was typed: nothing is today, a day, all keys.
#[derive(Debug, Clone, Default)]
pub struct StatisticsQuery {
    /// `day`, `week` or `month`.
    pub by: String,
    /// A date in it, such as `2026-11-28`.
    pub on: String,
    /// The ID of a key, of whose calls alone is told.
    pub key: String,
    /// The most keys that are told apart.
    pub keys_max: usize,
}

/// The calls of a period.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// How long it is.
    pub period: Period,
    /// The date that was asked for.
    pub date: NaiveDate,
    /// Its first date.
    pub first: NaiveDate,
    /// Its last date.
    pub last: NaiveDate,
    /// The date today.
    pub today: NaiveDate,
    /// A date in the period before, if something may be kept of that.
    pub previous: Option<NaiveDate>,
    /// The first date of the period after, if that has begun.
    pub next: Option<NaiveDate>,
    /// The key that all of it is about, if one was asked for.
    pub key: Option<(KeyId, Option<NamedKey>)>,
    /// Its hours or days.
    pub slots: Vec<CallSlot>,
    /// The keys that were named most often.
    pub keys: Vec<(KeyCalls, Option<NamedKey>)>,
    /// All other keys together.
    pub other_keys: ByResult,
    /// Calls that named no key.
    pub without_key: ByResult,
    /// Of that day its hours are not known any more.
    pub hours_are_gone: bool,
    /// Some of what the log held is not counted yet.
    pub is_behind: bool,
}

/// An hour or a day.
#[derive(Debug, Clone)]
pub struct CallSlot {
    /// Its date, or what the clock showed.
    pub begin: SlotBegin,
    /// Calls by operation.
    pub calls: BTreeMap<Operation, ByResult>,
}

/// When a slot began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotBegin {
    /// `02:00`, or `02:00 CET` where that comes twice.
    Hour(String),
    /// A whole day.
    Day(NaiveDate),
}

/// What a query means.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    period: Period,
    date: NaiveDate,
    first: NaiveDate,
    /// The first date of the period after.
    after: NaiveDate,
    today: NaiveDate,
    earliest: NaiveDate,
    key: Option<KeyId>,
    hours_are_gone: bool,
}

impl Wanted {
    fn parse(query: &StatisticsQuery, today: NaiveDate) -> Result<Self, Invalid> {
        let earliest = today.checked_sub_days(Days::new(DAYS_KEPT)).unwrap_or(today);
        let period = match query.by.trim() {
            "" => Period::default(),
            by => Period::parse(by).ok_or(Invalid::new("by", "must be day, week or month"))?,
        };
        let date = match query.on.trim() {
            "" => today,
            on => NaiveDate::parse_from_str(on, "%Y-%m-%d").map_err(|_| Invalid::new("on", "must be a date such as 2026-01-31"))?,
        };
        if !(earliest..=today).contains(&date) {
            return Err(Invalid::new("on", "must be a date of the last three years, and not in the future"));
        }
        let key = match query.key.trim() {
            "" => None,
            key => Some(key.parse().map_err(|_| Invalid::new("key", "must be the ID of a key: 32 hex digits"))?),
        };
        let first = period.first(date);
        let hours_from = today.checked_sub_days(Days::new(HOURS_KEPT_DAYS)).unwrap_or(today);
        let hours_are_gone = period == Period::Day && first < hours_from;
        Ok(Self { period, date, first, after: period.after(first), today, earliest, key, hours_are_gone })
    }

    fn is_by_hour(&self) -> bool {
        self.period == Period::Day && !self.hours_are_gone
    }

    /// The number of the first slot of the period after.
    fn before(&self, calendar: Calendar) -> i64 {
        let hour = self.is_by_hour().then(|| calendar.hours(self.after).first().map(|(slot, _)| slot.parts().1)).flatten();
        hour.unwrap_or_else(|| calendar::number(self.after))
    }

    fn slots(&self, calendar: Calendar) -> Vec<(Slot, SlotBegin)> {
        if self.is_by_hour() {
            return calendar.hours(self.first).into_iter().map(|(slot, clock)| (slot, SlotBegin::Hour(clock))).collect();
        }
        calendar::dates(self.first, self.after).map(|date| (Slot::Day(calendar::number(date)), SlotBegin::Day(date))).collect()
    }
}

impl Service {
    /// The calls of a project in a period. A query that means nothing is refused at its field.
    pub async fn statistics(&self, request: Request, query: StatisticsQuery) -> Result<Statistics, Refusal> {
        self.run(request, Operation::ReadStatistics, Right::Read, move |service, scope| {
            let project = scope.project.id;
            Box::pin(async move {
                let wanted = Wanted::parse(&query, service.calendar().date(service.now()))?;
                // Not as the record's key: that would be one more call of it.
                let of = wanted.key.map(|key| format!(", key {key}")).unwrap_or_default();
                scope.details(format!("{} of {}{of}", wanted.period.as_str(), wanted.first));
                let _turn = service.turn_to_list().await?;
                service.calls(project, wanted, query.keys_max).await
            })
        })
        .await
    }

    async fn calls(&self, project: ProjectId, wanted: Wanted, keys_max: usize) -> Result<Statistics, Refusal> {
        let slots = wanted.slots(self.calendar());
        let Some((from, _)) = slots.first() else {
            return Err(Refusal::unavailable("a period without a slot"));
        };
        let range = CallRange { project, from: *from, before: wanted.before(self.calendar()), key: wanted.key };
        let (behind, limit) = (self.now().minus(counting::LEFT_BEHIND), i64::try_from(keys_max).unwrap_or(i64::MAX));
        let read = move |reader: &mut crate::store::Reader<'_>| {
            let (calls, keys) = (reader.calls_by_operation(&range)?, reader.calls_by_key(&range, limit)?);
            let without_key = if range.key.is_some() { ByResult::default() } else { reader.calls_without_key(&range)? };
            let named: Vec<KeyId> = keys.iter().map(|counted| counted.key).chain(range.key).collect();
            let names = reader.key_names(project, &named)?;
            Ok::<_, Refusal>((calls, keys, without_key, names, reader.is_counting_behind(behind)?))
        };
        let (calls, keys, without_key, names, is_behind) = self.store().read(read).await?;
        let named = |key: &KeyId| names.get(key).cloned();
        let told: Vec<_> = keys.into_iter().map(|counted| (named(&counted.key), counted)).map(|(name, counted)| (counted, name)).collect();
        let told_of = told.iter().fold(without_key, |sum, (counted, _)| plus(sum, counted.calls));
        let all = calls.iter().fold(ByResult::default(), |sum, calls| plus(sum, by_result(calls)));
        Ok(Statistics {
            period: wanted.period,
            date: wanted.date,
            first: wanted.first,
            last: wanted.after.pred_opt().unwrap_or(wanted.first),
            today: wanted.today,
            previous: wanted.first.pred_opt().filter(|date| *date >= wanted.earliest),
            next: Some(wanted.after).filter(|date| *date <= wanted.today),
            key: wanted.key.map(|key| (key, named(&key))),
            slots: call_slots(slots, &calls),
            keys: told,
            other_keys: minus(all, told_of),
            without_key,
            hours_are_gone: wanted.hours_are_gone,
            is_behind,
        })
    }
}

fn plus(mut sum: ByResult, more: ByResult) -> ByResult {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    sum
}

fn minus(mut sum: ByResult, less: ByResult) -> ByResult {
    sum.iter_mut().zip(less).for_each(|(sum, less)| *sum = sum.saturating_sub(less));
    sum
}

fn by_result(calls: &OperationCalls) -> ByResult {
    CallResult::ALL.map(|result| if result == calls.result { calls.calls } else { 0 })
}

fn call_slots(slots: Vec<(Slot, SlotBegin)>, calls: &[OperationCalls]) -> Vec<CallSlot> {
    let nexts: Vec<Option<Slot>> = slots.iter().skip(1).map(|(slot, _)| Some(*slot)).chain([None]).collect();
    slots.into_iter().zip(nexts).map(|((slot, begin), next)| CallSlot { begin, calls: calls_of(slot, next, calls) }).collect()
}

/// What was counted from one slot to the next. Hours that were counted in another zone, before the setting was changed, may have begun amid it.
fn calls_of(slot: Slot, next: Option<Slot>, calls: &[OperationCalls]) -> BTreeMap<Operation, ByResult> {
    let (from, before) = (slot.parts().1, next.map_or(i64::MAX, |next| next.parts().1));
    let mut by_operation = BTreeMap::new();
    for calls in calls.iter().filter(|calls| (from..before).contains(&calls.slot)) {
        let sum = by_operation.entry(calls.operation).or_default();
        *sum = plus(*sum, by_result(calls));
    }
    by_operation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(by: &str, on: &str, key: &str) -> StatisticsQuery {
        StatisticsQuery { by: by.to_owned(), on: on.to_owned(), key: key.to_owned(), keys_max: 10 }
    }

    #[test]
    fn what_means_nothing_is_refused_at_its_field() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 28).unwrap();
        for (by, on, key, field) in [
            ("year", "", "", "by"),
            ("day", "2026-02-30", "", "on"),
            ("day", "28.11.2026", "", "on"),
            ("day", "2026-11-29", "", "on"),
            ("month", "262143-12-31", "", "on"),
            ("day", "-262144-01-01", "", "on"),
            ("week", "2023-11-27", "", "on"),
            ("", "", "xyz", "key"),
            ("", "", "00112233445566778899AABBCCDDEEFF", "key"),
        ] {
            assert_eq!(Wanted::parse(&query(by, on, key), today).map_err(|invalid| invalid.field).err(), Some(field), "{by} {on} {key}");
        }
        for (by, on, first, after) in
            [("", "", "2026-11-28", "2026-11-29"), ("week", " 2026-11-22 ", "2026-11-16", "2026-11-23"), ("month", "2023-11-28", "2023-11-01", "2023-12-01")]
        {
            let wanted = Wanted::parse(&query(by, on, ""), today).unwrap();
            assert_eq!((wanted.first.to_string(), wanted.after.to_string()), (first.to_owned(), after.to_owned()));
        }
        assert!(Wanted::parse(&query("day", "2026-08-01", ""), today).unwrap().hours_are_gone);
        assert!(!Wanted::parse(&query("day", "2026-08-28", ""), today).unwrap().hours_are_gone);
    }
}
