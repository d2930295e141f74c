//! Forms: what was typed, and what is wrong with it, until it is right.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::Console;
use super::text::ENGLISH;
use super::visitor::{Visitor, wants_fragment};
use crate::domain::clock::Timestamp;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::domain::text::{Description, Invalid, Name};
use crate::service::Refusal;

/// Fields that aren't sent where nothing is chosen.
const BOXES: [&str; 2] = ["ip4AuthUse", "authMode"];

/// What was typed into a form, with what is wrong. Fields have the names that the wire contract gives them, so that an error finds its field.
#[derive(Debug, Default)]
pub(super) struct Form {
    values: HashMap<String, Vec<SecretText>>,
    errors: HashMap<&'static str, String>,
    /// Fields that were sent and are not shown again.
    forgotten: Vec<String>,
    /// What is wrong with no field in particular.
    pub(super) problem: Option<String>,
}

impl Form {
    /// A form that shows these values.
    pub(super) fn showing<'a>(values: impl IntoIterator<Item = (&'static str, &'a str)>) -> Self {
        let mut form = Self::default();
        for (name, value) in values {
            form.values.entry(name.to_owned()).or_default().push(SecretText::new(value.to_owned()));
        }
        form
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let pairs: Vec<(String, SecretText)> = serde_urlencoded::from_bytes(body).ok()?;
        let mut form = Self::default();
        for (name, value) in pairs {
            form.values.entry(name).or_default().push(value);
        }
        Some(form)
    }

    /// What a field shows.
    pub(super) fn value(&self, field: &str) -> &str {
        self.values.get(field).and_then(|values| values.first()).map_or("", SecretText::expose)
    }

    /// What a field holds, as something that is wiped.
    pub(super) fn secret(&self, field: &str) -> SecretText {
        self.values.get(field).and_then(|values| values.first()).cloned().unwrap_or_else(|| SecretText::new(String::new()))
    }

    /// What a field of several lines holds. Browsers send line ends as CR LF.
    pub(super) fn secret_text(&self, field: &str) -> SecretText {
        SecretText::new(self.value(field).replace("\r\n", "\n"))
    }

    /// Whether the form has that field.
    pub(super) fn is_sent(&self, field: &str) -> bool {
        self.values.contains_key(field)
    }

    /// Whether a box with that value is ticked.
    pub(super) fn has(&self, field: &str, value: &str) -> bool {
        self.values.get(field).is_some_and(|values| values.iter().any(|held| held.expose() == value))
    }

    /// What is wrong with a field.
    pub(super) fn error(&self, field: &str) -> Option<&str> {
        self.errors.get(field).map(String::as_str)
    }

    /// All that is wrong with fields: for forms that only ask, and show none.
    pub(super) fn all_errors(&self) -> impl Iterator<Item = &str> {
        self.errors.values().map(String::as_str)
    }

    /// The form as of what is seen now, unless it was opened before.
    pub(super) fn seen_at(mut self, now: Timestamp) -> Self {
        self.values.entry("seen".to_owned()).or_insert_with(|| vec![SecretText::new(now.micros().to_string())]);
        self
    }

    /// As of when the form was opened. A form that doesn't say so has seen nothing that is still true.
    pub(super) fn seen(&self) -> Option<Timestamp> {
        Some(self.value("seen").parse().map(Timestamp::from_micros).unwrap_or_default())
    }

    /// Whether nothing is wrong with it, as far as was looked.
    pub(super) fn is_right(&self) -> bool {
        self.errors.is_empty() && self.problem.is_none()
    }

    /// A name that must be there.
    pub(super) fn name(&self, field: &'static str) -> Result<Name, Invalid> {
        Name::parse(field, self.value(field))
    }

    /// The description. Browsers send line ends as CR LF.
    pub(super) fn description(&self) -> Result<Description, Invalid> {
        Description::parse("description", &self.value("description").replace("\r\n", "\n"))
    }

    /// A whole number; nothing is `otherwise`.
    pub(super) fn number(&self, field: &'static str, otherwise: i64) -> Result<i64, Invalid> {
        match self.value(field).trim() {
            "" => Ok(otherwise),
            text => text.parse().map_err(|_| Invalid::new(field, "must be a whole number")),
        }
    }

    /// Takes what is not to be shown again out of it: passwords.
    pub(super) fn forget(&mut self, field: &str) {
        self.values.remove(field);
        self.forgotten.push(field.to_owned());
    }

    /// Notes what is wrong with a field; above them all where the form has none of that name.
    fn is_wrong(&mut self, field: &'static str, problem: String) {
        let is_shown = self.is_sent(field) || BOXES.contains(&field) || self.forgotten.iter().any(|forgotten| forgotten == field);
        if !is_shown {
            self.problem = Some(format!("{}: {problem}", ENGLISH.frame.not_possible));
        }
        self.errors.insert(field, problem);
    }

    /// The form again, with what a refusal says put where it belongs; `Err` where that is no matter of what was typed.
    pub(super) fn refuse(mut self, refusal: Refusal) -> Result<Self, Refusal> {
        match refusal {
            Refusal::Field(Invalid { field, problem }) => self.is_wrong(field, problem),
            Refusal::Exists { field, what } => self.is_wrong(field, format!("is taken: there is {what}")),
            Refusal::TooMany(_) => self.problem = Some(ENGLISH.frame.too_many.to_owned()),
            Refusal::Unavailable { .. } | Refusal::Code(ResultCode::Unauthorized | ResultCode::Forbidden | ResultCode::InvalidAppkey) => return Err(refusal),
            Refusal::Code(code) => self.problem = Some(told(code).to_owned()),
            // Whoever sent the form is told what became of it (`Refusal::Proposed`) before it comes here.
            Refusal::Proposed(_) => return Err(refusal),
            Refusal::Malformed(_) | Refusal::TooLarge(_) => self.problem = Some(refusal.to_string()),
        }
        Ok(self)
    }
}

