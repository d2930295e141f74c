//! The document and its page as a browser gets them.

use serde_json::Value;

use crate::support::installation::{Installation, Running, agent};

/// Status, headers and text of a `GET`.
fn fetch(installation: &Installation, running: &Running, path: &str, headers: &[(&str, &str)]) -> (u16, ureq::http::HeaderMap, Vec<u8>) {
    let roots = std::fs::read(installation.demo("CA")).expect("the CA");
    let mut request = agent(&roots, None).get(format!("https://{}{path}", running.api_address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.call().expect("an answer");
    let bytes = answer.body_mut().read_to_vec().expect("a body");
    (answer.status().as_u16(), answer.headers().clone(), bytes)
}

fn header<'a>(headers: &'a ureq::http::HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("a text"))
}

/// What the page's `src` and `href` name.
fn references(page: &str) -> Vec<String> {
    let named = [" src=\"", " href=\""].into_iter().flat_map(|attribute| page.split(attribute).skip(1));
    named.filter_map(|rest| rest.split('"').next()).filter(|target| !target.starts_with("data:")).map(str::to_owned).collect()
}

#[test]
fn the_document_and_a_page_to_read_it_are_served() {
    let mut installation = Installation::new();
    let running = installation.start();
    let before = installation.database().count("audit_records");

    let (status, headers, bytes) = fetch(&installation, &running, "/openapi.json", &[]);
    assert_eq!((status, header(&headers, "content-type")), (200, "application/json; charset=utf-8"));
    assert_eq!(String::from_utf8(bytes).expect("UTF-8"), skm::api::openapi_document());
    assert_eq!(header(&headers, "cache-control"), "public, max-age=300");
    let tag = header(&headers, "etag").to_owned();
    let (status, _, bytes) = fetch(&installation, &running, "/openapi.json", &[("If-None-Match", &tag)]);
    assert_eq!((status, bytes.len()), (304, 0));

    let (status, headers, bytes) = fetch(&installation, &running, "/docs", &[]);
    assert_eq!((status, header(&headers, "content-type")), (200, "text/html; charset=utf-8"));
    let policy = header(&headers, "content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let page = String::from_utf8(bytes).expect("UTF-8");
    assert!(page.contains("<title>Secure Key Manager: API</title>"));
    let references = references(&page);
    assert!(references.len() >= 5, "{references:?}");
    for reference in references {
        assert!(!reference.contains(':') && !reference.starts_with('/'), "{reference} is elsewhere");
        let (status, headers, bytes) = fetch(&installation, &running, &format!("/{reference}"), &[]);
        assert_eq!(status, 200, "{reference}");
        assert!(!bytes.is_empty() && header(&headers, "x-content-type-options") == "nosniff", "{reference}");
    }
    assert_eq!(installation.database().count("audit_records"), before, "reading the document is nobody's business");
    drop(running);

    installation.set("SKM_API__DOCUMENTATION", "false");
    let running = installation.start();
    for path in ["/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js"] {
        let (status, _, bytes) = fetch(&installation, &running, path, &[]);
        let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!((status, answer["header"]["resultCode"].as_i64()), (404, Some(1004)), "{path}");
    }
}
