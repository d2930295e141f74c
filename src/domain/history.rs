//! The history of use: what somebody wants to see of the audit log, and where in it he is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::audit::Operation;
use super::clock::Timestamp;
use super::ids::{KeyId, KeyStoreNumber, ProjectId};
use super::result_code::ResultCode;
use super::text::{Invalid, Name};

/// Whose records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HistoryScope {
    /// Of one project.
    Project(ProjectId),
    /// Those that belong to no project: people who sign in, operators' commands, the service's own doings.
    NoProject,
    /// All there are.
    Everything,
}

impl HistoryScope {
    /// The project, if it is one.
    pub const fn project(self) -> Option<ProjectId> {
        match self {
            Self::Project(project) => Some(project),
            Self::NoProject | Self::Everything => None,
        }
    }
}

/// A key that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WantedKey {
    /// By its ID, whether or not it is known any more.
    Id(KeyId),
    /// By its name: all keys that have it, or had it when they were deleted.
    Name(Name),
}

/// A key store that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WantedKeyStore {
    /// By its number in its project.
    Number(KeyStoreNumber),
    /// By its name.
    Name(Name),
}

/// The most characters of [`Who`]: those of the longest login name or access key ID.
pub const WHO_MAX_CHARS: usize = 64;

/// Who is asked for: a login name, with the access keys of that account; a User Access Key ID; `uid 0`; or a word of [`Who::WORDS`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who(String);

impl Who {
    /// Who acts without being a person: words of [`super::audit::Actor::parts`].
    pub const WORDS: [&'static str; 3] = ["appkey", "service", "unknown"];

    /// Who is asked for by what somebody typed.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let name = text.strip_prefix("uid ").unwrap_or(text);
        let fits = (1..=WHO_MAX_CHARS).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(field, "must be a login name, a User Access Key ID, “uid” and a number, “appkey”, “service” or “unknown”"))
        }
    }

    /// What was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that is looked for: of an operator the uid alone.
    pub fn name(&self) -> &str {
        self.0.strip_prefix("uid ").unwrap_or(&self.0)
    }

    /// The kind of actor that the word stands for, if it is one.
    pub fn kind(&self) -> Option<&'static str> {
        Self::WORDS.into_iter().find(|word| *word == self.0)
    }

    /// Whether it is an operator.
    pub fn is_operator(&self) -> bool {
        self.0.starts_with("uid ")
    }
}

/// Which results.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// What was asked for was done.
    Success,
    /// The caller was refused, for whatever reason of his own.
    Refused,
    /// The service could not do it.
    Failed,
    /// One result code.
    Code(ResultCode),
}

impl Outcome {
    /// The outcome of a record's result code.
    pub const fn of(code: i32) -> Self {
        match code {
            0 => Self::Success,
            code if code == Self::FAILURE.number() => Self::Failed,
            _ => Self::Refused,
        }
    }

    /// The code of what the service could not do.
    pub const FAILURE: ResultCode = ResultCode::ServiceUnavailable;

    /// From a word, or the number of a result code.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let code = || ResultCode::ALL.iter().find(|code| code.number().to_string() == text).copied().map(Self::Code);
        let word = [Self::Success, Self::Refused, Self::Failed].into_iter().find(|outcome| outcome.to_string() == text);
        word.or_else(code).ok_or_else(|| Invalid::new(field, "must be “success”, “refused”, “failed” or a result code"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Refused => f.write_str("refused"),
            Self::Failed => f.write_str("failed"),
            Self::Code(code) => code.number().fmt(f),
        }
    }
}

