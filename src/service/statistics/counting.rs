//! Keeping the sums of the statistics: every node sums up what it wrote itself, and what others have left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Days;

use super::calendar::{Calendar, number};
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::ClockState;
use crate::domain::statistics::{CallGroup, CallKind, Slot};
use crate::service::Service;
use crate::service::refusal::Refusal;
use crate::store::{CallCount, StoreError, UncountedChain};

/// How many days the sums by hour are kept.
pub const HOURS_KEPT_DAYS: u64 = 92;
/// How many days the sums by day are kept.
pub const DAYS_KEPT: u64 = 1_096;

/// How long another node has for what it wrote, before it is taken for gone.
pub(super) const LEFT_BEHIND: Duration = Duration::from_secs(60);
/// The most pieces that one run sums up: a run must not hold up the end of the process.
const PIECES_MAX: usize = 64;
/// The most records of a piece.
const RECORDS_MAX: i64 = 8_192;
/// How many records a piece has at least, if there are as many. Each makes two rows at most.
const RECORDS_MIN: i64 = 256;
/// The most rows that a piece adds to: everybody's records wait meanwhile.
const ROWS_MAX: usize = 512;
/// The most rows that are dropped at a time.
const FORGOTTEN_AT_ONCE: i64 = 512;
/// The most times that one run drops some.
const FORGET_MAX: usize = 64;

/// The first slots that are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Horizon {
    pub(super) hour: Slot,
    pub(super) day: Slot,
}

impl Horizon {
    fn at(calendar: Calendar, now: Timestamp) -> Self {
        let date = |days| calendar.date(now).checked_sub_days(Days::new(days)).unwrap_or_default();
        let hour = calendar.hours(date(HOURS_KEPT_DAYS)).first().map_or(Slot::Hour(now), |(slot, _)| *slot);
        Self { hour, day: Slot::Day(number(date(DAYS_KEPT))) }
    }
}

/// What groups of calls add to which sums, in order; to those that are over only where nobody can tell which these are (no `horizon`).
fn counts(calendar: Calendar, horizon: Option<Horizon>, groups: &[CallGroup]) -> Vec<CallCount> {
    let mut sums = BTreeMap::<(Slot, CallKind), i64>::new();
    for group in groups {
        let (hour, day) = (calendar.hour(group.quarter), calendar.day(group.quarter));
        for slot in kept(horizon, hour, day).into_iter().flatten() {
            let sum = sums.entry((slot, group.kind)).or_default();
            *sum = sum.saturating_add(group.calls);
        }
    }
    sums.into_iter().map(|((slot, kind), calls)| CallCount { slot, kind, calls }).collect()
}

/// The slots that are kept.
fn kept(horizon: Option<Horizon>, hour: Slot, day: Slot) -> [Option<Slot>; 2] {
    [Some(hour).filter(|hour| horizon.is_none_or(|horizon| *hour >= horizon.hour)), Some(day).filter(|day| horizon.is_none_or(|horizon| *day >= horizon.day))]
}

impl Service {
    pub(super) fn calendar(&self) -> Calendar {
        Calendar::new(self.0.settings.zone)
    }

    /// Adds what is new in the audit log to the sums, a bounded piece of it; answers how many records. Safe on any number of nodes at once.
    pub async fn count_calls(&self) -> Result<i64, Refusal> {
        let now = self.now();
        // By a wrong clock what is new may seem to be over. What is added for nothing is dropped later.
        let is_right = self.look_at_clock().await? == ClockState::Right;
        let horizon = is_right.then(|| Horizon::at(self.calendar(), now));
        let chains = self.store().read::<_, Refusal, _>(|reader| Ok(reader.uncounted_chains()?)).await?;
        let (node, left) = (&self.0.settings.node, now.minus(LEFT_BEHIND));
        let mut run = Run { horizon, pieces: 0, records: 0, at_once: RECORDS_MAX };
        // The newest first: what is going on now doesn't wait for what the log held long ago.
        for chain in chains.iter().filter(|chain| chain.node == *node || chain.oldest < left) {
            self.count_chain(chain, &mut run).await?;
        }
        Ok(run.records)
    }

