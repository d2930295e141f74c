//! Client certificates: made here with their keys, or signed for a key that never is here; the download of a `.p12`.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;

use super::Console;
use super::attachment::attachment;
use super::clients::{Place, refuse};
use super::door::Door;
use super::form::{Form, Posted};
use super::key_stores::present;
use super::page;
use super::routes::Routes;
use super::shown;
use super::text::{ENGLISH, Texts};
use super::visitor::{Visitor, wants_fragment};
use crate::domain::secret::SecretBytes;
use crate::service::pki::certificate_pem;
use crate::service::{CertificateSelector, DownloadedCertificate, KeyStoreRef, NewClientRule, NewRuleValue, Refusal, SignedCertificate, SigningRequest};

const PKCS12: &str = "application/x-pkcs12";
/// Days that a certificate lives unless somebody says otherwise.
const USAGE_PERIOD_DAYS: &str = "365";

/// The pages that certificates alone have, behind a door.
pub(super) fn routes(door: Door) -> Routes {
    let route = |rest: &str| door.route(&format!("/{{store}}/certificates{rest}"));
    Routes::new().route(&route("/new"), get(new).post(make)).route(&route("/sign"), get(ask_to_sign).post(sign)).route(&route("/download"), post(download))
}

#[derive(Template)]
#[template(path = "certificate_form.html")]
struct CertificateForm<'a> {
    t: &'static Texts,
    in_draft: bool,
    title: &'static str,
    /// For a signing request, rather than with a key made here.
    signs: bool,
    action: &'a str,
    csrf: String,
    form: &'a Form,
    in_dialog: bool,
}

#[derive(Template)]
#[template(path = "certificate_signed.html")]
struct Signed {
    t: &'static Texts,
    path: String,
    name: String,
    expires: String,
    certificate: String,
    authority: String,
}

async fn present_form(console: &Console, visitor: &Visitor, place: &Place, signs: bool, form: &Form, in_dialog: bool) -> Response {
    if let Err(refusal) = visitor.require_change(place.project) {
        return page::refused(&refusal, visitor.request);
    }
    let status = if form.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let (title, act) = if signs { (ENGLISH.clients.sign, "sign") } else { (ENGLISH.clients.add_certificate, "new") };
    let action = format!("{}/{act}", place.path());
    let fragment = CertificateForm { t: &ENGLISH, in_draft: visitor.drafts(), title, signs, action: &action, csrf: visitor.csrf(), form, in_dialog };
    present(console, visitor, place.project, status, title, &fragment, in_dialog).await
}

fn empty() -> Form {
    Form::showing([("lifeTime", USAGE_PERIOD_DAYS)])
}

async fn new(State(console): State<Console>, visitor: Visitor, place: Place, headers: HeaderMap) -> Response {
    present_form(&console, &visitor, &place, false, &empty(), wants_fragment(&headers)).await
}

async fn ask_to_sign(State(console): State<Console>, visitor: Visitor, place: Place, headers: HeaderMap) -> Response {
    present_form(&console, &visitor, &place, true, &empty(), wants_fragment(&headers)).await
}

fn typed(place: &Place, form: &Form) -> Result<NewClientRule, Refusal> {
    let value = NewRuleValue::Certificate { name: form.name("name")?, password: form.secret("password"), life_days: form.number("lifeTime", 0)? };
    Ok(NewClientRule { key_store: KeyStoreRef::Numbered(place.store.clone()), value, description: form.description()? })
}

async fn make(State(console): State<Console>, place: Place, posted: Posted) -> Response {
    let Posted { visitor, mut form, in_dialog, is_ours } = posted;
    let made = if is_ours { Some(console.service.register_client(visitor.about(place.project), typed(&place, &form)).await) } else { None };
    form.forget("password");
    let form = match made {
        Some(Ok(_)) => return page::go(in_dialog, &format!("{}?done=certified", place.path())),
        Some(Err(Refusal::Proposed(_))) => return page::go(in_dialog, &format!("{}?done=drafted", place.path())),
        Some(Err(refusal)) => match refuse(form, refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_form(&console, &visitor, &place, false, &form, in_dialog).await
}

fn request_typed(place: &Place, form: &Form) -> Result<SigningRequest, Refusal> {
    Ok(SigningRequest {
        key_store: KeyStoreRef::Numbered(place.store.clone()),
        name: form.name("name")?,
        csr: form.secret("csr"),
        life_days: form.number("lifeTime", 0)?,
        description: form.description()?,
    })
}

async fn sign(State(console): State<Console>, place: Place, posted: Posted) -> Response {
    let Posted { visitor, form, in_dialog, is_ours } = posted;
    let signed = if is_ours { Some(console.service.sign_certificate(visitor.about(place.project), request_typed(&place, &form)).await) } else { None };
    let form = match signed {
        Some(Ok(signed)) => return present_signed(&console, &visitor, &place, &signed, in_dialog).await,
        Some(Err(Refusal::Proposed(_))) => return page::go(in_dialog, &format!("{}?done=drafted", place.path())),
        Some(Err(refusal)) => match refuse(form, refusal) {
            Ok(form) => form,
            Err(refusal) => return page::refused(&refusal, visitor.request),
        },
        None => form,
    };
    present_form(&console, &visitor, &place, true, &form, in_dialog).await
}

async fn present_signed(console: &Console, visitor: &Visitor, place: &Place, signed: &SignedCertificate, in_dialog: bool) -> Response {
    let fragment = Signed {
        t: &ENGLISH,
        path: place.path(),
        name: signed.name.to_string(),
        expires: shown::date(console, signed.not_after),
        certificate: certificate_pem(&signed.certificate),
        authority: certificate_pem(&signed.authority),
    };
    present(console, visitor, place.project, StatusCode::OK, ENGLISH.clients.signed_title, &fragment, in_dialog).await
}

/// A file that is wiped once the connection has sent it.
struct Wiped(SecretBytes);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// A `.p12` as a file.
pub(super) fn p12(found: DownloadedCertificate) -> Response {
    attachment(&format!("{}.p12", found.name), PKCS12, Body::from(Bytes::from_owner(Wiped(found.p12))))
}

/// By `POST`: it is in the audit log, so no link or prefetch of somebody else's brings it about.
async fn download(State(console): State<Console>, place: Place, posted: Posted) -> Response {
    let Posted { visitor, form, is_ours, .. } = posted;
    if !is_ours {
        return axum::response::Redirect::to(&place.path()).into_response();
    }
    let wanted = form.name("name").map_err(Refusal::from).map(|name| CertificateSelector { key_store: KeyStoreRef::Numbered(place.store.clone()), name });
    match console.service.download_certificate(visitor.about(place.project), wanted).await {
        Ok(found) => p12(found),
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}
