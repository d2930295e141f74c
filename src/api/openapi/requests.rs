//! The bodies and queries of requests, for the document alone: they are read field by field (`body.rs`), so that every error names its
//! field.
#![allow(dead_code, reason = "these types only name schemas")]

use utoipa::openapi::schema::{AllOfBuilder, AnyOfBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::texts::{
    Algorithm, AuthMode, CertificatePassword, Description, DetailQuery, Ipv4Entry, Ipv4EntryQuery, KeyStatusQuery, KeyTypeQuery, KeyVersion, LifeDays,
    MacEntry, MacEntryQuery, Name, NamePart, NameQuery, PageNumber, PageSize, PlainKey, Plaintext, RotationDays, Sealed, SecretValue, SignedBytes, SignedText,
    SigningRequest, WrappedKey, YesNo,
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
        let on = || ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["Y"]));
        one_of_them::<KeyStoreFields>(
            &["ip4AuthUse", "macAuthUse", "certificateAuthUse"],
            on,
            "`ip4AuthUse`, `macAuthUse` and `certificateAuthUse` are \"N\" and `authMode` is \"AND\" where they are missing; at least one check must be \"Y\".",
        )
    }
}

/// The fields, of which at least one of `names` is as `needed` says.
fn one_of_them<F: PartialSchema>(names: &[&str], needed: impl Fn() -> ObjectBuilder, description: &str) -> RefOr<Schema> {
    let one = names.iter().map(|name| ObjectBuilder::new().property(*name, needed()).required(*name));
    let one = one.fold(AnyOfBuilder::new(), AnyOfBuilder::item);
    RefOr::T(Schema::AllOf(AllOfBuilder::new().item(F::schema()).item(one).description(Some(description)).build()))
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

/// A key from outside: plain, or wrapped.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::api) enum ImportRequest {
    Plain {
        #[schema(rename = "keyStoreName")]
        key_store_name: Name,
        name: Name,
        description: Option<Description>,
        /// The key's 32 bytes.
        #[schema(rename = "keyData")]
        key_data: PlainKey,
    },
    Wrapped {
        #[schema(rename = "keyStoreName")]
        key_store_name: Name,
        name: Name,
        description: Option<Description>,
        /// Of the import parameters.
        #[schema(rename = "importToken")]
        import_token: String,
        /// The key's 32 bytes, encrypted with the public key of the import parameters.
        #[schema(rename = "wrappedKey")]
        wrapped_key: WrappedKey,
    },
}

/// What changes of a key: something must.
#[derive(Debug)]
pub(in crate::api) struct ChangeKeyRequest;

impl PartialSchema for ChangeKeyRequest {
    fn schema() -> RefOr<Schema> {
        let there = || ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Integer]));
        let names = ["name", "description", "autoRotationPeriod"];
        one_of_them::<ChangeKeyFields>(&names, there, "What is missing or `null` stays as it is; at least one field must be there.")
    }
}

impl ToSchema for ChangeKeyRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ChangeKeyFields::schemas(schemas);
    }
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChangeKeyFields {
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

/// A certificate to be, for a key that its client keeps.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SignCertificateRequest {
    key_store_name: Name,
    name: Name,
    csr: SigningRequest,
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
    #[param(inline)]
    key_version: Option<KeyVersion>,
}

/// The query of the list of drafts and requests.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct RequestsQuery {
    /// Those in this state alone.
    #[param(inline)]
    status: Option<super::texts::ApprovalStatusQuery>,
    /// Those of this key store alone.
    #[param(inline)]
    key_store_id: Option<super::texts::KeyStoreId>,
    /// The page, from 1.
    #[param(inline)]
    page_number: Option<PageNumber>,
    /// Entries of a page.
    #[param(inline)]
    page_size: Option<PageSize>,
}

/// What `approvals/{approvalid}/request` wants.
#[derive(ToSchema)]
pub(in crate::api) struct AskRequest {
    note: super::texts::Note,
    /// The draft's, as whoever asks has looked at it.
    revision: Option<super::texts::Revision>,
}

/// What `approve` wants: nothing, or the digest of what the approver has looked at.
#[derive(ToSchema)]
pub(in crate::api) struct DecisionRequest {
    digest: Option<super::texts::Digest>,
}

