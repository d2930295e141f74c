//! Signing in and out.

use std::time::Duration;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::Console;
use super::address::Query;
use super::assets::{ASSETS, Assets};
use super::form::Posted;
use super::page;
use super::text::{ENGLISH, Texts};
use super::visitor::{SIGN_IN, Visitor, browser_cookie, caller, from_elsewhere, request_id, session_cookie, set_browser_cookie, set_cookie};
use crate::domain::ids::RequestId;
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::service::{CodeRequest, Refusal, SignInRequest, SignedIn};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    t: &'static Texts,
    assets: &'static Assets,
    login: String,
    next: String,
    wrong: Option<String>,
    notice: Option<&'static str>,
}

/// The query of the page.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    next: String,
    ended: Option<String>,
    out: Option<String>,
    late: Option<String>,
}

/// Where to after signing in: a path of ours, never another site's.
fn safe_next(next: &str) -> &str {
    let is_ours = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if is_ours { next } else { "/" }
}

fn page(status: StatusCode, login: &str, next: &str, wrong: Option<String>, notice: Option<&'static str>) -> Response {
    page::show(status, &SignInPage { t: &ENGLISH, assets: &ASSETS, login: login.to_owned(), next: safe_next(next).to_owned(), wrong, notice })
}

/// `GET /sign-in`.
pub(super) async fn show(visitor: Option<Visitor>, Query(asked): Query<Asked>) -> Response {
    if visitor.is_some() {
        return Redirect::to(safe_next(&asked.next)).into_response();
    }
    let t = &ENGLISH.sign_in;
    let notice = if asked.out.is_some() { Some(t.signed_out) } else { asked.ended.map(|_| t.ended) };
    page(StatusCode::OK, "", &asked.next, asked.late.map(|_| t.code_late.to_owned()), notice)
}

#[derive(Debug, Deserialize)]
struct Typed {
    #[serde(default)]
    login: String,
    #[serde(default)]
    password: SecretText,
    #[serde(default)]
    code: SecretText,
    #[serde(default)]
    next: String,
}

/// A form of somebody who isn't signed in yet.
#[allow(clippy::result_large_err, reason = "an answer is as large as it is, and is made once")]
async fn typed(request: Request) -> Result<(Parts, Typed), Response> {
    let (parts, body) = request.into_parts();
    if let Some(refused) = from_elsewhere(&parts) {
        return Err(refused);
    }
    let read = axum::body::to_bytes(body, super::FORM_MAX_BYTES).await.ok();
    match read.and_then(|bytes| serde_urlencoded::from_bytes::<Typed>(&bytes).ok()) {
        Some(typed) => Ok((parts, typed)),
        None => Err(page(StatusCode::BAD_REQUEST, "", "", Some(ENGLISH.sign_in.wrong.to_owned()), None)),
    }
}

/// In, with the cookies; or to the code.
fn welcome(signed_in: &SignedIn, next: &str, request: RequestId) -> Response {
    let Some(cookie) = set_cookie(Some(&signed_in.token)) else {
        return page::refused(&Refusal::unavailable("the session's cookie could not be made"), request);
    };
    let (to, browser) = match &signed_in.browser {
        Some(browser) => (safe_next(next).to_owned(), set_browser_cookie(browser)),
        None => (code_path(next), None),
    };
    let mut response = Redirect::to(&to).into_response();
    response.headers_mut().append(header::SET_COOKIE, cookie);
    if let Some(browser) = browser {
        response.headers_mut().append(header::SET_COOKIE, browser);
    }
    response
}

fn code_path(next: &str) -> String {
    let query = serde_urlencoded::to_string([("next", safe_next(next))]).unwrap_or_default();
    format!("{SIGN_IN}/code?{query}")
}

/// What to tell somebody who has to wait.
fn told_to_wait(wait: Duration) -> String {
    format!("{}: {}", ENGLISH.sign_in.wait, wait.as_secs().saturating_add(1))
}

