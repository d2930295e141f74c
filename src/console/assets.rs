//! Files that browsers load, embedded in the program. Their addresses hold a hash of what they are, so that browsers may keep them.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// A file, and where it is.
#[derive(Debug)]
pub(super) struct Asset {
    bytes: &'static [u8],
    /// The same in gzip. Pages are never compressed: they hold what is secret beside what others typed (BREACH).
    zipped: Bytes,
    media_type: &'static str,
    /// Below `/assets/`.
    name: String,
}

impl Asset {
    fn new(name: &str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash = hex::encode(Sha256::digest(bytes));
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        Self { bytes, zipped: zipped(bytes), media_type, name: format!("{stem}.{}.{extension}", hash.get(..12).unwrap_or_default()) }
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

/// In gzip; nothing where that fails, which writing to memory doesn't.
fn zipped(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let done = encoder.write_all(bytes).and_then(|()| encoder.finish());
    done.map(Bytes::from).unwrap_or_default()
}

/// Whether the browser takes gzip. A weight of zero, which would mean that it doesn't (RFC 9110, 12.5.3), is none that a browser sends.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| coding.trim() == "gzip")
}

/// All files.
#[derive(Debug)]
pub(super) struct Assets {
    pub(super) style: Asset,
    pub(super) script: Asset,
    pub(super) htmx: Asset,
    pub(super) mark: Asset,
}

/// All files.
pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: Asset::new("console.css", "text/css; charset=utf-8", include_bytes!("assets/console.css")),
    script: Asset::new("console.js", "text/javascript; charset=utf-8", include_bytes!("assets/console.js")),
    htmx: Asset::new("htmx.js", "text/javascript; charset=utf-8", include_bytes!("assets/htmx.min.js")),
    mark: Asset::new("mark.svg", "image/svg+xml", include_bytes!("assets/mark.svg")),
});

/// `GET /assets/{name}`.
pub(super) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Assets { style, script, htmx, mark } = &*ASSETS;
    let Some(asset) = [style, script, htmx, mark].into_iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let is_zipped = takes_gzip(&headers) && !asset.zipped.is_empty();
    let mut response = if is_zipped { asset.zipped.clone().into_response() } else { asset.bytes.into_response() };
    if is_zipped {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
