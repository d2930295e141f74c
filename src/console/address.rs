//! What an address says: its path and its query. What can't be read is no page of ours.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::Console;
use super::page;
use super::visitor::request_id;
use crate::domain::result_code::ResultCode;
use crate::service::Refusal;

/// The placeholders of the path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

/// The query.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

fn no_page(parts: &Parts) -> Response {
    page::refused(&Refusal::Code(ResultCode::UrlNotFound), request_id(parts))
}

impl<T: DeserializeOwned + Send> FromRequestParts<Console> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let read = axum::extract::Path::from_request_parts(parts, console).await;
        read.map(|axum::extract::Path(found)| Self(found)).map_err(|_| no_page(parts))
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Console> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let read = axum::extract::Query::from_request_parts(parts, console).await;
        read.map(|axum::extract::Query(found)| Self(found)).map_err(|_| no_page(parts))
    }
}
