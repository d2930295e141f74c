//! The result codes that operations may answer besides success, in the groups in which they come.

use crate::domain::result_code::ResultCode;

/// The operation's extension in which they are named until its responses are made of it.
pub(super) const EXTENSION: &str = "x-result-codes";

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident = $($code:ident)|+;)*) => {
        $($(#[$doc])* pub(in crate::api) const $name: &[i32] = &[$(ResultCode::$code.number()),+];)*
    };
}

groups! {
    /// Of every operation below an appkey.
    ALWAYS = InvalidAppkey | UrlNotFound | TooManyRequests | HeaderTooLarge | ServiceUnavailable;
    /// Of what everybody may read.
    PUBLIC = UrlNotFound | TooManyRequests | HeaderTooLarge | ServiceUnavailable;
    /// Of every operation of a version that wants credentials.
    CREDENTIALS = Unauthorized | Forbidden;
    /// Of what reads the inventory, by appkey alone too.
    READING = Forbidden;
    /// Of what names a key in its path.
    KEY = InvalidKeyId;
    /// Of what runs a key store's client checks.
    CHECKS = Ipv4AuthFailure | MacAuthFailure | CertificateAuthFailure;
    /// Of what needs a key in service.
    IN_SERVICE = InvalidKeyStatus;
    /// Of what names a version, in whatever way.
    VERSION = InvalidKeyVersion | InvalidKeyVersionStatus;
    /// Of what doesn't do to the current version.
    OLD_VERSION = CurrentKeyVersion;
    /// Of what has a body of fields.
    BODY = MalformedBody | InvalidField | BodyTooLarge | UnsupportedMediaType;
    /// Of what has parameters in its query.
    QUERY = MalformedBody | InvalidField;
    /// Of what takes a ciphertext or a signature.
    USER_DATA = InvalidUserData;
    /// Of what encrypts.
    ENCRYPTS = KeyUseLimitReached;
    /// Of what rotates a key.
    ROTATES = KeyNotRotatable | Conflict | InvalidField;
    /// Of what would show a key's material.
    EXPORTS = KeyNotExportable;
    /// Of what names a key store.
    KEY_STORE = InvalidKeyStore;
    /// Of what deletes a key store.
    NOT_EMPTY = KeyStoreNotEmpty;
    /// Of what makes or renames something.
    NAMES = AlreadyExists;
    /// Of what changes something that somebody else may change meanwhile.
    CHANGES = Conflict;
    /// Of what has to be asked for where approval is on.
    GOVERNED = ApprovalRequired | OpenApprovalRequest | Conflict | InvalidField;
    /// Of what names a draft or request.
    REQUEST = InvalidApprovalRequest;
    /// Of what needs a draft or request in a certain state.
    REQUEST_STATUS = InvalidApprovalRequestStatus;
    /// Of what decides upon a request.
    DECIDES = OwnApprovalRequest;
    /// Of what the token may not be able to do.
    IMPORTS = ImportNotSupported;
    /// Of what takes an import token.
    SPENDS = InvalidImportToken | InvalidUserData;
    /// Of what names a client's entry.
    ENTRY = InvalidClientRule;
    /// Of what needs a client's entry in a certain state.
    ENTRY_STATUS = InvalidClientRuleStatus;
}
