//! The OpenAPI document and a page to read and try it: Swagger UI, out of the program itself. Nothing is loaded from elsewhere, nothing
//! of it is audited: it shows what is in the source. The limit of an address counts here too.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use sha2::Digest as _;
use utoipa_swagger_ui::Config;

use super::error::refused;
use super::{Api, context};

/// Scripts and styles of our own alone, and requests to nobody but us. Swagger UI's icons are `data:` images.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                                       form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
/// It changes with the program alone; a browser asks after that time whether it has.
const CACHE_CONTROL: &str = "public, max-age=300";
/// The files of Swagger UI that the page loads.
const SWAGGER_UI: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

/// A file as it is sent.
#[derive(Debug)]
struct File {
    bytes: Bytes,
    content_type: HeaderValue,
    is_gzip: bool,
    /// Of the bytes; in quotes (RFC 9110, 8.8.3).
    tag: String,
}

impl File {
    fn new(bytes: impl Into<Bytes>, content_type: &'static str) -> Self {
        let bytes = bytes.into();
        let tag = format!("\"{}\"", hex::encode(sha2::Sha256::digest(&bytes)));
        Self { bytes, content_type: HeaderValue::from_static(content_type), is_gzip: false, tag }
    }

    /// A file of Swagger UI; `None` if this build has no such file.
    fn of_swagger_ui(name: &str) -> Option<Self> {
        let content_type = if name.ends_with(".css") { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
        let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok().flatten()?;
        let bytes = match file.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Some(Self { is_gzip: file.gzpipped, ..Self::new(bytes, content_type) })
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|tags| tags.contains(&self.tag));
        let mut response = Response::new(if known { Body::empty() } else { Body::from(self.bytes.clone()) });
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CACHE_CONTROL, CACHE_CONTROL),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.extend(HeaderValue::from_str(&self.tag).map(|tag| (header::ETAG, tag)));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        if self.is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// `/openapi.json` and `/docs`.
pub(super) fn routes(document: String) -> Router<Api> {
    let ours = [
        ("/openapi.json", File::new(document, "application/json; charset=utf-8")),
        ("/docs", File::new(include_str!("page/index.html"), "text/html; charset=utf-8")),
        ("/docs/start.js", File::new(include_str!("page/start.js"), "text/javascript; charset=utf-8")),
        ("/docs/page.css", File::new(include_str!("page/page.css"), "text/css; charset=utf-8")),
    ];
    let router = ours.into_iter().fold(Router::new(), |router, (path, file)| serve(router, path, file));
    SWAGGER_UI
        .into_iter()
        .filter_map(|name| Some((name, File::of_swagger_ui(name)?)))
        .fold(router, |router, (name, file)| serve(router, &format!("/docs/{name}"), file))
}

fn serve(router: Router<Api>, path: &str, file: File) -> Router<Api> {
    let file = Arc::new(file);
    let answer = async move |State(api): State<Api>, request: Request| {
        let (asked, _) = request.into_parts();
        match api.service.admit_to_public(&context::caller(&api, &asked)) {
            Ok(()) => file.answer(&asked.headers),
            Err(refusal) => refused(&refusal, api.settings.always_http_200),
        }
    };
    router.route(path, get(answer))
}
