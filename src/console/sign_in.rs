//! Signing in and out.

use askama::Template;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::Console;
use super::assets::{ASSETS, Assets};
use super::form::Posted;
use super::page;
use super::text::{ENGLISH, Texts};
use super::visitor::{SIGN_IN, Visitor, caller, from_elsewhere, request_id, set_cookie};
use crate::domain::result_code::ResultCode;
use crate::domain::secret::SecretText;
use crate::service::{Refusal, SignInRequest};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    t: &'static Texts,
    assets: &'static Assets,
    login: String,
    next: String,
    wrong: Option<&'static str>,
    notice: Option<&'static str>,
}

/// The query of the page.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    next: String,
    ended: Option<String>,
    out: Option<String>,
}

/// Where to after signing in: a path of ours, never another site's.
fn safe_next(next: &str) -> &str {
    let is_ours = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if is_ours { next } else { "/" }
}

fn page(status: StatusCode, login: &str, next: &str, wrong: Option<&'static str>, notice: Option<&'static str>) -> Response {
    page::show(status, &SignInPage { t: &ENGLISH, assets: &ASSETS, login: login.to_owned(), next: safe_next(next).to_owned(), wrong, notice })
}

/// `GET /sign-in`.
pub(super) async fn show(visitor: Option<Visitor>, Query(asked): Query<Asked>) -> Response {
    if visitor.is_some() {
        return Redirect::to(safe_next(&asked.next)).into_response();
    }
    let t = &ENGLISH.sign_in;
    let notice = if asked.out.is_some() { Some(t.signed_out) } else { asked.ended.map(|_| t.ended) };
    page(StatusCode::OK, "", &asked.next, None, notice)
}

#[derive(Debug, Deserialize)]
struct Typed {
    #[serde(default)]
    login: String,
    password: SecretText,
    #[serde(default)]
    next: String,
}

/// `POST /sign-in`.
pub(super) async fn sign_in(State(console): State<Console>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(refused) = from_elsewhere(&parts) {
        return refused;
    }
    let (caller, id) = (caller(&parts), request_id(&parts));
    let read = axum::body::to_bytes(body, super::FORM_MAX_BYTES).await.ok();
    let Some(typed) = read.and_then(|bytes| serde_urlencoded::from_bytes::<Typed>(&bytes).ok()) else {
        return page(StatusCode::BAD_REQUEST, "", "", Some(ENGLISH.sign_in.wrong), None);
    };
    match console.service.sign_in(SignInRequest { id, caller, login: typed.login.clone(), password: typed.password }).await {
        Ok(signed_in) => match set_cookie(Some(&signed_in.token)) {
            Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(safe_next(&typed.next))).into_response(),
            None => page::refused(&Refusal::unavailable("the session's cookie could not be made"), id),
        },
        Err(Refusal::Code(ResultCode::Unauthorized)) => page(StatusCode::UNAUTHORIZED, &typed.login, &typed.next, Some(ENGLISH.sign_in.wrong), None),
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