/// What `deny` wants.
#[derive(ToSchema)]
pub(in crate::api) struct DenialRequest {
    reason: super::texts::Note,
}

/// What `POST /approvals` wants: `change`, and what that needs.
#[derive(Debug)]
pub(in crate::api) struct ProjectChangeRequest;

/// Words of `change`, and the fields that they need.
type Needed = (&'static [&'static str], &'static [(&'static str, Type)]);

const PROJECT_CHANGES: [Needed; 7] = [
    (&["GRANT_ROLE", "REVOKE_ROLE"], &[("login", Type::String), ("role", Type::String)]),
    (&["CREATE_ACCOUNT"], &[("login", Type::String), ("role", Type::String), ("password", Type::String)]),
    (&["RESET_PASSWORD"], &[("login", Type::String), ("password", Type::String)]),
    (&["ENABLE_ACCOUNT"], &[("login", Type::String)]),
    (&["SET_MAY_APPROVE"], &[("accessKeyId", Type::String), ("mayApprove", Type::String)]),
    (&["CHANGE_EXPIRY"], &[("expiryDays", Type::Integer)]),
    (&["TURN_APPROVAL_OFF"], &[]),
];

impl PartialSchema for ProjectChangeRequest {
    fn schema() -> RefOr<Schema> {
        let one = PROJECT_CHANGES.into_iter().fold(AnyOfBuilder::new(), |one, (words, needed)| {
            let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()));
            let change = ObjectBuilder::new().property("change", word).required("change");
            let with =
                |change: ObjectBuilder, (name, kind): &(&str, Type)| change.property(*name, ObjectBuilder::new().schema_type(kind.clone())).required(*name);
            one.item(needed.iter().fold(change, with))
        });
        let description = "What is there beside `change`, `note` and what that change needs counts for nothing.";
        RefOr::T(Schema::AllOf(AllOfBuilder::new().item(ProjectChangeFields::schema()).item(one).description(Some(description)).build()))
    }
}

impl ToSchema for ProjectChangeRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ProjectChangeFields::schemas(schemas);
    }
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProjectChangeFields {
    change: super::texts::ProjectChangeWord,
    note: super::texts::Note,
    login: Option<String>,
    role: Option<super::texts::RoleWord>,
    /// The first part of the account's password: 12 characters or more, and at most 233 bytes.
    password: Option<String>,
    access_key_id: Option<String>,
    may_approve: Option<YesNo>,
    expiry_days: Option<super::texts::ExpiryDaysNumber>,
}

/// The query of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct ListQuery {
    /// With `true`, all about each instead of the IDs alone.
    #[param(inline)]
    detail: Option<DetailQuery>,
}

/// The query of the list of keys. Filters and page count with `detail=true` only; what is wrong with them is told in any case.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct KeysQuery {
    /// With `true`, all about each key of one page instead of the IDs of all.
    #[param(inline)]
    detail: Option<DetailQuery>,
    /// Keys of this kind alone.
    #[param(rename = "type", inline)]
    kind: Option<KeyTypeQuery>,
    /// Keys with this in their names.
    #[param(inline)]
    name: Option<NamePart>,
    /// Keys in service (`active`), or scheduled to be deleted (`inactive`).
    #[param(inline)]
    status: Option<KeyStatusQuery>,
    /// Which page, from 1.
    #[param(inline)]
    page_number: Option<PageNumber>,
    /// How many keys on a page; 10 where it is missing.
    #[param(inline)]
    page_size: Option<PageSize>,
}

/// The query of a list of clients.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct Ipv4Query {
    /// All about this entry instead of the values of all.
    #[param(inline)]
    value: Option<Ipv4EntryQuery>,
}

/// The query of a list of clients.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct MacQuery {
    /// All about this entry instead of the values of all.
    #[param(inline)]
    value: Option<MacEntryQuery>,
}

/// The query of a list of clients.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct CertificateQuery {
    /// All about the certificate of this name instead of the names of all.
    #[param(inline)]
    value: Option<NameQuery>,
}

/// The query of `download`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct CertificateFileQuery {
    /// The key store's name.
    #[param(inline)]
    key_store_name: Name,
    /// The certificate's name.
    #[param(inline)]
    name: Name,
}
