//! Statistics: how often what was asked, of which key, and what came of it.

use super::audit::Operation;
use super::clock::Timestamp;
use super::history::Outcome;
use super::ids::{KeyId, ProjectId};

/// What came of a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CallResult {
    /// It was done.
    Success,
    /// It was the caller's fault.
    Refused,
    /// The service could not.
    Failed,
}

impl CallResult {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Success, Self::Refused, Self::Failed];

    /// The word in the database and in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Refused => "REFUSED",
            Self::Failed => "FAILED",
        }
    }

    /// The result that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.as_str() == text)
    }

    /// Of an audit record with that result code. A code of another version of the program was the caller's fault, as nearly all are.
    pub const fn of(code: i32) -> Self {
        match Outcome::of(code) {
            Outcome::Success => Self::Success,
            Outcome::Failed => Self::Failed,
            Outcome::Refused | Outcome::Code(_) => Self::Refused,
        }
    }
}

/// An hour or a day in which calls are counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Slot {
    /// A date in the service's zone, in days since 1970-01-01.
    Day(i64),
    /// When an hour of the clocks in the service's zone began.
    Hour(Timestamp),
}

impl Slot {
    /// The words for the two kinds in the database, and the number.
    pub const fn parts(self) -> (&'static str, i64) {
        match self {
            Self::Day(number) => ("DAY", number),
            Self::Hour(begin) => ("HOUR", begin.micros()),
        }
    }
}

/// How many minutes the time of an audit record is rounded down to before it finds its hour: the clocks of no zone differ from UTC by anything
/// that isn't a multiple of this.
pub const QUARTER_MINUTES: i64 = 15;

/// Calls of one quarter of an hour that are alike in all that is counted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CallGroup {
    /// When the quarter began.
    pub quarter: Timestamp,
    /// What they were about.
    pub kind: CallKind,
    /// How many there were.
    pub calls: i64,
}

/// What calls are told apart by, beside their time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallKind {
    /// Of which project.
    pub project: ProjectId,
    /// What was asked for.
    pub operation: Operation,
    /// What came of it.
    pub result: CallResult,
    /// The key that was named, if one was.
    pub key: Option<KeyId>,
}

/// How the detail of a record begins that stands for several requests over a limit; their number follows.
pub const REQUESTS_OVER_LIMIT: &str = "requests over a limit: ";

/// How many requests a record of requests over a limit stands for.
pub fn requests_over_limit(detail: Option<&str>) -> i64 {
    let number = detail.and_then(|detail| detail.strip_prefix(REQUESTS_OVER_LIMIT)).and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).filter(|number| *number > 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::result_code::ResultCode;

    #[test]
    fn every_code_has_a_result() {
        let failed: Vec<_> = ResultCode::ALL.iter().filter(|code| CallResult::of(code.number()) == CallResult::Failed).collect();
        assert_eq!(failed, [&ResultCode::ServiceUnavailable]);
        assert!(ResultCode::ALL.iter().all(|code| CallResult::of(code.number()) != CallResult::Success));
        assert_eq!((CallResult::of(0), CallResult::of(-7)), (CallResult::Success, CallResult::Refused));
        assert!(CallResult::ALL.iter().all(|result| CallResult::parse(result.as_str()) == Some(*result)));
    }

    #[test]
    fn a_record_of_many_says_how_many() {
        for (detail, calls) in [
            (Some("requests over a limit: 204 (address 200, failures 4); addresses: 2"), 204),
            (Some("requests over a limit: 0 ()"), 1),
            (Some("requests over a limit: -3 ()"), 1),
            (Some("requests over a limit: "), 1),
            (Some("204 (address 200"), 1),
            (None, 1),
        ] {
            assert_eq!(requests_over_limit(detail), calls, "{detail:?}");
        }
    }
}
