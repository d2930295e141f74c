//! Hours, days, weeks and months as the clocks in a zone have them: a day has 23 or 25 hours where these are put forward or back.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;

use crate::domain::clock::Timestamp;
use crate::domain::statistics::{QUARTER_MINUTES, Slot};

/// The most quarters of an hour that a day may have: no clock was ever put back by more than some hours.
const QUARTERS_MAX: usize = 120;

/// How long a time the statistics are shown of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Period {
    /// The hours of a day.
    #[default]
    Day,
    /// The days of a week, from Monday.
    Week,
    /// The days of a month.
    Month,
}

impl Period {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// The word in an address.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The period that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == text)
    }

    /// The first date of the one that `date` is in.
    pub(super) fn first(self, date: NaiveDate) -> NaiveDate {
        let before = match self {
            Self::Day => 0,
            Self::Week => date.weekday().num_days_from_monday(),
            Self::Month => date.day0(),
        };
        date.checked_sub_days(Days::new(u64::from(before))).unwrap_or(date)
    }

    /// The first date of the next one.
    pub(super) fn after(self, first: NaiveDate) -> NaiveDate {
        let next = match self {
            Self::Day => first.checked_add_days(Days::new(1)),
            Self::Week => first.checked_add_days(Days::new(7)),
            Self::Month => first.checked_add_months(Months::new(1)),
        };
        next.unwrap_or(first)
    }
}

/// The number of a date in the database.
pub(super) fn number(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

/// The dates from one to another, that one left out.
pub(super) fn dates(first: NaiveDate, after: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    first.iter_days().take_while(move |date| *date < after)
}

/// The clocks of a zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar {
    zone: Tz,
}

impl Calendar {
    /// Of that zone.
    pub(super) const fn new(zone: Tz) -> Self {
        Self { zone }
    }

    fn local(self, at: Timestamp) -> DateTime<Tz> {
        DateTime::<Utc>::from_timestamp_micros(at.micros()).unwrap_or_default().with_timezone(&self.zone)
    }

    /// The date at that time.
    pub(super) fn date(self, at: Timestamp) -> NaiveDate {
        self.local(at).date_naive()
    }

    /// The hour that a time is in. Where clocks are put back, an hour that comes twice is two.
    pub(super) fn hour(self, at: Timestamp) -> Slot {
        let local = self.local(at);
        let past = TimeDelta::minutes(local.minute().into()) + TimeDelta::seconds(local.second().into());
        let begin = local.timestamp_micros().saturating_sub(past.num_seconds().saturating_mul(1_000_000));
        Slot::Hour(Timestamp::from_micros(begin.saturating_sub(local.timestamp_subsec_micros().into())))
    }

    /// The day that a time is in.
    pub(super) fn day(self, at: Timestamp) -> Slot {
        Slot::Day(number(self.date(at)))
    }

    /// The quarters of an hour of a date. It begins at midnight, or, where the clocks skip that, with what follows.
    fn quarters(self, date: NaiveDate) -> impl Iterator<Item = Timestamp> {
        let quarter = QUARTER_MINUTES.saturating_mul(60_000_000);
        // Far enough before: no zone is further from UTC.
        let before = self.zone.from_utc_datetime(&date.and_time(NaiveTime::MIN)).timestamp_micros().saturating_sub(quarter.saturating_mul(64));
        let all = (0..64 + QUARTERS_MAX + 64).map(move |count| i64::try_from(count).unwrap_or_default().saturating_mul(quarter).saturating_add(before));
        all.map(Timestamp::from_micros).filter(move |at| self.date(*at) == date)
    }

