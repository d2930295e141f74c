//! Why a request is not done: one type for all use cases.

use std::time::Duration;

use super::pki::PkiError;
use crate::domain::approval::RequestState;
use crate::domain::client_checks::Method;
use crate::domain::ids::ChangeRequestId;
use crate::domain::result_code::ResultCode;
use crate::domain::text::Invalid;
use crate::hsm::HsmError;
use crate::store::{StoreError, Unique};

/// How long a caller is asked to wait when the token or the database can't be used.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What became of a change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposed {
    /// The draft or request that it is in.
    pub request: ChangeRequestId,
    /// Its place there.
    pub position: u32,
    /// `DRAFT` or `READY`.
    pub state: RequestState,
}

/// Why a request is not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// Nothing more is told than the code's own message.
    #[error("{}", .0.message())]
    Code(ResultCode),
    /// A field can't be taken.
    #[error(transparent)]
    Field(#[from] Invalid),
    /// The body can't be read; says where, never what stood there.
    #[error("Malformed Body: {0}")]
    Malformed(String),
    /// The body is larger than this many bytes.
    #[error("Body Too Large: at most {0} bytes")]
    TooLarge(usize),
    /// A unique name or value is taken.
    #[error("{field} is taken: {what} exists")]
    Exists {
        /// The field on the wire.
        field: &'static str,
        /// What exists already.
        what: Unique,
    },
    /// Not done now: approval is on, and it was asked for instead.
    #[error("Asked for")]
    Proposed(Proposed),
    /// Ask again after a while.
    #[error("Too Many Requests")]
    TooMany(Duration),
    /// The token, the database or the audit log can't be used. The reason is for the log alone.
    #[error("Service Unavailable")]
    Unavailable {
        /// What is wrong, never shown to the caller.
        reason: String,
    },
}

impl Refusal {
    /// The code of the answer and of the audit record.
    pub const fn code(&self) -> ResultCode {
        match self {
            Self::Code(code) => *code,
            Self::Field(_) => ResultCode::InvalidField,
            Self::Malformed(_) => ResultCode::MalformedBody,
            Self::TooLarge(_) => ResultCode::BodyTooLarge,
            Self::Exists { .. } => ResultCode::AlreadyExists,
            // Its record tells that it was asked for; this is what would be told of one that was not.
            Self::Proposed(_) => ResultCode::ApprovalRequired,
            Self::TooMany(_) => ResultCode::TooManyRequests,
            Self::Unavailable { .. } => ResultCode::ServiceUnavailable,
        }
    }

    /// Something that the service needs can't be used.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }
}

impl From<ResultCode> for Refusal {
    fn from(code: ResultCode) -> Self {
        Self::Code(code)
    }
}

impl From<Method> for Refusal {
    fn from(failed: Method) -> Self {
        Self::Code(match failed {
            Method::Ipv4 => ResultCode::Ipv4AuthFailure,
            Method::Mac => ResultCode::MacAuthFailure,
            Method::Certificate => ResultCode::CertificateAuthFailure,
        })
    }
}

impl From<HsmError> for Refusal {
    /// A ciphertext that the token refuses is the caller's; everything else means that the token can't be used for this now.
    fn from(error: HsmError) -> Self {
        match error {
            HsmError::Rejected { .. } => Self::Code(ResultCode::InvalidUserData),
            HsmError::Busy
            | HsmError::Late { .. }
            | HsmError::Unavailable { .. }
            | HsmError::Missing(_)
            | HsmError::Ambiguous(_)
            | HsmError::Exists(_)
            | HsmError::Dishonest { .. }
            | HsmError::Failed { .. }
            | HsmError::Setup(_) => Self::unavailable(error.to_string()),
        }
    }
}

impl From<PkiError> for Refusal {
    /// What the caller sent is told by field; everything else is the service's own trouble.
    fn from(error: PkiError) -> Self {
        match error {
            PkiError::Invalid(invalid) => invalid.into(),
            PkiError::Token(error) => error.into(),
            other => Self::unavailable(other.to_string()),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists { what: Unique::OpenRequest } => Self::Code(ResultCode::OpenApprovalRequest),
            StoreError::Exists { what } => Self::Exists { field: field_of(what), what },
            StoreError::Stale { .. } => Self::Code(ResultCode::Conflict),
            StoreError::Governed => Self::Code(ResultCode::ApprovalRequired),
            StoreError::Busy | StoreError::Unavailable { .. } | StoreError::Corrupt { .. } | StoreError::Schema(_) | StoreError::Failed { .. } => {
                Self::unavailable(error.to_string())
            }
        }
    }
}

/// The field on the wire that a unique constraint is about.
const fn field_of(what: Unique) -> &'static str {
    match what {
        Unique::ProjectName | Unique::KeyStoreName | Unique::KeyName | Unique::OpenRequest | Unique::Other => "name",
        Unique::Appkey => "appkey",
        Unique::Login => "login",
        Unique::Role => "role",
        Unique::ClientRule => "value",
        Unique::Recipient => "target",
    }
}
