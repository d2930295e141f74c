//! What texts and numbers on the wire look like: types that stand for a schema and never have a value.
#![allow(dead_code, reason = "these types only name schemas")]

use serde_json::json;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::account::Role;
use crate::domain::appkey::APPKEY_MAX_CHARS;
use crate::domain::approval::{ExpiryDays, RequestState};
use crate::domain::ids::KeyVersion as Version;
use crate::domain::inventory::Page;
use crate::domain::key::RotationPeriod;
use crate::domain::text::{DESCRIPTION_MAX_CHARS, NAME_MAX_CHARS};
use crate::service::PLAINTEXT_MAX_BYTES;
use crate::service::pki::{CSR_MAX_BYTES, PASSWORD_MAX_CHARS};

/// Control characters and white space (Unicode's property `White_Space`), in a class of a regular expression.
const CONTROL: &str = r"\x00-\x1F\x7F-\x9F\u2028-\u202E\u2066-\u2069";
const SPACE: &str = r" \xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000";

/// Those of them that a note may have within it: all but tabs and line breaks.
const CONTROL_IN_NOTES: &str = r"\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\u2028-\u202E\u2066-\u2069";

/// The texts that are a name as they stand: no white space at their ends, which would be cut off.
fn name_pattern() -> String {
    trimmed(CONTROL)
}

/// Texts without white space at their ends, and within them none of `forbidden`.
fn trimmed(forbidden: &str) -> String {
    let end = format!("[^{CONTROL}{SPACE}]");
    format!("{end}([^{forbidden}]*{end})?")
}

/// Base64 with its padding (RFC 4648, 4), whose unused bits are zeroes.
const BASE64_PATTERN: &str = "^([0-9A-Za-z+/]{4})*([0-9A-Za-z+/][AQgw]==|[0-9A-Za-z+/]{2}[048AEIMQUYcgkosw]=)?$";

/// What an IPv4 entry looks like; which numbers fit, it doesn't say.
const IPV4_PATTERN: &str = r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?";
const MAC_PATTERN: &str = "([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(-[0-9A-Fa-f]{2}){5})";

/// That, or nothing: in queries an empty parameter means the same as none.
fn or_empty(pattern: &str) -> RefOr<Schema> {
    of(text().pattern(Some(format!("^({pattern})?$"))))
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn number(least: u32, most: u32) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(Some(most))
}

fn of(builder: ObjectBuilder) -> RefOr<Schema> {
    RefOr::T(Schema::Object(builder.build()))
}

macro_rules! schemas {
    ($($name:ident: $schema:expr;)*) => {
        $(
            #[derive(Debug)]
            pub(in crate::api) struct $name;
            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema
                }
            }
            impl ToSchema for $name {}
        )*
    };
}