/// Which records of a scope are asked for; what is `None` doesn't matter.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HistoryFilter {
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub before: Option<Timestamp>,
    /// What was asked for.
    pub operation: Option<Operation>,
    /// On which key.
    pub key: Option<WantedKey>,
    /// On which key store.
    pub key_store: Option<WantedKeyStore>,
    /// Who asked.
    pub who: Option<Who>,
    /// From which address.
    pub address: Option<IpAddr>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl HistoryFilter {
    /// The key by ID or name.
    pub fn parse_key(field: &'static str, text: &str) -> Result<WantedKey, Invalid> {
        match text.parse() {
            Ok(id) => Ok(WantedKey::Id(id)),
            Err(_) => Ok(WantedKey::Name(Name::parse(field, text)?)),
        }
    }

    /// The key store by number or name.
    pub fn parse_key_store(field: &'static str, text: &str) -> Result<WantedKeyStore, Invalid> {
        match KeyStoreNumber::parse(text) {
            Some(number) => Ok(WantedKeyStore::Number(number)),
            None => Ok(WantedKeyStore::Name(Name::parse(field, text)?)),
        }
    }

    /// What is asked for, as pairs of a word and its value, for the record of somebody's looking: what is short first, as a record takes no more
    /// than its beginning.
    pub fn told(&self) -> Vec<(&'static str, String)> {
        let key = |key: &WantedKey| match key {
            WantedKey::Id(id) => id.to_string(),
            WantedKey::Name(name) => name.to_string(),
        };
        let key_store = |key_store: &WantedKeyStore| match key_store {
            WantedKeyStore::Number(number) => number.to_string(),
            WantedKeyStore::Name(name) => name.to_string(),
        };
        let pairs = [
            ("from", self.from.map(|at| at.micros().to_string())),
            ("before", self.before.map(|at| at.micros().to_string())),
            ("operation", self.operation.map(|operation| operation.to_string())),
            ("result", self.outcome.map(|outcome| outcome.to_string())),
            ("address", self.address.map(|address| address.to_string())),
            ("who", self.who.as_ref().map(|who| who.as_str().to_owned())),
            ("key", self.key.as_ref().map(key)),
            ("keyStore", self.key_store.as_ref().map(key_store)),
        ];
        pairs.into_iter().filter_map(|(word, value)| Some((word, value?))).collect()
    }
}

/// A record's place in the history: by time, and by its position among those of one moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HistoryPlace {
    /// When it was decided.
    pub at: Timestamp,
    /// Its position in the log.
    pub position: i64,
}

impl fmt::Display for HistoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.micros(), self.position)
    }
}

/// The text is no place in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no place in the history")]
pub struct NoPlace;

impl FromStr for HistoryPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (at, position) = text.split_once('.').ok_or(NoPlace)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| NoPlace);
        Ok(Self { at: Timestamp::from_micros(number(at)?), position: number(position)? })
    }
}

/// From where, and which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Seek {
    /// From the newest on.
    #[default]
    Newest,
    /// What is older than that place.
    Older(HistoryPlace),
    /// What is newer than that place, the nearest.
    Newer(HistoryPlace),
}

/// How many records pass a filter, as far as bounded work tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// So many.
    Exactly(usize),
    /// So many were counted, and there is more.
    MoreThan(usize),
    /// So many were found in what was searched, and there may be more.
    AtLeast(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_or_refused_by_its_field() {
        let id = "00112233445566778899aabbccddeeff";
        assert!(matches!(HistoryFilter::parse_key("key", id), Ok(WantedKey::Id(found)) if found.to_string() == id));
        assert!(matches!(HistoryFilter::parse_key("key", "e\u{301}"), Ok(WantedKey::Name(name)) if name.as_str() == "é"));
        assert_eq!(HistoryFilter::parse_key_store("keyStore", "7"), Ok(WantedKeyStore::Number(KeyStoreNumber(7))));
        assert!(matches!(HistoryFilter::parse_key_store("keyStore", "07"), Ok(WantedKeyStore::Name(_))));
        for wrong in ["", "a b", "<script>", "uid ", &"x".repeat(65), "a/b", "%", "é"] {
            assert_eq!(Who::parse("who", wrong).map_err(|invalid| invalid.field), Err("who"), "{wrong}");
        }
        let operator = Who::parse("who", "uid 0").expect("an operator");
        assert_eq!((operator.name(), operator.is_operator(), operator.kind()), ("0", true, None));
        assert_eq!(Who::parse("who", "appkey").expect("a word").kind(), Some("appkey"));
    }

    #[test]
    fn outcomes_are_written_as_they_are_read() {
        for outcome in [Outcome::Success, Outcome::Refused, Outcome::Failed, Outcome::Code(ResultCode::Forbidden)] {
            assert_eq!(Outcome::parse("result", &outcome.to_string()), Ok(outcome));
        }
        for wrong in ["", "0", "9999", "Success", "-1", "01003"] {
            assert!(Outcome::parse("result", wrong).is_err(), "{wrong}");
        }
        assert_eq!([0, 1003, 5001].map(Outcome::of), [Outcome::Success, Outcome::Refused, Outcome::Failed]);
    }

    #[test]
    fn places_are_written_as_they_are_read_and_ordered_by_time_first() {
        let place = |at, position| HistoryPlace { at: Timestamp::from_micros(at), position };
        for place in [place(0, 0), place(i64::MIN, i64::MAX), place(1_764_293_303_000_000, 1 << 40)] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for wrong in ["", ".", "1", "1.", "a.b", "1.2.3", "9223372036854775808.1"] {
            assert_eq!(wrong.parse::<HistoryPlace>(), Err(NoPlace), "{wrong}");
        }
        assert!(place(1, 9) < place(2, 0) && place(1, 1) < place(1, 2));
    }
}
