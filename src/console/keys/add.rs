//! **Add Key**, by what it is made from.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::super::Console;
use super::super::address::Path;
use super::super::door::Door;
use super::super::form::{Form, Posted};
use super::super::key_stores::present;
use super::super::page;
use super::super::text::{ENGLISH, Texts};
use super::super::visitor::{Visitor, wants_fragment};
use crate::domain::ids::ProjectId;
use crate::domain::key::RotationPeriod;
use crate::domain::key_material::{self, KEY_DATA};
use crate::domain::result_code::ResultCode;
use crate::service::{KeyStoreRef, NewContent, NewKeyRequest, Refusal};

/// What a new key is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::console) enum Content {
    ConfidentialData,
    SymmetricKey,
    AsymmetricKey,
    Import,
}

impl Content {
    pub(in crate::console) const ALL: [Self; 4] = [Self::ConfidentialData, Self::SymmetricKey, Self::AsymmetricKey, Self::Import];

    /// Its word in addresses.
    pub(in crate::console) fn as_str(self) -> &'static str {
        match self {
            Self::ConfidentialData => "confidential-data",
            Self::SymmetricKey => "symmetric-key",
            Self::AsymmetricKey => "asymmetric-key",
            Self::Import => "import",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|content| content.as_str() == text)
    }

    /// What the menu says.
    pub(in crate::console) fn label(self) -> &'static str {
        match self {
            Self::ConfidentialData => ENGLISH.key_stores.secret,
            Self::SymmetricKey => ENGLISH.key_stores.symmetric,
            Self::AsymmetricKey => ENGLISH.key_stores.asymmetric,
            Self::Import => ENGLISH.keys.import,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::ConfidentialData => ENGLISH.keys.add_confidential_data,
            Self::SymmetricKey => ENGLISH.keys.add_symmetric_key,
            Self::AsymmetricKey => ENGLISH.keys.add_asymmetric_key,
            Self::Import => ENGLISH.keys.import,
        }
    }
}

/// Where a form for a new key is.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct At {
    project: i64,
    store: String,
    content: String,
}

impl At {
    fn list(&self, door: Door) -> String {
        format!("{}/{}", door.stores(ProjectId(self.project)), self.store)
    }
}

#[derive(Template)]
#[template(path = "key_form.html")]
pub(super) struct KeyForm<'a> {
    pub(super) t: &'static Texts,
    pub(super) in_draft: bool,
    pub(super) title: &'static str,
    pub(super) action: String,
    pub(super) csrf: String,
    pub(super) form: &'a Form,
    pub(super) in_dialog: bool,
    /// Confidential data: its label, and what it must be.
    pub(super) data: Option<(&'static str, &'static str)>,
    pub(super) with_cycle: bool,
    pub(super) with_key_data: bool,
}

async fn present_form(console: &Console, visitor: &Visitor, at: &At, content: Content, form: &Form, in_dialog: bool) -> Response {
    if let Err(refusal) = visitor.require_change(ProjectId(at.project)) {
        return page::refused(&refusal, visitor.request);
    }
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let t = &ENGLISH.keys;
    let fragment = KeyForm {
        t: &ENGLISH,
        in_draft: visitor.drafts(),
        title: content.title(),
        action: format!("{}/keys/new/{}", at.list(visitor.door), content.as_str()),
        csrf: visitor.csrf(),
        form,
        in_dialog,
        data: (content == Content::ConfidentialData).then_some((t.data, t.data_hint)),
        with_cycle: matches!(content, Content::SymmetricKey | Content::AsymmetricKey),
        with_key_data: content == Content::Import,
    };
    present(console, visitor, ProjectId(at.project), status, content.title(), &fragment, in_dialog).await
}

fn typed(form: &Form, content: Content, key_store: &str) -> Result<NewKeyRequest, Refusal> {
    let (name, description) = (form.name("name")?, form.description()?);
    let content = match content {
        Content::ConfidentialData => NewContent::Secret(form.secret_text("secretValue")),
        Content::SymmetricKey => NewContent::Symmetric(RotationPeriod::from_days(form.number("autoRotationPeriod", 0)?)?),
        Content::AsymmetricKey => NewContent::Asymmetric(RotationPeriod::from_days(form.number("autoRotationPeriod", 0)?)?),
        Content::Import => NewContent::ImportedSymmetric(key_material::from_hex_bytes(&form.secret(KEY_DATA))?),
    };
    Ok(NewKeyRequest { key_store: KeyStoreRef::Numbered(key_store.to_owned()), name, description, content })
}

pub(super) async fn show(State(console): State<Console>, visitor: Visitor, headers: HeaderMap, Path(at): Path<At>) -> Response {
    let Some(content) = Content::parse(&at.content) else { return page::refused(&ResultCode::UrlNotFound.into(), visitor.request) };
    let form = Form::showing([("autoRotationPeriod", "0")]);
    present_form(&console, &visitor, &at, content, &form, wants_fragment(&headers)).await
}

pub(super) async fn add(State(console): State<Console>, Path(at): Path<At>, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let Some(content) = Content::parse(&at.content) else { return page::refused(&ResultCode::UrlNotFound.into(), visitor.request) };
    let made = if is_ours {
        let (request, input) = (visitor.about(ProjectId(at.project)), typed(&form, content, &at.store));
        Some(if content == Content::Import { console.service.import_key(request, input).await } else { console.service.create_key(request, input).await })
    } else {
        None
    };
    // Key material is never sent back: the browser keeps what was typed.
    form.forget(KEY_DATA);
    let form = match made {
        Some(Ok(key)) => return page::go(in_dialog, &format!("{}/keys/{}?done=added", at.list(visitor.door), key.id)),
        Some(Err(Refusal::Proposed(_))) => return page::go(in_dialog, &format!("{}?done=drafted", at.list(visitor.door))),
        Some(Err(refusal)) => match form.refuse(refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_form(&console, &visitor, &at, content, &form, in_dialog).await
}
