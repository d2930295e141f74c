//! The OpenAPI document, made of the routes themselves: a route comes into being together with its document, and each version of the
//! API adds what is true of all its operations.

pub(super) mod codes;
mod links;
mod operations;
mod refusals;
pub(super) mod requests;
pub(super) mod texts;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::Router;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::{InfoBuilder, License, OpenApi, OpenApiBuilder, Server, Tag};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::Api;
use super::context::Version;
use super::error::status_of;
use crate::domain::result_code::ResultCode;

/// What stands before the operations.
const INTRODUCTION: &str = include_str!("introduction.md");

/// The tag of what everybody may read.
pub(super) const PUBLIC_TAG: &str = "Certificate authority";
/// The tag of the token endpoints.
pub(super) const TOKENS_TAG: &str = "Bearer tokens";

/// Routes, each with its document: there is no way to add one without the other.
pub(super) struct Routes(OpenApiRouter<Api>);

impl Routes {
    pub(super) fn new() -> Self {
        Self(OpenApiRouter::with_openapi(OpenApi::default()))
    }

    /// With one path more: what `routes!` makes of its handlers.
    pub(super) fn add(self, routes: UtoipaMethodRouter<Api>) -> Self {
        Self(self.0.routes(routes))
    }

    pub(super) fn merge(self, other: Self) -> Self {
        Self(self.0.merge(other.0))
    }

    /// With the routes of a version below its path.
    pub(super) fn nest(self, version: Version, routes: Self) -> Self {
        let mut routes = routes.0.layer(axum::Extension(version));
        each_operation(routes.get_openapi_mut(), |_, _, operation| operations::finish(operation, version));
        Self(self.0.nest(&version_path(version), routes))
    }

    /// What is served, and its document.
    pub(super) fn split(self) -> (Router<Api>, OpenApi) {
        let (router, document) = self.0.split_for_parts();
        (router, finished(document))
    }
}

/// Where the routes of a version are.
fn version_path(version: Version) -> String {
    format!("/keymanager/{}/appkey/{{appkey}}", version.name())
}

/// The version of a path, and what comes after the appkey.
fn in_version(path: &str) -> Option<(Version, &str)> {
    Version::ALL.into_iter().find_map(|version| Some((version, path.strip_prefix(&version_path(version))?)))
}

/// The operations of a path item that the API has.
fn operations_of(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let all = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Delete, &mut item.delete),
        (HttpMethod::Patch, &mut item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn each_operation(document: &mut OpenApi, mut change: impl FnMut(&str, HttpMethod, &mut Operation)) {
    for (path, item) in &mut document.paths.paths {
        operations_of(item).for_each(|(method, operation)| change(path, method, operation));
    }
}

/// The document of all versions, from that of the routes.
fn finished(mut document: OpenApi) -> OpenApi {
    let mut responses = refusals::Responses::default();
    name_versions(&mut document);
    each_operation(&mut document, |path, _, operation| {
        responses.describe(operation);
        let named = operation.parameters.take().into_iter().flatten();
        operation.parameters = Some(operations::path_parameters(path).chain(named).collect());
    });
    links::add(&mut document);
    let mut components = document.components.take().unwrap_or_default();
    responses.move_into(&mut components);
    operations::add_components(&mut components);
    let tags = tags(&mut document);
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Secure Key Manager")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(introduction()))
                .license(Some(License::builder().name("Apache-2.0").identifier(Some("Apache-2.0")).build())),
        )
        .servers(Some([Server::new("/")]))
        .tags(Some(tags))
        .paths(document.paths)
        .components(Some(components))
        .build()
}

/// Says of each operation which versions have it.
fn name_versions(document: &mut OpenApi) {
    let mut versions: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
    each_operation(document, |path, method, _| {
        if let Some((version, rest)) = in_version(path) {
            versions.entry((rest.to_owned(), method_name(&method))).or_default().push(version.name());
        }
    });
    each_operation(document, |path, method, operation| {
        let Some((_, rest)) = in_version(path) else { return };
        let Some(names) = versions.get(&(rest.to_owned(), method_name(&method))) else { return };
        let description = operation.description.get_or_insert_default();
        let separator = if description.is_empty() { "" } else { "\n\n" };
        // Writing to a String can't fail.
        let _ = write!(description, "{separator}Exists in {}.", names.join(", "));
        if names == &[Version::V1_3.name()] {
            description.push_str(" **This product's own**: the hosted service doesn't have it.");
        }
    });
}

const fn method_name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "get",
        HttpMethod::Put => "put",
        HttpMethod::Post => "post",
        HttpMethod::Delete => "delete",
        HttpMethod::Patch => "patch",
        HttpMethod::Options | HttpMethod::Head | HttpMethod::Trace => "other",
    }
}

/// The tags that the operations have: tokens first, then the newest version's.
fn tags(document: &mut OpenApi) -> Vec<Tag> {
    let mut names: Vec<(Option<&str>, String)> = Vec::new();
    each_operation(document, |path, _, operation| {
        let version = in_version(path).map(|(version, _)| version.name());
        names.extend(operation.tags.iter().flatten().map(|tag| (version, tag.clone())));
    });
    // Within a version in the order of the alphabet; a sort by version alone keeps it.
    names.sort_by(|(_, a), (_, b)| a.cmp(b));
    names.sort_by_key(|(version, _)| std::cmp::Reverse(version.map_or("v9", |version| version)));
    names.dedup();
    names.into_iter().map(|(_, name)| Tag::new(name)).collect()
}

/// The document as text.
pub(super) fn json(document: &OpenApi) -> String {
    // Through a value: its maps are in the order of the alphabet, the same in each process. Texts and numbers always have a JSON form.
    let value = serde_json::to_value(document).unwrap_or_default();
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    text
}

/// The introduction with the table of result codes.
fn introduction() -> String {
    let mut codes: Vec<ResultCode> = ResultCode::ALL.to_vec();
    codes.sort_unstable_by_key(|code| code.number());
    let mut text = String::from(INTRODUCTION);
    for code in codes {
        let _ = writeln!(text, "| {} | {} | {} |", code.number(), code.message(), status_of(code).as_u16());
    }
    text
}
