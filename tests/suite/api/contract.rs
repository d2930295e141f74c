//! The wire contract, walked: every route in every version that has it, asked as a plain HTTP client would, its answer compared field by
//! field; and in the versions that don't have it, refused.

mod fixture;
mod page;
mod scene;
mod shape;

use serde_json::{Value, json};

use self::fixture::{Contract, Row};
use self::scene::Scene;
use super::http::{METHOD_NOT_ALLOWED, Refusal, Reply, URL_NOT_FOUND};
use super::routes::credentials;
use super::stage::{Ask, Stage, VERSIONS};

/// Routes that don't exist yet. It must be empty at the end: one that is here and answers as it should fails the test too.
const PENDING: &[&str] = &[];

/// Whoever walks: the service, and the administrator's token for v1.3.
struct Walk<'a> {
    stage: &'a Stage,
    contract: &'a Contract,
    bearer: String,
}

impl Walk<'_> {
    /// What is wrong with a route, in all versions.
    fn problems(&self, row: &Row) -> Vec<String> {
        let has = self.contract.versions_of(row);
        let mut problems = Vec::new();
        for version in VERSIONS {
            let scene = Scene::new(self.stage);
            let found = if has.contains(&version) { self.compare(row, version, &scene) } else { self.is_absent(row, version, &scene).map(|()| Vec::new()) };
            let found = found.unwrap_or_else(|problem| vec![problem]);
            problems.extend(found.into_iter().map(|problem| format!("{version} {}: {problem}", row.route)));
        }
        problems
    }

    fn ask(&self, row: &Row, version: &str, scene: &Scene<'_>) -> Result<Reply, String> {
        if let Some(there) = &row.there {
            scene.fill(there)?;
        }
        let mut path = row.path().to_owned();
        for (part, value) in &row.with {
            path = path.replace(&format!("{{{part}}}"), &scene.fill(value)?);
        }
        if let Some(query) = &row.query {
            path = format!("{path}?{}", scene.fill(query)?);
        }
        let mut ask = Ask::new(row.method(), self.stage.path(version, &path)).headers(&credentials(self.stage, version, &self.bearer));
        if let Some(mac) = &row.mac {
            ask = ask.header("X-TOAST-CLIENT-MAC-ADDR", mac);
        }
        if let Some(body) = row.body() {
            ask = ask.json(&scene.fill_json(&body)?);
        }
        Ok(self.stage.ask(&ask))
    }

    fn compare(&self, row: &Row, version: &str, scene: &Scene<'_>) -> Result<Vec<String>, String> {
        let reply = self.ask(row, version, scene)?;
        let header = match &row.refusal {
            None => json!({"resultCode": 0, "resultMessage": "success", "isSuccessful": true}),
            Some(message) => json!({"resultCode": "<number>", "resultMessage": message, "isSuccessful": false}),
        };
        let expected = json!({"header": header, "body": scene.fill_json(&row.answer())?});
        let mut problems = shape::differences("", &expected, &reply.json());
        if (reply.status == 200) != row.refusal.is_none() {
            problems.push(format!("status {}", reply.status));
        }
        Ok(problems)
    }

    /// Where another method has the path in that version, the path exists.
    fn is_absent(&self, row: &Row, version: &str, scene: &Scene<'_>) -> Result<(), String> {
        let reply = self.ask(row, version, scene)?;
        let path_exists = self.contract.row.iter().any(|other| other.pattern() == row.pattern() && self.contract.versions_of(other).contains(&version));
        let Refusal(status, code, message) = if path_exists { METHOD_NOT_ALLOWED } else { URL_NOT_FOUND };
        let expected = json!({"header": {"resultCode": code, "resultMessage": message, "isSuccessful": false}, "body": null});
        if (reply.status, reply.json()) == (status, expected) { Ok(()) } else { Err(format!("not there, but answered {reply}")) }
    }
}

#[test]
fn every_row_of_the_contract_is_answered_to_the_letter() {
    let contract = Contract::read();
    let stage = Stage::new();
    let bearer = format!("Bearer {}", stage.token(stage.id("ACCESS_KEY_ID"), stage.id("SECRET_ACCESS_KEY")));
    let walk = Walk { stage: &stage, contract: &contract, bearer };
    let mut wrong = Vec::new();
    let mut pending_with_problems = Vec::new();
    for row in &contract.row {
        let problems = walk.problems(row);
        if PENDING.contains(&row.route.as_str()) {
            pending_with_problems.extend((!problems.is_empty()).then_some(row.route.as_str()));
        } else {
            wrong.extend(problems);
        }
    }
    wrong.extend(PENDING.iter().filter(|route| !pending_with_problems.contains(route)).map(|route| format!("{route}: is no longer pending")));
    assert!(wrong.is_empty(), "against the contract:\n{}", wrong.join("\n"));
    stage.finish();
}

#[test]
fn the_fixture_has_every_row_and_field_of_the_contract_page() {
    // Only some checkouts have the page beside them; the fixture is what counts everywhere.
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/api-contract.md");
    let Ok(page) = std::fs::read_to_string(page) else { return };
    let missing = page::missing_from(&Contract::read(), &page);
    assert!(missing.is_empty(), "the fixture lacks:\n{}", missing.join("\n"));
}

#[test]
fn a_field_that_is_missing_or_of_another_type_is_named() {
    let expected = json!({"a": "<number>", "list": [{"at": "<date-time>"}, "..."], "b": "<date-time or null>", "c": null});
    let differences = |actual: Value| shape::differences("", &expected, &actual);
    let right = json!({"a": 1, "list": [{"at": "2025-01-25T12:00:00"}, {"at": "2025-01-25T12:00:00.123"}], "b": null, "c": null});
    assert_eq!(differences(right), Vec::<String>::new());
    let wrong = json!({"a": "1", "list": [{"at": "2025-01-25T12:00:00Z"}, {}], "c": 1, "d": 1});
    let named = [
        "a: expected \"<number>\", not \"1\"",
        "list.0.at: expected \"<date-time>\", not \"2025-01-25T12:00:00Z\"",
        "list.1.at: is missing",
        "b: is missing",
        "c: expected null, not 1",
        "d: is not in the contract",
    ];
    let mut found = differences(wrong);
    found.sort();
    let mut named = named.map(str::to_owned).to_vec();
    named.sort();
    assert_eq!(found, named);
    assert_eq!(differences(json!({"a": 1.5, "list": [], "b": 1, "c": null})).len(), 3);
}
