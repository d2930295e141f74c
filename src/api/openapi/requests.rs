//! The bodies and queries of requests, for the document alone: they are read field by field (`body.rs`), so that every error names its
//! field.
#![allow(dead_code, reason = "these types only name schemas")]

use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::texts::{
    Algorithm, AuthMode, CertificatePassword, Description, DetailQuery, Ipv4Entry, KeyStatusQuery, KeyTypeQuery, KeyVersion, LifeDays, MacEntry, Name,
    NamePart, PageNumber, PageSize, Plaintext, RotationDays, Sealed, SecretValue, SignedBytes, SignedText, YesNo,
};

/// What `PUT /secrets/{keyid}` wants.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ChangeSecretRequest {
    secret_value: SecretValue,
}

/// What `encrypt` wants.
#[derive(ToSchema)]
pub(in crate::api) struct EncryptRequest {
    plaintext: Plaintext,
}

/// What `decrypt` wants.
#[derive(ToSchema)]
pub(in crate::api) struct DecryptRequest {
    ciphertext: Sealed,
}

/// What `sign` wants.
#[derive(ToSchema)]
pub(in crate::api) struct SignRequest {
    plaintext: SignedText,
}

/// What `verify` wants.
#[derive(ToSchema)]
pub(in crate::api) struct VerifyRequest {
    plaintext: SignedText,
    signature: Sealed,
}

/// What `sign-standard` wants.
#[derive(ToSchema)]
pub(in crate::api) struct SignStandardRequest {
    plaintext: SignedBytes,
    algorithm: Algorithm,
}

/// What `verify-standard` wants.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct VerifyStandardRequest {
    plaintext: SignedBytes,
    signature: super::texts::Base64,
    algorithm: Algorithm,
    key_version: KeyVersion,
}

/// A key store's fields: at least one client check is on.
#[derive(Debug)]
pub(in crate::api) struct KeyStoreRequest;

impl PartialSchema for KeyStoreRequest {
    fn schema() -> RefOr<Schema> {
        let on = |field: &str| ObjectBuilder::new().property(field, ObjectBuilder::new().enum_values(Some(["Y"]))).required(field);
        let one_on = AnyOfBuilder::new().item(on("ip4AuthUse")).item(on("macAuthUse")).item(on("certificateAuthUse"));
        let fields = KeyStoreFields::schema();
        RefOr::T(Schema::AllOf(
            utoipa::openapi::schema::AllOfBuilder::new()
                .item(fields)
                .item(one_on)
                .description(Some("`ip4AuthUse`, `macAuthUse` and `certificateAuthUse` are \"N\" and `authMode` is \"AND\" where they are missing; at least one check must be \"Y\"."))
                .build(),
        ))
    }
}

impl ToSchema for KeyStoreRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        KeyStoreFields::schemas(schemas);
    }
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyStoreFields {
    name: Name,
    description: Option<Description>,
    ip4_auth_use: Option<YesNo>,
    mac_auth_use: Option<YesNo>,
    certificate_auth_use: Option<YesNo>,
    auth_mode: Option<AuthMode>,
}

/// What makes confidential data.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct CreateSecretRequest {
    key_store_name: Name,
    name: Name,
    description: Option<Description>,
    secret_value: SecretValue,
}

/// What makes a key.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct CreateKeyRequest {
    key_store_name: Name,
    name: Name,
    description: Option<Description>,
    auto_rotation_period: Option<RotationDays>,
}

/// What changes of a key. What is missing stays as it is; something must be there.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(min_properties = 1)]
pub(in crate::api) struct ChangeKeyRequest {
    name: Option<Name>,
    description: Option<Description>,
    auto_rotation_period: Option<RotationDays>,
}

/// An IPv4 entry to be.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewIpv4Request {
    key_store_name: Name,
    value: Ipv4Entry,
    description: Option<Description>,
}

/// A MAC entry to be.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewMacRequest {
    key_store_name: Name,
    value: MacEntry,
    description: Option<Description>,
}

/// A certificate to be.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewCertificateRequest {
    key_store_name: Name,
    name: Name,
    password: CertificatePassword,
    life_time: LifeDays,
    description: Option<Description>,
}

/// Which IPv4 entry is meant.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Ipv4Selector {
    key_store_name: Name,
    value: Ipv4Entry,
}

/// Which MAC entry is meant.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct MacSelector {
    key_store_name: Name,
    value: MacEntry,
}

/// Which certificate is meant.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct CertificateSelector {
    key_store_name: Name,
    name: Name,
}

/// What `POST /oauth2/token/create` wants.
#[derive(ToSchema)]
pub(in crate::api) struct TokenForm {
    grant_type: GrantType,
}

#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum GrantType {
    ClientCredentials,
}

/// What `POST /oauth2/token/revoke` wants.
#[derive(ToSchema)]
pub(in crate::api) struct RevocationForm {
    /// The token; one that isn't there is no error.
    token: String,
}

/// The query of `publicKey`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct VersionQuery {
    /// Which version's key; the current one's where it is missing or empty.
    key_version: Option<KeyVersion>,
}

/// The query of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct ListQuery {
    /// With `true`, all about each instead of the IDs alone.
    detail: Option<DetailQuery>,
}

/// The query of the list of keys. Filters and page count with `detail=true` only; what is wrong with them is told in any case.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct KeysQuery {
    /// With `true`, all about each key of one page instead of the IDs of all.
    detail: Option<DetailQuery>,
    /// Keys of this kind alone.
    #[param(rename = "type")]
    kind: Option<KeyTypeQuery>,
    /// Keys with this in their names.
    name: Option<NamePart>,
    /// Keys in service (`active`), or scheduled to be deleted (`inactive`).
    status: Option<KeyStatusQuery>,
    /// Which page, from 1.
    page_number: Option<PageNumber>,
    /// How many keys on a page; 10 where it is missing.
    page_size: Option<PageSize>,
}

/// The query of a list of clients.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct EntryQuery {
    /// All about this entry (a certificate's name) instead of the values of all.
    value: Option<String>,
}
