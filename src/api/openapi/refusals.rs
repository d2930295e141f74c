//! From the result codes of an operation to its responses, and the envelope around the body of a success.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Components, ObjectBuilder, Type};
use utoipa::openapi::{Content, Header, Ref, RefOr, Response, ResponseBuilder, Schema};

use super::codes::EXTENSION;
use crate::api::error::status_of;
use crate::domain::result_code::ResultCode;

/// The media type of every answer.
const JSON: &str = "application/json";

/// The responses that operations share, by name.
#[derive(Default)]
pub(super) struct Responses(BTreeMap<String, Response>);

impl Responses {
    /// Makes the responses of an operation from the codes that it names. One without codes has its responses already.
    pub(super) fn describe(&mut self, operation: &mut Operation) {
        let named = operation.extensions.as_mut().and_then(|extensions| extensions.remove(EXTENSION));
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response {
                response.headers.insert("X-Request-Id".to_owned(), RefOr::Ref(Ref::new("#/components/headers/RequestId")));
                let is_file = response.content.keys().any(|media_type| media_type != JSON);
                if named.is_some() && (status == "200" || status == "202") && !is_file {
                    envelop(response);
                }
            }
        }
        let Some(named) = named else { return };
        for (status, codes) in by_status(&numbers(&named)) {
            let name = codes.iter().fold(format!("Refused{status}"), |name, code| format!("{name}_{}", code.number()));
            operation.responses.responses.insert(status.to_string(), RefOr::Ref(Ref::from_response_name(&name)));
            self.0.entry(name).or_insert_with(|| refusal(status, &codes));
        }
    }

    pub(super) fn move_into(self, components: &mut Components) {
        components.responses.extend(self.0.into_iter().map(|(name, response)| (name, RefOr::T(response))));
        components.headers.extend([
            ("RequestId".to_owned(), header("The request's name, which log and audit record have too.", Type::String)),
            ("RetryAfter".to_owned(), header("Seconds to wait before the same is asked again.", Type::Integer)),
            ("WwwAuthenticate".to_owned(), header("What the version wants: see its security scheme.", Type::String)),
        ]);
        components.schemas.insert("SuccessHeader".to_owned(), RefOr::T(success_header()));
    }
}

fn header(description: &str, of: Type) -> RefOr<Header> {
    let mut header = Header::new(ObjectBuilder::new().schema_type(of).build());
    header.description = Some(description.to_owned());
    RefOr::T(header)
}

/// All numbers in an array of arrays.
fn numbers(named: &Value) -> BTreeSet<i64> {
    match named {
        Value::Array(entries) => entries.iter().flat_map(numbers).collect(),
        other => other.as_i64().into_iter().collect(),
    }
}

fn by_status(numbers: &BTreeSet<i64>) -> BTreeMap<u16, Vec<ResultCode>> {
    let mut statuses: BTreeMap<u16, Vec<ResultCode>> = BTreeMap::new();
    for code in ResultCode::ALL.iter().copied().filter(|code| numbers.contains(&i64::from(code.number()))) {
        statuses.entry(status_of(code).as_u16()).or_default().push(code);
    }
    statuses.values_mut().for_each(|codes| codes.sort_unstable_by_key(|code| code.number()));
    statuses
}

/// A schema that `serde_json` spells out; what is written here always is one.
fn schema(spelled: Value) -> Schema {
    serde_json::from_value(spelled).unwrap_or_default()
}

fn success_header() -> Schema {
    schema(json!({
        "type": "object",
        "required": ["resultCode", "resultMessage", "isSuccessful"],
        "properties": {
            "resultCode": {"type": "integer", "enum": [0]},
            "resultMessage": {"type": "string", "enum": ["success"]},
            "isSuccessful": {"type": "boolean", "enum": [true]},
        },
    }))
}

/// Puts the envelope around the body of a success; one without a body has `null` for it.
fn envelop(response: &mut Response) {
    let body = response.content.shift_remove(JSON).and_then(|content| match content {
        RefOr::T(content) => content.schema,
        RefOr::Ref(_) => None,
    });
    let body = body.unwrap_or_else(|| RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::Null).build())));
    let envelope = ObjectBuilder::new().property("header", Ref::from_schema_name("SuccessHeader")).required("header").property("body", body).required("body");
    response.content.insert(JSON.to_owned(), RefOr::T(Content::new(Some(envelope.build()))));
}

/// The response of a status, which any of the codes has.
fn refusal(status: u16, codes: &[ResultCode]) -> Response {
    let numbers: Vec<i32> = codes.iter().map(|code| code.number()).collect();
    let mut description = String::new();
    for code in codes {
        let separator = if description.is_empty() { "" } else { ", " };
        // Writing to a String can't fail.
        let _ = write!(description, "{separator}{} {}", code.number(), code.message());
    }
    let first = codes.first().copied().unwrap_or(ResultCode::ServiceUnavailable);
    let envelope = json!({
        "type": "object",
        "required": ["header"],
        "properties": {
            "header": {
                "type": "object",
                "required": ["resultCode", "resultMessage", "isSuccessful"],
                "properties": {
                    "resultCode": {"type": "integer", "enum": numbers},
                    "resultMessage": {"type": "string"},
                    "isSuccessful": {"type": "boolean", "enum": [false]},
                },
            },
            "body": {"type": "null"},
        },
        "example": {"header": {"resultCode": first.number(), "resultMessage": first.message(), "isSuccessful": false}, "body": null},
    });
    let mut response = ResponseBuilder::new().description(description).content(JSON, Content::new(Some(schema(envelope)))).build();
    let mut add = |name: &str, component: &str| response.headers.insert(name.to_owned(), RefOr::Ref(Ref::new(format!("#/components/headers/{component}"))));
    add("X-Request-Id", "RequestId");
    match status {
        401 => drop(add("WWW-Authenticate", "WwwAuthenticate")),
        429 | 503 => drop(add("Retry-After", "RetryAfter")),
        _ => {}
    }
    response
}
