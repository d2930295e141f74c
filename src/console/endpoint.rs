//! **URL & Appkey** of a project: what a program needs to know, with lines that work when pasted; and the manual.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use super::Console;
use super::address::Path;
use super::assets::Assets;
use super::members;
use super::page::{self, Frame, Tab};
use super::routes::Routes;
use super::text::{ENGLISH, Texts};
use super::visitor::Visitor;
use crate::domain::ids::ProjectId;
use crate::domain::key_store::AppkeySummary;
use crate::service::{Endpoint, Refusal};

/// Where the lines keep the certificate authority.
const AUTHORITY_FILE: &str = "skm-ca.pem";

/// The pages.
pub(super) fn routes() -> Routes {
    Routes::new().route("/projects/{project}/endpoint", get(show)).route("/manual", get(manual))
}

/// A line to paste.
struct Line {
    id: &'static str,
    title: &'static str,
    told: &'static str,
    line: String,
}

#[derive(Template)]
#[template(path = "endpoint.html")]
struct EndpointPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    url: String,
    documentation: Option<String>,
    appkeys: Vec<AppkeySummary>,
    has_key: bool,
    /// Where the internal authority's certificate is, if the API's is of that.
    authority: Option<String>,
    /// SHA-256 of the authorities that are trusted, as openssl writes it.
    fingerprints: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "manual.html")]
struct ManualPage {
    t: &'static Texts,
    assets: &'static Assets,
    frame: Frame,
    documentation: Option<String>,
}

fn documentation(console: &Console) -> Option<String> {
    console.settings.api.documentation.then(|| format!("{}/docs", console.settings.api.url))
}

/// `AB:CD:…`, as openssl writes it.
fn fingerprint(der: &[u8]) -> String {
    let pairs: Vec<_> = Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// The lines, for a shell. Nothing in them needs more quoting than it has: appkeys and IDs are letters and digits, the URL was checked when the
/// configuration was read.
fn lines(console: &Console, endpoint: &Endpoint) -> Vec<Line> {
    let (t, api) = (&ENGLISH.endpoint, &console.settings.api);
    let (url, mut lines) = (&api.url, Vec::new());
    if api.internal_authority {
        let line = format!("curl -k -o {AUTHORITY_FILE} {url}/pki/ca.pem && openssl x509 -in {AUTHORITY_FILE} -noout -fingerprint -sha256");
        lines.push(Line { id: "learn", title: t.learn, told: t.learn_told, line });
    }
    // The one that was made last: those before it are to go.
    let Some(appkey) = endpoint.appkeys.iter().max_by_key(|appkey| appkey.created) else { return lines };
    let appkey = appkey.appkey.as_str();
    let curl = if api.internal_authority { format!("curl --cacert {AUTHORITY_FILE}") } else { "curl".to_owned() };
    let of = |version: &str| format!("{url}/keymanager/{version}/appkey/{appkey}");
    lines.push(Line { id: "confirm", title: t.confirm, told: "", line: format!("{curl} {}/confirm", of("v1.0")) });
    if let Some(key) = endpoint.key {
        let json = "-H 'Content-Type: application/json' -d '{\"plaintext\":\"hello\"}'";
        lines.push(Line { id: "encrypt", title: t.encrypt, told: "", line: format!("{curl} {json} {}/symmetric-keys/{key}/encrypt", of("v1.0")) });
    }
    let headers = "-H 'X-TC-AUTHENTICATION-ID: USER_ACCESS_KEY_ID' -H 'X-TC-AUTHENTICATION-SECRET: SECRET_ACCESS_KEY'";
    let line = format!("{curl} {headers} {}/keystores", of("v1.2"));
    lines.push(Line { id: "access-key", title: t.access_key, told: t.access_key_told, line });
    let line = format!("{curl} -u USER_ACCESS_KEY_ID:SECRET_ACCESS_KEY -d grant_type=client_credentials {url}/oauth2/token/create");
    lines.push(Line { id: "token", title: t.token, told: "", line });
    let line = format!("{curl} -H 'X-NHN-AUTHORIZATION: Bearer ACCESS_TOKEN' {}/confirm", of("v1.3"));
    lines.push(Line { id: "use-token", title: t.use_token, told: "", line });
    lines
}

async fn show(State(console): State<Console>, visitor: Visitor, Path(project): Path<i64>) -> Response {
    let shown = async {
        let endpoint = console.service.endpoint(visitor.visit(), ProjectId(project)).await?;
        let frame = Frame::of_project(&console, &visitor, ProjectId(project), Tab::Elsewhere, ENGLISH.endpoint.title).await?;
        let api = &console.settings.api;
        let trusted = if api.internal_authority { console.service.trusted_authorities()? } else { Vec::new() };
        let page = EndpointPage {
            t: &ENGLISH,
            assets: frame.assets,
            frame,
            url: api.url.clone(),
            documentation: documentation(&console),
            lines: lines(&console, &endpoint),
            has_key: endpoint.key.is_some(),
            appkeys: endpoint.appkeys,
            authority: api.internal_authority.then(|| format!("{}/pki/ca.pem", api.url)),
            fingerprints: trusted.iter().map(|der| fingerprint(der)).collect(),
        };
        Ok(page::show(StatusCode::OK, &page))
    };
    shown.await.unwrap_or_else(|refusal: Refusal| page::refused(&refusal, visitor.request))
}

async fn manual(State(console): State<Console>, visitor: Visitor) -> Response {
    match Frame::new(&console, &visitor, ENGLISH.endpoint.manual).await {
        Ok(frame) => page::show(StatusCode::OK, &ManualPage { t: &ENGLISH, assets: frame.assets, frame, documentation: documentation(&console) }),
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}
