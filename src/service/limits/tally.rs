//! Requests over a limit, counted until they become one audit record.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;

use super::Limit;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProjectId;
use crate::domain::statistics::REQUESTS_OVER_LIMIT;

/// The most projects that are told from each other between two records; those of any more share the record without a project.
const PROJECTS_MAX: usize = 1_024;
/// The most addresses that are told from each other for one record.
const ADDRESSES_MAX: usize = 256;
/// How many of them the record names.
const NAMED_MAX: usize = 5;

/// What was refused since the last record, by project. `None`: at the token endpoint, where an access key was named that exists.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<HashMap<Option<ProjectId>, Refused>>);

/// What was refused of one project.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// How many, in the order of [`Limit::ALL`].
    counts: [u64; Limit::ALL.len()],
    addresses: HashSet<IpAddr>,
    first: Timestamp,
    last: Timestamp,
}

impl Tally {
    /// Counts one.
    pub(super) fn count(&self, project: Option<ProjectId>, limit: Limit, address: IpAddr, at: Timestamp) {
        let mut tally = self.0.lock();
        let known = tally.len() < PROJECTS_MAX || tally.contains_key(&project);
        tally.entry(project.filter(|_| known)).or_insert_with(|| Refused::none(at)).count(limit, address, at);
    }

    /// Takes all that was counted.
    pub(super) fn take(&self) -> Vec<(Option<ProjectId>, Refused)> {
        std::mem::take(&mut *self.0.lock()).into_iter().collect()
    }

    /// Puts back what could not be recorded.
    pub(super) fn put_back(&self, refused: Vec<(Option<ProjectId>, Refused)>) {
        let mut tally = self.0.lock();
        for (project, refused) in refused {
            let known = tally.len() < PROJECTS_MAX || tally.contains_key(&project);
            tally.entry(project.filter(|_| known)).or_insert_with(|| Refused::none(refused.first)).add(&refused);
        }
    }
}

impl Refused {
    fn none(at: Timestamp) -> Self {
        Self { counts: [0; Limit::ALL.len()], addresses: HashSet::new(), first: at, last: at }
    }

    fn count(&mut self, limit: Limit, address: IpAddr, at: Timestamp) {
        let counts = Limit::ALL.iter().zip(&mut self.counts);
        counts.filter(|(of, _)| **of == limit).for_each(|(_, count)| *count = count.saturating_add(1));
        if self.addresses.len() < ADDRESSES_MAX {
            self.addresses.insert(address);
        }
        (self.first, self.last) = (self.first.min(at), self.last.max(at));
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count = count.saturating_add(more));
        self.addresses.extend(other.addresses.iter().take(ADDRESSES_MAX.saturating_sub(self.addresses.len())));
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
    }

    /// How many requests were refused.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count))
    }

    /// Fills in what the record of these says.
    pub(super) fn describe(&self, event: AuditEvent) -> AuditEvent {
        let mut addresses: Vec<_> = self.addresses.iter().collect();
        addresses.sort_unstable();
        let address = if let [one] = addresses.as_slice() { Some(**one) } else { None };
        AuditEvent { address, detail: Some(self.detail(&addresses)), ..event }
    }

    /// `requests over a limit: 204 (address 200, failures 4); addresses: 2 (192.0.2.1, 192.0.2.7); first …; last …`: at most 400
    /// characters.
    fn detail(&self, addresses: &[&IpAddr]) -> String {
        let counts = Limit::ALL.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        let counts: Vec<_> = counts.map(|(limit, count)| format!("{} {count}", limit.as_str())).collect();
        let named: Vec<_> = addresses.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        let more = if addresses.len() > NAMED_MAX { ", …" } else { "" };
        let many = if addresses.len() >= ADDRESSES_MAX { " or more" } else { "" };
        format!(
            "{REQUESTS_OVER_LIMIT}{} ({}); addresses: {}{many} ({}{more}); first {}; last {}",
            self.total(),
            counts.join(", "),
            addresses.len(),
            named.join(", "),
            utc(self.first),
            utc(self.last)
        )
    }
}

fn utc(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_micros(at.micros()).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::audit::DETAIL_MAX_CHARS;
    use crate::domain::statistics::requests_over_limit;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    #[test]
    fn a_record_says_how_many_from_where_and_when() {
        let tally = Tally::default();
        let project = Some(ProjectId(7));
        tally.count(project, Limit::Address, address(2), Timestamp::from_micros(2_000_000));
        tally.count(project, Limit::Failures, address(1), Timestamp::from_micros(5_500_000));
        tally.count(project, Limit::Address, address(2), Timestamp::from_micros(3_000_000));
        tally.count(None, Limit::Failures, address(1), Timestamp::default());
        let taken = tally.take();
        assert_eq!(taken.len(), 2);
        assert!(tally.take().is_empty());
        // What could not be written is added to what came meanwhile.
        tally.count(project, Limit::Project, address(3), Timestamp::from_micros(9_000_000));
        tally.put_back(taken);
        let refused = tally.take().into_iter().find(|(of, _)| *of == project).unwrap().1;
        let mut addresses: Vec<_> = refused.addresses.iter().collect();
        addresses.sort_unstable();
        assert_eq!(
            refused.detail(&addresses),
            "requests over a limit: 4 (address 2, project 1, failures 1); addresses: 3 (10.0.0.1, 10.0.0.2, 10.0.0.3); \
             first 1970-01-01T00:00:02.000Z; last 1970-01-01T00:00:09.000Z"
        );
        // The statistics count them.
        assert_eq!(requests_over_limit(Some(&refused.detail(&addresses))), 4);
    }

    #[test]
    fn what_is_kept_and_said_is_bounded() {
        let tally = Tally::default();
        for number in 0..5_000 {
            tally.count(Some(ProjectId(i64::from(number))), Limit::Address, address(number), Timestamp::default());
            let long = IpAddr::from([0x2001, 0xdb8, 0x1111, 0x2222, 0x3333, 0x4444, 0x5555, u16::try_from(number).unwrap() | 0x4000]);
            tally.count(None, Limit::Failures, long, Timestamp::default());
        }
        let taken = tally.take();
        assert!(taken.len() <= PROJECTS_MAX + 1, "{}", taken.len());
        let without = &taken.iter().find(|(project, _)| project.is_none()).unwrap().1;
        assert_eq!((taken.iter().map(|(_, refused)| refused.total()).sum::<u64>(), without.addresses.len()), (10_000, ADDRESSES_MAX));
        let addresses: Vec<_> = without.addresses.iter().collect();
        let detail = without.detail(&addresses);
        assert!(detail.chars().count() <= DETAIL_MAX_CHARS && detail.contains("addresses: 256 or more (2001:"), "{detail}");
    }
}