    /// Sums a chain up to where its head was, or as far as the run goes.
    async fn count_chain(&self, chain: &UncountedChain, run: &mut Run) -> Result<(), Refusal> {
        let (calendar, number, mut counted) = (self.calendar(), chain.number, chain.counted);
        while counted < chain.head && run.pieces < PIECES_MAX {
            run.pieces += 1;
            let through = chain.head.min(counted.saturating_add(run.at_once));
            let groups = match self.store().read(move |reader| reader.call_groups(number, counted, through)).await {
                Err(error @ StoreError::Corrupt { .. }) => {
                    // Such as what a newer version wrote. The other chains don't wait for it.
                    tracing::error!(chain = number, from = counted + 1, through, %error, "records can't be summed up");
                    return Ok(());
                }
                read => read?,
            };
            let counts = counts(calendar, run.horizon, &groups);
            if counts.len() > ROWS_MAX && run.at_once > RECORDS_MIN {
                run.at_once = (run.at_once / 2).max(RECORDS_MIN);
                continue;
            }
            let few = counts.len() < ROWS_MAX / 4;
            let added = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.count_calls(number, counted, through, &counts)?)).await?;
            if !added {
                // Another node is at it.
                return Ok(());
            }
            run.records = run.records.saturating_add(through.saturating_sub(counted));
            counted = through;
            if few {
                run.at_once = run.at_once.saturating_mul(2).min(RECORDS_MAX);
            }
        }
        Ok(())
    }

    /// Drops sums that are older than is kept, a bounded number of them; none while the clock may be wrong.
    pub async fn forget_calls(&self) -> Result<(), Refusal> {
        self.require_right_clock().await?;
        let Horizon { hour, day } = Horizon::at(self.calendar(), self.now());
        let mut left = FORGET_MAX;
        for of in [hour, day] {
            let projects = self.store().read::<_, Refusal, _>(move |reader| Ok(reader.projects_with_calls_before(of)?)).await?;
            for project in projects {
                let mut full = true;
                while full && left > 0 {
                    left -= 1;
                    let dropped = self.store().change::<_, Refusal, _>(move |tx| Ok(tx.forget_calls(project, of, FORGOTTEN_AT_ONCE)?)).await?;
                    full = i64::try_from(dropped).is_ok_and(|dropped| dropped >= FORGOTTEN_AT_ONCE);
                }
            }
        }
        Ok(())
    }
}

/// How far a run is.
struct Run {
    /// `None` while the clock isn't believed.
    horizon: Option<Horizon>,
    pieces: usize,
    records: i64,
    /// How many records the next piece has.
    at_once: i64,
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe;

    use super::*;
    use crate::domain::audit::Operation;
    use crate::domain::ids::ProjectId;
    use crate::domain::statistics::CallResult;

    #[test]
    fn quarters_come_into_their_hour_and_day_unless_those_are_over() {
        let (calendar, quarter) = (Calendar::new(Europe::Berlin), 900_000_000);
        let kind = CallKind { project: ProjectId(1), operation: Operation::Encrypt, result: CallResult::Success, key: None };
        let now = Timestamp::from_micros(1_790_000_000_000_000 / quarter * quarter);
        let horizon = Horizon::at(calendar, now);
        let group = |quarters: i64, calls| CallGroup { quarter: Timestamp::from_micros(now.micros() - quarters * quarter), kind, calls };
        let added = |groups: &[CallGroup]| counts(calendar, Some(horizon), groups).into_iter().map(|count| (count.slot, count.calls)).collect::<Vec<_>>();
        // 16:00 in Berlin less a quarter: one hour, and less five: another one.
        let (last, before) = (calendar.hour(group(1, 0).quarter), calendar.hour(group(5, 0).quarter));
        assert_eq!(added(&[group(1, 3), group(2, 4), group(5, 9)]), [(calendar.day(now), 16), (before, 9), (last, 7)]);
        let days = |days: i64| days * 96;
        assert_eq!(added(&[group(days(100), 5)]), [(calendar.day(group(days(100), 0).quarter), 5)]);
        assert_eq!(added(&[group(days(1_100), 5)]), []);
        assert_eq!(counts(calendar, None, &[group(days(1_100), 5)]).len(), 2, "who doesn't know the time leaves nothing out");
    }
}