/// What a code says to a person.
fn told(code: ResultCode) -> &'static str {
    let t = &ENGLISH.frame;
    match code {
        ResultCode::Conflict => t.changed_meanwhile,
        ResultCode::KeyStoreNotEmpty => t.key_store_not_empty,
        ResultCode::CurrentKeyVersion => t.current_version,
        ResultCode::KeyNotRotatable => t.not_rotatable,
        ResultCode::InvalidKeyStatus | ResultCode::InvalidKeyVersionStatus | ResultCode::InvalidClientRuleStatus => t.not_in_that_state,
        ResultCode::ApprovalRequired => ENGLISH.approval.required,
        ResultCode::OpenApprovalRequest => ENGLISH.approval.open_already,
        ResultCode::OwnApprovalRequest => ENGLISH.approval.own,
        ResultCode::InvalidApprovalRequest | ResultCode::InvalidApprovalRequestStatus => ENGLISH.approval.overtaken,
        code => code.message(),
    }
}

/// A form that somebody who is signed in has sent.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) visitor: Visitor,
    pub(super) form: Form,
    /// Whether it was in a dialog, which then gets the answer.
    pub(super) in_dialog: bool,
    /// Whether it is of this session: if not, it is shown again.
    pub(super) is_ours: bool,
}

impl FromRequest<Console> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, console).await?;
        let in_dialog = is_in_dialog(&parts.headers);
        let bytes = Bytes::from_request(Request::from_parts(parts, body), console).await.map_err(axum::response::IntoResponse::into_response)?;
        let mut form = Form::parse(&bytes).ok_or_else(|| StatusCode::BAD_REQUEST.into_response())?;
        let is_ours = visitor.sent(form.value("csrf"));
        if !is_ours {
            form.problem = Some(ENGLISH.frame.stale_form.to_owned());
        }
        Ok(Self { visitor, form, in_dialog, is_ours })
    }
}

fn is_in_dialog(headers: &HeaderMap) -> bool {
    wants_fragment(headers)
}