    /// The hours of a date, with what the clocks show: `02:00`, and with the zone's abbreviation where that comes twice.
    pub(super) fn hours(self, date: NaiveDate) -> Vec<(Slot, String)> {
        let mut hours: Vec<(Slot, String, String)> = Vec::new();
        for quarter in self.quarters(date) {
            let (slot, local) = (self.hour(quarter), self.local(quarter));
            if hours.last().is_none_or(|(last, ..)| *last != slot) {
                hours.push((slot, local.format("%H:00").to_string(), local.format("%Z").to_string()));
            }
        }
        let twice = |clock: &str| hours.iter().filter(|(_, other, _)| other == clock).count() > 1;
        hours.iter().map(|(slot, clock, zone)| (*slot, if twice(clock) { format!("{clock} {zone}") } else { clock.clone() })).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::{America, Asia, Australia, Europe, UTC};
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<DateTime<Utc>>().unwrap().timestamp_micros())
    }

    fn labels(zone: Tz, day: &str) -> Vec<String> {
        Calendar::new(zone).hours(date(day)).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn a_day_has_the_hours_that_its_clocks_show() {
        assert_eq!(labels(UTC, "2026-03-29").len(), 24);
        // Forward: 02:00 is skipped.
        let spring = labels(Europe::Berlin, "2026-03-29");
        assert_eq!((spring.len(), spring[2].as_str()), (23, "03:00"));
        // Back: 02:00 comes twice.
        let autumn = labels(Europe::Berlin, "2026-10-25");
        assert_eq!((autumn.len(), &autumn[1..4]), (25, &["01:00".to_owned(), "02:00 CEST".to_owned(), "02:00 CET".to_owned()][..]));
        // Midnight itself is skipped.
        let santiago = labels(America::Santiago, "2026-09-06");
        assert_eq!((santiago.len(), santiago[0].as_str()), (23, "01:00"));
        // By half an hour: neither is lost.
        assert_eq!(labels(Australia::Lord_Howe, "2026-10-04").len(), 24);
        assert_eq!(labels(Australia::Lord_Howe, "2026-04-05").len(), 25);
        assert_eq!(labels(Asia::Kathmandu, "2026-01-01").len(), 24);
    }

    #[test]
    fn a_call_is_in_the_hour_and_on_the_date_that_the_clocks_showed() {
        let kathmandu = Calendar::new(Asia::Kathmandu);
        // 5:45 ahead.
        assert_eq!(kathmandu.hour(at("2026-01-01T18:14:59.999999Z")), Slot::Hour(at("2026-01-01T17:15:00Z")));
        assert_eq!(kathmandu.date(at("2026-01-01T18:14:59.999999Z")), date("2026-01-01"));
        assert_eq!(kathmandu.date(at("2026-01-01T18:15:00Z")), date("2026-01-02"));
        assert_eq!(kathmandu.day(at("2026-01-01T18:15:00Z")), Slot::Day(20_455));
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_their_first() {
        assert_eq!(Period::Week.first(date("2026-11-29")), date("2026-11-23"));
        assert_eq!(Period::Week.first(date("2026-11-23")), date("2026-11-23"));
        assert_eq!(Period::Month.first(date("2028-02-29")), date("2028-02-01"));
        assert_eq!(Period::Month.after(date("2028-02-01")), date("2028-03-01"));
        assert_eq!(Period::Week.after(date("2026-12-28")), date("2027-01-04"));
        assert_eq!(dates(date("2028-02-01"), date("2028-03-01")).count(), 29);
        assert_eq!(Period::ALL.map(|period| Period::parse(period.as_str())), Period::ALL.map(Some));
    }

    proptest! {
        /// Whatever the zone and the time: its hour is among those of its date, once.
        #[test]
        fn every_time_has_its_place(zone in prop::sample::select(&chrono_tz::TZ_VARIANTS[..]), seconds in 946_684_800_i64..4_102_444_800) {
            let (calendar, at) = (Calendar::new(zone), Timestamp::from_micros(seconds * 1_000_000 + 999_999));
            let quarter = Timestamp::from_micros(at.micros().div_euclid(QUARTER_MINUTES * 60_000_000) * QUARTER_MINUTES * 60_000_000);
            // What is summed up is a quarter, and that is in the same hour.
            prop_assert_eq!((calendar.hour(at), calendar.day(at)), (calendar.hour(quarter), calendar.day(quarter)));
            let hours = calendar.hours(calendar.date(at));
            prop_assert_eq!(hours.iter().filter(|(slot, _)| *slot == calendar.hour(at)).count(), 1);
            prop_assert!((20..=26).contains(&hours.len()) && hours.is_sorted_by_key(|(slot, _)| *slot), "{:?}", hours);
            let mut clocks: Vec<_> = hours.iter().map(|(_, label)| label).collect();
            clocks.dedup();
            prop_assert_eq!(clocks.len(), hours.len());
        }
    }
}