/// `POST /sign-in`.
pub(super) async fn sign_in(State(console): State<Console>, request: Request) -> Response {
    let (parts, typed) = match typed(request).await {
        Ok(typed) => typed,
        Err(refused) => return refused,
    };
    let (id, login, browser) = (request_id(&parts), typed.login.clone(), browser_cookie(&parts.headers));
    match console.service.sign_in(SignInRequest { id, caller: caller(&parts), login, password: typed.password, browser }).await {
        Ok(signed_in) => welcome(&signed_in, &typed.next, id),
        Err(Refusal::Code(ResultCode::Unauthorized)) => page(StatusCode::UNAUTHORIZED, &typed.login, &typed.next, Some(ENGLISH.sign_in.wrong.to_owned()), None),
        Err(Refusal::TooMany(wait)) => page(StatusCode::TOO_MANY_REQUESTS, &typed.login, &typed.next, Some(told_to_wait(wait)), None),
        Err(refusal) => page::refused(&refusal, id),
    }
}

#[derive(Template)]
#[template(path = "sign_in_code.html")]
struct CodePage {
    t: &'static Texts,
    assets: &'static Assets,
    next: String,
    wrong: Option<String>,
}

fn code_page(status: StatusCode, next: &str, wrong: Option<String>) -> Response {
    page::show(status, &CodePage { t: &ENGLISH, assets: &ASSETS, next: safe_next(next).to_owned(), wrong })
}

/// `GET /sign-in/code`.
pub(super) async fn ask_code(State(console): State<Console>, Query(asked): Query<Asked>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let Some(token) = session_cookie(&parts.headers) else { return Redirect::to(SIGN_IN).into_response() };
    match console.service.awaiting_session(&token, &caller(&parts)).await {
        Ok(Some(_)) => code_page(StatusCode::OK, &asked.next, None),
        Ok(None) => Redirect::to(SIGN_IN).into_response(),
        Err(refusal) => page::refused(&refusal, request_id(&parts)),
    }
}

/// `POST /sign-in/code`.
pub(super) async fn give_code(State(console): State<Console>, request: Request) -> Response {
    let (parts, typed) = match typed(request).await {
        Ok(typed) => typed,
        Err(refused) => return refused,
    };
    let late = || Redirect::to(&format!("{SIGN_IN}?late")).into_response();
    let (Some(token), browser, id) = (session_cookie(&parts.headers), browser_cookie(&parts.headers), request_id(&parts)) else { return late() };
    match console.service.give_code(CodeRequest { id, caller: caller(&parts), token, code: typed.code, browser }).await {
        Ok(signed_in) => welcome(&signed_in, &typed.next, id),
        Err(Refusal::Code(ResultCode::Conflict)) => late(),
        Err(Refusal::Code(ResultCode::Unauthorized)) => code_page(StatusCode::UNAUTHORIZED, &typed.next, Some(ENGLISH.sign_in.code_wrong.to_owned())),
        Err(Refusal::TooMany(wait)) => code_page(StatusCode::TOO_MANY_REQUESTS, &typed.next, Some(told_to_wait(wait))),
        Err(refusal) => page::refused(&refusal, id),
    }
}

/// `POST /sign-out`.
pub(super) async fn sign_out(State(console): State<Console>, posted: Posted) -> Response {
    let Posted { visitor, is_ours, .. } = posted;
    if !is_ours {
        return page::refused(&Refusal::Code(ResultCode::Forbidden), visitor.request);
    }
    match console.service.end_session(visitor.request, &visitor.caller, &visitor.session, visitor.session.token).await {
        Ok(()) => {
            let gone = Redirect::to(&format!("{SIGN_IN}?out")).into_response();
            match set_cookie(None) {
                Some(cookie) => ([(header::SET_COOKIE, cookie)], gone).into_response(),
                None => gone,
            }
        }
        Err(refusal) => page::refused(&refusal, visitor.request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for wrong in ["", "https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: x"] {
            assert_eq!(safe_next(wrong), "/", "{wrong:?}");
        }
        assert_eq!(safe_next("/projects/1/key-stores?page=2"), "/projects/1/key-stores?page=2");
    }
}
