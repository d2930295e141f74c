//! Every text of the console, in one catalogue: a file for each area, English beside the name. Another language is another constant of
//! the same types, so that a text that is missing there is a mistake the compiler finds.

macro_rules! texts {
    ($(#[$doc:meta])* $name:ident { $($key:ident = $english:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(in crate::console) struct $name {
            $(pub(in crate::console) $key: &'static str),*
        }

        impl $name {
            pub(in crate::console) const ENGLISH: Self = Self { $($key: $english),* };
        }
    };
}

mod access_keys;
mod account;
mod approval;
mod clients;
mod endpoint;
mod frame;
mod history;
mod key_stores;
mod keys;
mod notifications;
mod organization;
mod sign_in;
mod statistics;

/// The catalogue.
#[derive(Debug)]
pub(super) struct Texts {
    /// The language tag (BCP 47).
    pub(super) language: &'static str,
    pub(super) access_keys: access_keys::Texts,
    pub(super) account: account::Texts,
    pub(super) approval: approval::Texts,
    pub(super) frame: frame::Texts,
    pub(super) sign_in: sign_in::Texts,
    pub(super) key_stores: key_stores::Texts,
    pub(super) keys: keys::Texts,
    pub(super) clients: clients::Texts,
    pub(super) notifications: notifications::Texts,
    pub(super) history: history::Texts,
    pub(super) endpoint: endpoint::Texts,
    pub(super) organization: organization::Texts,
    pub(super) statistics: statistics::Texts,
}

/// The texts of the console.
pub(super) static ENGLISH: Texts = Texts {
    language: "en",
    frame: frame::Texts::ENGLISH,
    sign_in: sign_in::Texts::ENGLISH,
    key_stores: key_stores::Texts::ENGLISH,
    keys: keys::Texts::ENGLISH,
    clients: clients::Texts::ENGLISH,
    history: history::Texts::ENGLISH,
    endpoint: endpoint::Texts::ENGLISH,
    organization: organization::Texts::ENGLISH,
    access_keys: access_keys::Texts::ENGLISH,
    account: account::Texts::ENGLISH,
    approval: approval::Texts::ENGLISH,
    notifications: notifications::Texts::ENGLISH,
    statistics: statistics::Texts::ENGLISH,
};
