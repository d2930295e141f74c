//! The one table of result codes. A number is never reused; the README publishes them.

macro_rules! result_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $message:literal;)*) => {
        /// What an answer's header says besides "success".
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ResultCode {
            $($(#[$doc])* $name),*
        }

        impl ResultCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The `resultCode` of the answer and of the audit record.
            pub const fn number(self) -> i32 {
                match self {
                    $(Self::$name => $number),*
                }
            }

            /// The `resultMessage` of the answer, which may be made more exact for a field.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message),*
                }
            }
        }
    };
}

result_codes! {
    /// The appkey names no project.
    InvalidAppkey = 1001, "Invalid Appkey";
    /// Credentials are missing or wrong.
    Unauthorized = 1002, "Unauthorized";
    /// The account's role doesn't allow it.
    Forbidden = 1003, "Forbidden";
    /// There is no such route in this version.
    UrlNotFound = 1004, "URL NOT FOUND";
    /// The route exists, the method doesn't.
    MethodNotAllowed = 1005, "Method Not Allowed";
    /// The caller asks too often.
    TooManyRequests = 1006, "Too Many Requests";
    /// Approval is on in the project: a change has to be asked for.
    ApprovalRequired = 1007, "Approval Required";
    /// Nobody approves what he asked for, or had a hand in.
    OwnApprovalRequest = 1008, "Own Approval Request";
    /// The peer's address matches no active entry.
    Ipv4AuthFailure = 2001, "IPv4 Auth Failure";
    /// The MAC header matches no active entry.
    MacAuthFailure = 2002, "MAC Auth Failure";
    /// The client certificate matches no active entry.
    CertificateAuthFailure = 2003, "Certificate Auth Failure";
    /// No such key in the project.
    InvalidKeyId = 3001, "Invalid Key ID";
    /// No such version of the key.
    InvalidKeyVersion = 3002, "Invalid Key Version";
    /// The key is scheduled to be deleted.
    InvalidKeyStatus = 3003, "Invalid Key Status";
    /// The version is scheduled to be deleted.
    InvalidKeyVersionStatus = 3004, "Invalid Key Version Status";
    /// Key material never leaves the token.
    KeyNotExportable = 3005, "Key Not Exportable";
    /// The key version has encrypted as often as is safe.
    KeyUseLimitReached = 3006, "Key Use Limit Reached";
    /// No such key store in the project.
    InvalidKeyStore = 3007, "Invalid Key Store";
    /// Confidential data and imported keys don't rotate.
    KeyNotRotatable = 3008, "Key Not Rotatable";
    /// The current version can't be deleted.
    CurrentKeyVersion = 3009, "Current Key Version";
    /// A key store that holds keys can't be deleted.
    KeyStoreNotEmpty = 3010, "Key Store Not Empty";
    /// No such draft or request in the project.
    InvalidApprovalRequest = 3011, "Invalid Approval Request";
    /// The draft or request is not in the state that this needs.
    InvalidApprovalRequestStatus = 3012, "Invalid Approval Request Status";
    /// The key store has an open request already.
    OpenApprovalRequest = 3013, "Open Approval Request";
    /// A ciphertext or signature that is broken, foreign or altered.
    InvalidUserData = 4001, "Invalid User Data";
    /// The body is not what the content type says.
    MalformedBody = 4002, "Malformed Body";
    /// A field is missing or out of its limits; the message names it.
    InvalidField = 4003, "Invalid Field";
    /// The body is too large.
    BodyTooLarge = 4004, "Body Too Large";
    /// The name or value is taken.
    AlreadyExists = 4005, "Already Exists";
    /// The body's content type is not `application/json`.
    UnsupportedMediaType = 4006, "Unsupported Media Type";
    /// The thing changed meanwhile or is not in the state that this needs.
    Conflict = 4007, "Conflict";
    /// No such client rule in the key store.
    InvalidClientRule = 4008, "Invalid Authentication Entry";
    /// The client rule is not in the state that this needs: scheduled to be deleted, or not.
    InvalidClientRuleStatus = 4010, "Invalid Authentication Entry Status";
    /// The import token is unknown, spent, expired or another project's.
    InvalidImportToken = 4011, "Invalid Import Token";
    /// The token takes no keys from outside, or none of this kind.
    ImportNotSupported = 4012, "Import Not Supported";
    /// The request's header is too large.
    HeaderTooLarge = 4009, "Header Too Large";
    /// The token, the database or the audit log can't be used now.
    ServiceUnavailable = 5001, "Service Unavailable";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_never_zero() {
        let mut numbers: Vec<_> = ResultCode::ALL.iter().map(|code| code.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ResultCode::ALL.len());
        assert!(!numbers.contains(&0));
    }
}