schemas! {
    Appkey: of(text().pattern(Some("^[0-9A-Za-z]+$")).min_length(Some(1)).max_length(Some(APPKEY_MAX_CHARS)));
    KeyId: of(text().pattern(Some("^[0-9a-f]{32}$")).description(Some("A UUID without dashes.")).examples([json!("0f8fad5bd9cb469fa16570867728950e")]));
    KeyStoreId: of(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).examples([json!(1)]));
    KeyVersion: of(number(0, Version::MAX.number()).description(Some("A version's number; the first is 0.")).examples([json!(0)]));
    Name: of(
        text()
            .min_length(Some(1))
            .max_length(Some(NAME_MAX_CHARS))
            .pattern(Some(format!("^{}$", name_pattern())))
            .description(Some(
                "1 to 100 characters, none that control a device or the direction of writing. White space at its ends is cut off, the rest brought to Unicode normalization form C; \
                 names differ by case.",
            ))
            .examples([json!("orders")])
    );
    Description: of(
        text()
            .max_length(Some(DESCRIPTION_MAX_CHARS))
            .pattern(Some(r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$"))
            .description(Some("0 to 1,000 characters; of control characters only line breaks and tabs."))
            .examples([json!("customers' orders")])
    );
    DateTime: of(
        text()
            .pattern(Some(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$"))
            .description(Some("ISO 8601 local time without offset, in the zone of the server's settings (UTC by default)."))
            .examples([json!("2025-01-25T12:00:00")])
    );
    YesNo: of(text().enum_values(Some(["Y", "N"])));
    AuthMode: of(text().enum_values(Some(["AND", "OR"])));
    KeyType: of(text().enum_values(Some(["SECRET", "SYMMETRIC_KEY", "ASYMMETRIC_KEY"])));
    Status: of(text().enum_values(Some(["ACTIVE", "PENDING_DELETION"])).description(Some("In service, or scheduled to be deleted and unusable.")));
    Origin: of(text().enum_values(Some(["GENERATED", "IMPORTED"])).description(Some("Made inside the token, or brought in from outside.")));
    Algorithm: of(text().enum_values(Some(["RSASSA-PSS", "RSASSA-PKCS1-v1_5"])));
    RotationDays: RefOr::T(Schema::AnyOf(
        AnyOfBuilder::new()
            .item(number(0, 0))
            .item(number(RotationPeriod::MIN_DAYS, RotationPeriod::MAX_DAYS))
            .description(Some("Days between automatic rotations: 0 (never), or 30 to 36,500."))
            .build()
    ));
    // OpenAPI counts characters where the service counts bytes: what is short enough in bytes is so in characters.
    SecretValue: of(
        text()
            .min_length(Some(1))
            .max_length(Some(PLAINTEXT_MAX_BYTES))
            .description(Some("1 to 32,768 bytes of UTF-8."))
            .examples([json!("postgres://db.example/shop")])
    );
    Plaintext: of(text().max_length(Some(PLAINTEXT_MAX_BYTES)).description(Some("0 to 32,768 bytes of UTF-8.")).examples([json!("card 4111")]));
    SignedText: of(
        text()
            .max_length(Some(245))
            .description(Some("0 to 245 bytes of UTF-8; not the DER of a `DigestInfo`, for which there is `sign-standard`."))
            .examples([json!("order 4711")])
    );
    SignedBytes: of(
        text()
            .content_encoding("base64")
            .pattern(Some(BASE64_PATTERN))
            .max_length(Some(87_384))
            .description(Some("Base64 (RFC 4648, 4) of at most 64 KiB."))
            .examples([json!("b3JkZXIgNDcxMQ==")])
    );
    Sealed: of(
        text()
            .content_encoding("base64")
            .pattern(Some(BASE64_PATTERN))
            .description(Some("Base64 of the key version as a 4-byte big-endian number and the payload: what this service made."))
            .examples([json!("AAAAAA==")])
    );
    Base64: of(text().content_encoding("base64").pattern(Some(BASE64_PATTERN)).description(Some("Base64 (RFC 4648, 4).")).examples([json!("MIIBIg==")]));
    PlainKey: of(text().content_encoding("base64").pattern(Some("^[0-9A-Za-z+/]{42}[048AEIMQUYcgkosw]=$")).description(Some("Base64 of exactly 32 bytes.")));
    WrappedKey: of(text().content_encoding("base64").pattern(Some("^[0-9A-Za-z+/]{341}[AQgw]==$")).description(Some("Base64 of exactly 256 bytes.")));
    Ipv4Entry: of(
        text()
            .pattern(Some(format!("^{IPV4_PATTERN}$")))
            .description(Some("An IPv4 address or CIDR block: no leading zeroes, no bits set after the prefix, not `/0`. A `/32` is the address."))
            .examples([json!("192.0.2.0/24")])
    );
    MacEntry: of(
        text()
            .pattern(Some(format!("^{MAC_PATTERN}$")))
            .description(Some("The address of one network card: neither all zeroes nor a group address. Answered in lower case with colons."))
            .examples([json!("aa:bb:cc:dd:ee:ff")])
    );
    CertificatePassword: of(
        text()
            .pattern(Some(format!("^[ -~]{{1,{PASSWORD_MAX_CHARS}}}$")))
            .description(Some(format!("The `.p12`'s password: 1 to {PASSWORD_MAX_CHARS} printable ASCII characters. It is kept nowhere.")))
            .examples([json!("change-it-soon")])
    );
    SigningRequest: of(text().max_length(Some(CSR_MAX_BYTES)).description(Some("A certificate signing request (PKCS#10), PEM.")));
    LifeDays: of(number(1, crate::service::CERTIFICATE_LIFE_MAX_DAYS).examples([json!(365)]));
    ClientMac: of(text().examples([json!("aa:bb:cc:dd:ee:ff")]));
    // In queries an empty parameter means the same as none.
    DetailQuery: of(text().enum_values(Some(["true", "false", ""])));
    KeyTypeQuery: of(text().enum_values(Some(["SECRET", "SYMMETRIC_KEY", "ASYMMETRIC_KEY", ""])));
    KeyStatusQuery: of(text().enum_values(Some(["active", "inactive", ""])));
    Ipv4EntryQuery: or_empty(IPV4_PATTERN);
    MacEntryQuery: or_empty(MAC_PATTERN);
    NameQuery: or_empty(&name_pattern());
    ApprovalId: of(text().pattern(Some("^[0-9a-f]{32}$")).examples([json!("0f8fad5bd9cb469fa16570867728950e")]));
    ApprovalStatus: of(text().enum_values(Some(RequestState::ALL.map(RequestState::as_str))));
    ApprovalStatusQuery: of(text().enum_values(Some(RequestState::ALL.map(RequestState::as_str).into_iter().chain([""]))));
    Digest: of(text().pattern(Some("^[0-9a-f]{64}$")).description(Some("SHA-256 of exactly what is asked for.")));
    Revision: of(number(0, u32::MAX).examples([json!(3)]));
    PasswordPart: of(text().pattern(Some("^[a-km-np-z2-9]{5}(-[a-km-np-z2-9]{5}){3}$")).examples([json!("q7hdm-2kxrc-9vntw-b4pze")]));
    Position: of(number(0, u32::MAX).examples([json!(0)]));
    Note: of(
        text().min_length(Some(1)).max_length(Some(DESCRIPTION_MAX_CHARS)).pattern(Some(format!("^{}$", trimmed(CONTROL_IN_NOTES)))).description(Some(
            "1 to 1,000 characters; tabs and line breaks, but none else that control a device or the direction of writing. White space at its ends is cut off.",
        ))
    );
    // What is sent counts only where approval is on: elsewhere anything may stand there.
    NoteHeader: of(text().examples([json!("rotate before the audit")]));
    DraftHeader: of(text().examples([json!("add")]));
    RoleWord: of(text().enum_values(Some(Role::ALL.map(Role::as_str))));
    ProjectChangeWord: of(text().enum_values(Some([
        "GRANT_ROLE", "REVOKE_ROLE", "CREATE_ACCOUNT", "RESET_PASSWORD", "ENABLE_ACCOUNT", "SET_MAY_APPROVE", "CHANGE_EXPIRY", "TURN_APPROVAL_OFF",
    ])));
    ExpiryDaysNumber: of(number(1, ExpiryDays::MAX).examples([json!(14)]));
    PageNumber: of(number(1, Page::NUMBER_MAX).examples([json!(1)]));
    PageSize: of(number(Page::SIZE_MIN, Page::SIZE_MAX).examples([json!(10)]));
    NamePart: of(text().max_length(Some(NAME_MAX_CHARS)).pattern(Some(r"^[^\x00-\x1F\x7F-\x9F]*$")));
}
