//! The fixture: the contract's facts, as `tests/contract/routes.toml` has them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contract {
    versions: BTreeMap<String, Vec<String>>,
    pub(super) row: Vec<Row>,
}

/// One request of a route, and its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// `METHOD /path`.
    pub(super) route: String,
    /// Which versions have it.
    versions: String,
    /// What stands in the path's parts.
    #[serde(default)]
    pub(super) with: BTreeMap<String, String>,
    pub(super) query: Option<String>,
    /// The MAC header.
    pub(super) mac: Option<String>,
    /// What else must be there before.
    pub(super) there: Option<String>,
    body: Option<String>,
    answer: Option<String>,
    /// The message of a refusal, where that is the answer.
    pub(super) refusal: Option<String>,
}

impl Contract {
    pub(super) fn read() -> Self {
        toml::from_str(include_str!("../../../contract/routes.toml")).unwrap_or_else(|error| panic!("the contract: {error}"))
    }

    pub(super) fn versions_of(&self, row: &Row) -> Vec<&str> {
        self.versions[&row.versions].iter().map(String::as_str).collect()
    }
}

impl Row {
    pub(super) fn method(&self) -> &str {
        self.route.split_once(' ').expect("a method").0
    }

    pub(super) fn path(&self) -> &str {
        self.route.split_once(' ').expect("a path").1
    }

    /// The path, whatever its parts are called.
    pub(super) fn pattern(&self) -> String {
        pattern(self.path())
    }

    pub(super) fn body(&self) -> Option<Value> {
        self.body.as_deref().map(|body| self.json(body))
    }

    /// `null` for a refusal.
    pub(super) fn answer(&self) -> Value {
        assert_ne!(self.answer.is_some(), self.refusal.is_some(), "{}", self.route);
        self.answer.as_deref().map_or(Value::Null, |answer| self.json(answer))
    }

    fn json(&self, text: &str) -> Value {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", self.route))
    }

    /// Everything that it says, as text.
    pub(super) fn text(&self) -> String {
        [&self.body, &self.answer, &self.query].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ")
    }
}

/// A path with nameless parts: `/keystores/{}/keys`.
pub(super) fn pattern(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}
