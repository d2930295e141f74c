//! From an HTTP request to the service's words.

use std::cell::RefCell;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::Api;
use crate::domain::approval::Note;
use crate::domain::caller::{Caller, MacAddr, MacHeader, USER_AGENT_MAX_BYTES};
use crate::domain::ids::RequestId;
use crate::domain::secret::SecretText;
use crate::domain::text::Invalid;
use crate::service::{Asking, Credentials, Named, Request};
use crate::tls::{Peer, client_address};

/// The MAC address header of the wire contract.
const MAC_HEADER: &str = "x-toast-client-mac-addr";
/// v1.2: the User Access Key ID.
const ACCESS_KEY_ID_HEADER: &str = "x-tc-authentication-id";
/// v1.2: the Secret Access Key.
const ACCESS_KEY_SECRET_HEADER: &str = "x-tc-authentication-secret";
/// v1.3: the bearer token.
const BEARER_HEADER: &str = "x-nhn-authorization";

/// A change becomes a request with this note, where approval is on.
pub(super) const NOTE_HEADER: &str = "X-SKM-Approval-Note";
/// A change goes into the key store's draft, where approval is on: `add`.
pub(super) const DRAFT_HEADER: &str = "X-SKM-Approval-Draft";

/// The versions of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}

impl Version {
    pub(super) const ALL: [Self; 4] = [Self::V1_0, Self::V1_1, Self::V1_2, Self::V1_3];

    /// Its name in paths.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "v1.0",
            Self::V1_1 => "v1.1",
            Self::V1_2 => "v1.2",
            Self::V1_3 => "v1.3",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == text)
    }

    /// Whether the caller shows more than the appkey.
    pub(super) const fn wants_credentials(self) -> bool {
        matches!(self, Self::V1_2 | Self::V1_3)
    }

    /// Whether this version has the routes that read the inventory.
    pub(super) const fn has_inventory(self) -> bool {
        matches!(self, Self::V1_0 | Self::V1_2 | Self::V1_3)
    }

    /// Whether this version has the routes that the hosted service doesn't.
    pub(super) const fn has_our_own(self) -> bool {
        matches!(self, Self::V1_3)
    }

    /// Whether this version has routes that change things.
    pub(super) const fn has_changes(self) -> bool {
        matches!(self, Self::V1_2 | Self::V1_3)
    }
}

/// How many requests' names are taken from the operating system's random numbers at once, per thread: a system call each would
/// cost as much as the rest of reading a request.
const NAMES_AT_ONCE: usize = 64;

thread_local! {
    static NAMES: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
}

/// A request's name, random; all zeroes should the operating system have no random numbers, which the token then shows too.
pub(super) fn new_request_id() -> RequestId {
    let name = NAMES.with_borrow_mut(|names| {
        if names.is_empty() {
            let mut random = [0; NAMES_AT_ONCE * 16];
            let _ = SystemRandom::new().fill(&mut random);
            names.extend_from_slice(random.as_chunks().0);
        }
        names.pop()
    });
    RequestId::from_bytes(name.unwrap_or_default())
}

/// A header that comes exactly once and is text.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

fn mac_header(headers: &HeaderMap) -> MacHeader {
    match single(headers, MAC_HEADER) {
        Ok(None) => MacHeader::Absent,
        Ok(Some(text)) => MacAddr::parse(text.trim()).map_or(MacHeader::Malformed, MacHeader::Claimed),
        Err(()) => MacHeader::Malformed,
    }
}

fn credentials(version: Version, headers: &HeaderMap) -> Credentials {
    match version {
        Version::V1_0 | Version::V1_1 => Credentials::Appkey,
        Version::V1_2 => match (single(headers, ACCESS_KEY_ID_HEADER), single(headers, ACCESS_KEY_SECRET_HEADER)) {
            (Ok(Some(id)), Ok(Some(secret))) => Credentials::AccessKey { id: id.to_owned(), secret: SecretText::new(secret.to_owned()) },
            _ => Credentials::Missing,
        },
        Version::V1_3 => match single(headers, BEARER_HEADER) {
            Ok(Some(value)) => bearer(value).map_or(Credentials::Missing, Credentials::Bearer),
            Ok(None) | Err(()) => Credentials::Missing,
        },
    }
}

/// `Bearer {token}` (RFC 6750, 2.1; the scheme in any case).
fn bearer(value: &str) -> Option<SecretText> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| SecretText::new(token.to_owned()))
}

