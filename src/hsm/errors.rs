//! What can go wrong, and what to do about it.

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};

use crate::domain::ids::ObjectId;

/// Why the token did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HsmError {
    /// The lane's queue is full: nothing was done. Try again after a moment.
    #[error("the token's queue is full")]
    Busy,
    /// The deadline passed; whether the operation happened is not known.
    #[error("the token did not answer {function} in time")]
    Late {
        /// The PKCS#11 function that was under way or waiting.
        function: &'static str,
    },
    /// The token can't be used now (gone, breaker open, being reconnected): nothing was done.
    #[error("the token is unavailable: {reason}")]
    Unavailable {
        /// What is wrong, with function and return value.
        reason: String,
    },
    /// The data is the caller's fault: a ciphertext that doesn't authenticate, text too long to sign.
    #[error("the token refuses the data: {function} {return_value}")]
    Rejected {
        /// The PKCS#11 function.
        function: &'static str,
        /// The `CKR_` value.
        return_value: String,
    },
    /// The object is not in the token.
    #[error("no object {0} in the token")]
    Missing(ObjectId),
    /// More than one object has that ID: never guess.
    #[error("more than one object {0} in the token")]
    Ambiguous(ObjectId),
    /// An object with the ID of a new one is in the token already; nothing was made.
    #[error("an object {0} is in the token already")]
    Exists(ObjectId),
    /// The token made an object without the attributes that were asked for; the object was destroyed.
    #[error("the token lies about {attribute}")]
    Dishonest {
        /// The attribute that was not as asked.
        attribute: &'static str,
    },
    /// Something else failed.
    #[error("{function} failed with {return_value}{}", mechanism.map(|m| format!(" ({m})")).unwrap_or_default())]
    Failed {
        /// The PKCS#11 function.
        function: &'static str,
        /// The `CKR_` value.
        return_value: String,
        /// The mechanism, where one was used.
        mechanism: Option<&'static str>,
    },
    /// The configuration or the profile doesn't fit this token (wrong PIN, no such label, mechanism missing).
    #[error("{0}")]
    Setup(String),
}

/// What to do about a PKCS#11 call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing: the data is the caller's fault.
    BlameCaller,
    /// Try once more.
    TryAgain,
    /// Look the object up, then try once more.
    LookUp,
    /// Throw the session away, then try once more with a new one.
    NewSession,
    /// Rebuild the connection to the token.
    NewConnection,
    /// Ask the token, by other calls, what is meant.
    Diagnose,
    /// Nothing helps.
    GiveUp,
}

/// What a failed call answered.
#[derive(Debug, Clone)]
enum Answer {
    Returned(RvError),
    /// What the binding or a check of ours said; no return value of the token's.
    Said(String),
}

/// A PKCS#11 call that failed: function, return value and mechanism, kept until a boundary turns it into an [`HsmError`].
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) function: &'static str,
    answer: Answer,
    mechanism: Option<&'static str>,
}

pub(super) type Call<T> = Result<T, Fault>;

impl Fault {
    /// A check of ours that the answer of `function` did not pass.
    pub(super) fn said(function: &'static str, what: impl Into<String>) -> Self {
        Self { function, answer: Answer::Said(what.into()), mechanism: None }
    }

    /// A return value that we give in the token's place, having looked ourselves.
    pub(super) fn returned(function: &'static str, value: RvError) -> Self {
        Self { function, answer: Answer::Returned(value), mechanism: None }
    }

    pub(super) fn with_mechanism(mut self, mechanism: &'static str) -> Self {
        self.mechanism = Some(mechanism);
        self
    }

    pub(super) fn value(&self) -> Option<RvError> {
        match self.answer {
            Answer::Returned(value) => Some(value),
            Answer::Said(_) => None,
        }
    }

    /// The `CKR_` value, or what was said in its place.
    pub(super) fn return_value(&self) -> String {
        match &self.answer {
            Answer::Returned(RvError::VendorDefined(code) | RvError::UnknownErrorCode(code)) => format!("return value {code:#010x}"),
            Answer::Returned(value) => ckr_name(&format!("{value:?}")),
            Answer::Said(what) => what.clone(),
        }
    }

    /// Function and return value, for an operator.
    pub(super) fn describe(&self) -> String {
        let mechanism = self.mechanism.map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{} {}{mechanism}", self.function, self.return_value())
    }

    pub(super) fn remedy(&self) -> Remedy {
        match &self.answer {
            Answer::Returned(value) => remedy(*value),
            Answer::Said(_) => Remedy::GiveUp,
        }
    }

    pub(super) fn rejected(&self) -> HsmError {
        HsmError::Rejected { function: self.function, return_value: self.return_value() }
    }

    pub(super) fn failed(&self) -> HsmError {
        HsmError::Failed { function: self.function, return_value: self.return_value(), mechanism: self.mechanism }
    }
}

/// `CKR_AEAD_DECRYPT_FAILED` (PKCS#11 v3.0), which the binding doesn't name.
const CKR_AEAD_DECRYPT_FAILED: u64 = 0x35;

