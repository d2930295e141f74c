//! What is true of every operation of a version: how its caller proves who it is, the parameters of its path, its name.

use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Components;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Ref, RefOr, Required};

use super::codes::{ALWAYS, CREDENTIALS, EXTENSION};
use super::texts;
use crate::api::context::{DRAFT_HEADER, NOTE_HEADER, Version};

/// The parameters of paths, by the component that describes them.
const PATH_PARAMETERS: [(&str, &str); 6] =
    [("appkey", "Appkey"), ("keyid", "KeyId"), ("id", "KeyStoreId"), ("version", "KeyVersion"), ("approvalid", "ApprovalId"), ("position", "Position")];

/// The operation that asks without the headers for it.
const ASKS_OF_PROJECT: &str = "v1_3_ask_of_project";

/// Adds what is true of every operation of `version`.
pub(super) fn finish(operation: &mut Operation, version: Version) {
    operation.operation_id = operation.operation_id.take().map(|id| operation_id(version, &id));
    for tag in operation.tags.iter_mut().flatten() {
        *tag = format!("{} {tag}", version.name());
    }
    operation.security = Some(security(version));
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::Ref(Ref::new("#/components/parameters/ClientMac")));
    if operation.responses.responses.contains_key("202") {
        for component in ["ApprovalNote", "ApprovalDraft"].iter().filter(|_| operation.operation_id.as_deref() != Some(ASKS_OF_PROJECT)) {
            parameters.push(RefOr::Ref(Ref::new(format!("#/components/parameters/{component}"))));
        }
    }
    let mut codes = vec![json!(ALWAYS)];
    if version.wants_credentials() {
        codes.push(json!(CREDENTIALS));
    }
    let extensions = operation.extensions.get_or_insert_default();
    codes.extend(extensions.remove(EXTENSION));
    extensions.insert(EXTENSION.to_owned(), json!(codes));
}

/// The name of an operation in a version: `v1_2_encrypt`.
pub(super) fn operation_id(version: Version, id: &str) -> String {
    format!("{}_{id}", version.name().replace('.', "_"))
}

/// The parameters that stand in a path, as it is written in the document.
pub(super) fn path_parameters(path: &str) -> impl Iterator<Item = RefOr<Parameter>> {
    let stands = move |name: &str| path.contains(&format!("{{{name}}}"));
    let named = PATH_PARAMETERS.into_iter().filter(move |(name, _)| stands(name));
    named.map(|(_, component)| RefOr::Ref(Ref::new(format!("#/components/parameters/{component}"))))
}

/// How the caller proves who it is. By appkey alone: no scheme of OpenAPI stands in a path.
fn security(version: Version) -> Vec<SecurityRequirement> {
    const NO_SCOPES: [&str; 0] = [];
    match version {
        Version::V1_0 | Version::V1_1 => Vec::new(),
        Version::V1_2 => vec![SecurityRequirement::new("AccessKeyId", NO_SCOPES).add("AccessKeySecret", NO_SCOPES)],
        Version::V1_3 => vec![SecurityRequirement::new("BearerToken", NO_SCOPES)],
    }
}

fn parameter<S: ToSchema>(name: &str, place: ParameterIn, required: bool, description: &str) -> RefOr<Parameter> {
    let required = if required { Required::True } else { Required::False };
    RefOr::T(ParameterBuilder::new().name(name).parameter_in(place).required(required).description(Some(description)).schema(Some(S::schema())).build())
}

fn api_key(header: &str, description: &str) -> RefOr<SecurityScheme> {
    RefOr::T(SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(header, description))))
}

/// Adds what all operations refer to.
pub(super) fn add_components(components: &mut Components) {
    components.parameters.extend([
        (
            "Appkey".to_owned(),
            parameter::<texts::Appkey>("appkey", ParameterIn::Path, true, "Names a project. In v1.0 and v1.1 it is all that the caller shows."),
        ),
        ("KeyId".to_owned(), parameter::<texts::KeyId>("keyid", ParameterIn::Path, true, "The key's ID.")),
        ("KeyStoreId".to_owned(), parameter::<texts::KeyStoreId>("id", ParameterIn::Path, true, "The key store's ID, unique in its project.")),
        ("KeyVersion".to_owned(), parameter::<texts::KeyVersion>("version", ParameterIn::Path, true, "The number of a version of the key, from 0.")),
        ("ApprovalId".to_owned(), parameter::<texts::ApprovalId>("approvalid", ParameterIn::Path, true, "The ID of a draft or request.")),
        ("Position".to_owned(), parameter::<texts::Position>("position", ParameterIn::Path, true, "The place of a change in its draft, from 0.")),
        (
            "ApprovalNote".to_owned(),
            parameter::<texts::NoteHeader>(
                NOTE_HEADER,
                ParameterIn::Header,
                false,
                "Where approval is on: the change becomes a request with this note, 1 to 1,000 characters, UTF-8. Elsewhere it means nothing.",
            ),
        ),
        (
            "ApprovalDraft".to_owned(),
            parameter::<texts::DraftHeader>(
                DRAFT_HEADER,
                ParameterIn::Header,
                false,
                "Where approval is on: with `add`, the only value, the change goes into the key store's draft; not together with a note. Elsewhere it means nothing.",
            ),
        ),
        (
            "ClientMac".to_owned(),
            parameter::<texts::ClientMac>(
                "X-TOAST-CLIENT-MAC-ADDR",
                ParameterIn::Header,
                false,
                "The client's MAC address, `aa:bb:cc:dd:ee:ff` or with `-`, in either case; looked at where the key store checks MAC addresses. \
                 What can't be read matches no entry. It is a claim, not proof.",
            ),
        ),
    ]);
    components.security_schemes.extend([
        ("AccessKeyId".to_owned(), api_key("X-TC-AUTHENTICATION-ID", "v1.2: the User Access Key ID, together with its secret.")),
        ("AccessKeySecret".to_owned(), api_key("X-TC-AUTHENTICATION-SECRET", "v1.2: the Secret Access Key.")),
        ("BearerToken".to_owned(), api_key("X-NHN-Authorization", "v1.3: `Bearer {token}`, a token of `/oauth2/token/create`.")),
        (
            "AccessKey".to_owned(),
            RefOr::T(SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Basic)
                    .description(Some("The User Access Key ID as user, the Secret Access Key as password."))
                    .build(),
            )),
        ),
    ]);
}