/// A header's text: UTF-8, or else ISO 8859-1, as which many clients send what isn't ASCII (RFC 9110, 5.5).
fn header_text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned)
}

/// How a change is meant where approval is on.
fn asking(version: Version, headers: &HeaderMap) -> Asking {
    if !version.has_changes() {
        return Asking::Directly;
    }
    let once = |name: &'static str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(Invalid::new(name, "comes twice")),
            (None, _) => Ok(None),
            (Some(value), None) => Ok(Some(header_text(value.as_bytes()))),
        }
    };
    let read = || {
        let note = once(NOTE_HEADER)?.map(|text| Note::parse(NOTE_HEADER, &text)).transpose()?;
        match (note, once(DRAFT_HEADER)?.as_deref()) {
            (None, None) => Ok(Asking::Directly),
            (Some(note), None) => Ok(Asking::Request(note)),
            (None, Some("add")) => Ok(Asking::Draft),
            (Some(_), Some("add")) => Err(Invalid::new(DRAFT_HEADER, "must not come with a note: a draft is asked for when all of it is there")),
            (_, Some(_)) => Err(Invalid::new(DRAFT_HEADER, "must be \"add\"")),
        }
    };
    read().unwrap_or_else(Asking::Wrong)
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(axum::http::header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(USER_AGENT_MAX_BYTES).collect())
}

/// Who asks, as far as connection and headers tell.
pub(super) fn caller(api: &Api, parts: &Parts) -> Caller {
    let peer = parts.extensions.get::<Peer>();
    // Without a peer there is no address that any rule admits: 0.0.0.0 is in no CIDR block that can be registered.
    let address = peer.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |peer| client_address(peer.address, &parts.headers, &api.settings.trusted_proxies));
    Caller { address, mac: mac_header(&parts.headers), certificate: peer.and_then(|peer| peer.certificate.clone()), user_agent: user_agent(&parts.headers) }
}

/// The request in the service's words.
pub(super) fn request(api: &Api, parts: &Parts, version: Version, appkey: String) -> Request {
    let id = parts.extensions.get::<RequestId>().copied().unwrap_or_else(new_request_id);
    let credentials = credentials(version, &parts.headers);
    Request { id, caller: caller(api, parts), project: Named::Appkey(appkey), credentials, asking: asking(version, &parts.headers) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn notes_are_read_in_either_encoding() {
        let asked = |bytes: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(NOTE_HEADER, HeaderValue::from_bytes(bytes).expect("a value"));
            match asking(Version::V1_3, &headers) {
                Asking::Request(note) => note.as_str().to_owned(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!((asked("Schlüssel, 키".as_bytes()).as_str(), asked(b"Schl\xfcssel").as_str()), ("Schlüssel, 키", "Schlüssel"));
        assert!(asked(b"\x85x\x80").starts_with("Wrong"), "control characters");
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_mac_header_that_comes_twice_or_is_no_address_matches_nothing() {
        assert_eq!(mac_header(&headers(&[])), MacHeader::Absent);
        assert!(matches!(mac_header(&headers(&[(MAC_HEADER, "AA-bb-cc-dd-ee-ff")])), MacHeader::Claimed(_)));
        assert_eq!(mac_header(&headers(&[(MAC_HEADER, "nonsense")])), MacHeader::Malformed);
        assert_eq!(mac_header(&headers(&[(MAC_HEADER, "aa:bb:cc:dd:ee:ff"), (MAC_HEADER, "aa:bb:cc:dd:ee:ff")])), MacHeader::Malformed);
    }

    #[test]
    fn each_version_reads_its_own_credentials_only() {
        let all = headers(&[(ACCESS_KEY_ID_HEADER, "id"), (ACCESS_KEY_SECRET_HEADER, "secret"), (BEARER_HEADER, "Bearer token")]);
        assert!(matches!(credentials(Version::V1_0, &all), Credentials::Appkey));
        assert!(matches!(credentials(Version::V1_2, &all), Credentials::AccessKey { .. }));
        assert!(matches!(credentials(Version::V1_3, &all), Credentials::Bearer(_)));
        for version in [Version::V1_2, Version::V1_3] {
            assert!(matches!(credentials(version, &headers(&[])), Credentials::Missing));
        }
        for wrong in ["token", "Bearer", "Bearer ", "Basic abc"] {
            assert!(matches!(credentials(Version::V1_3, &headers(&[(BEARER_HEADER, wrong)])), Credentials::Missing), "{wrong}");
        }
    }
}