fn remedy(value: RvError) -> Remedy {
    match value {
        RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::DataInvalid
        | RvError::DataLenRange
        | RvError::SignatureInvalid
        | RvError::SignatureLenRange
        | RvError::WrappedKeyInvalid
        | RvError::WrappedKeyLenRange
        | RvError::UnknownErrorCode(CKR_AEAD_DECRYPT_FAILED) => Remedy::BlameCaller,
        RvError::Cancel | RvError::FunctionCanceled | RvError::HostMemory | RvError::DeviceMemory => Remedy::TryAgain,
        RvError::ObjectHandleInvalid | RvError::KeyHandleInvalid | RvError::UnwrappingKeyHandleInvalid => Remedy::LookUp,
        RvError::SessionHandleInvalid | RvError::SessionClosed | RvError::OperationActive | RvError::OperationNotInitialized | RvError::BufferTooSmall => {
            Remedy::NewSession
        }
        RvError::DeviceError
        | RvError::DeviceRemoved
        | RvError::SlotIdInvalid
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::UserNotLoggedIn
        | RvError::CryptokiNotInitialized => Remedy::NewConnection,
        RvError::GeneralError | RvError::FunctionFailed => Remedy::Diagnose,
        _ => Remedy::GiveUp,
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(value, function) => Self::returned(function_name(function), value),
            Error::NotSupported | Error::NullFunctionPointer => Self::said("PKCS#11", "CKR_FUNCTION_NOT_SUPPORTED"),
            other => Self::said("PKCS#11", other.to_string()),
        }
    }
}

/// `SessionHandleInvalid` as PKCS#11 writes it: `CKR_SESSION_HANDLE_INVALID`.
fn ckr_name(camel_case: &str) -> String {
    camel_case.chars().fold("CKR".to_owned(), |mut name, letter| {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
        name
    })
}

const fn function_name(function: Function) -> &'static str {
    match function {
        Function::Initialize => "C_Initialize",
        Function::Finalize => "C_Finalize",
        Function::GetSlotList => "C_GetSlotList",
        Function::GetTokenInfo => "C_GetTokenInfo",
        Function::GetMechanismList => "C_GetMechanismList",
        Function::InitToken => "C_InitToken",
        Function::InitPIN => "C_InitPIN",
        Function::OpenSession => "C_OpenSession",
        Function::CloseSession => "C_CloseSession",
        Function::Login => "C_Login",
        Function::CreateObject => "C_CreateObject",
        Function::DestroyObject => "C_DestroyObject",
        Function::GetAttributeValue => "C_GetAttributeValue",
        Function::FindObjectsInit => "C_FindObjectsInit",
        Function::FindObjects => "C_FindObjects",
        Function::FindObjectsFinal => "C_FindObjectsFinal",
        Function::EncryptInit => "C_EncryptInit",
        Function::Encrypt => "C_Encrypt",
        Function::DecryptInit => "C_DecryptInit",
        Function::Decrypt => "C_Decrypt",
        Function::SignInit => "C_SignInit",
        Function::Sign => "C_Sign",
        Function::VerifyInit => "C_VerifyInit",
        Function::Verify => "C_Verify",
        Function::GenerateKey => "C_GenerateKey",
        Function::GenerateKeyPair => "C_GenerateKeyPair",
        Function::UnwrapKey => "C_UnwrapKey",
        Function::GenerateRandom => "C_GenerateRandom",
        // Not called by this room.
        _ => "PKCS#11",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn return_values_are_spelled_as_in_the_standard() {
        for (value, name) in [
            (RvError::GeneralError, "CKR_GENERAL_ERROR"),
            (RvError::SessionHandleInvalid, "CKR_SESSION_HANDLE_INVALID"),
            (RvError::SlotIdInvalid, "CKR_SLOT_ID_INVALID"),
            (RvError::PinLenRange, "CKR_PIN_LEN_RANGE"),
            (RvError::VendorDefined(0x8000_0001), "return value 0x80000001"),
        ] {
            assert_eq!(Fault::returned("C_Sign", value).return_value(), name);
        }
    }

    #[test]
    fn errors_keep_function_return_value_and_mechanism() {
        let fault = Fault::from(Error::Pkcs11(RvError::KeyTypeInconsistent, Function::EncryptInit)).with_mechanism("CKM_AES_GCM");
        assert_eq!(fault.failed().to_string(), "C_EncryptInit failed with CKR_KEY_TYPE_INCONSISTENT (CKM_AES_GCM)");
        assert_eq!(fault.describe(), "C_EncryptInit CKR_KEY_TYPE_INCONSISTENT (CKM_AES_GCM)");
    }

    #[test]
    fn remedies_are_as_tokens_were_seen_to_need_them() {
        for (value, expected) in [
            (RvError::EncryptedDataInvalid, Remedy::BlameCaller),
            (RvError::UnknownErrorCode(0x35), Remedy::BlameCaller),
            (RvError::WrappedKeyInvalid, Remedy::BlameCaller),
            (RvError::WrappedKeyLenRange, Remedy::BlameCaller),
            (RvError::UnwrappingKeyHandleInvalid, Remedy::LookUp),
            (RvError::GeneralError, Remedy::Diagnose),
            (RvError::FunctionFailed, Remedy::Diagnose),
            (RvError::ObjectHandleInvalid, Remedy::LookUp),
            (RvError::OperationActive, Remedy::NewSession),
            (RvError::DeviceMemory, Remedy::TryAgain),
            (RvError::DeviceRemoved, Remedy::NewConnection),
            (RvError::PinIncorrect, Remedy::GiveUp),
            (RvError::MechanismInvalid, Remedy::GiveUp),
        ] {
            assert_eq!(Fault::returned("C_Decrypt", value).remedy(), expected, "{value:?}");
        }
    }
}
