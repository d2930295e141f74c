//! Clients that make things and use them, and remember what they were told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::installation::{Answer, Installation, Running, agent, send};
use crate::support::random::Random;

/// The key store of the demo that admits 127.0.0.1.
pub(crate) const STORE: &str = "demo-by-address";

/// What can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    KeyStore,
    Secret,
    Symmetric,
    Asymmetric,
    Rule,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::KeyStore, Self::Secret, Self::Symmetric, Self::Asymmetric, Self::Rule];
}

/// Something that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Thing {
    pub(crate) kind: Kind,
    /// Its name; of a rule its address.
    pub(crate) name: String,
    /// Of a key that was acknowledged, its ID.
    pub(crate) id: Option<String>,
}

/// What clients asked for, by what they were told.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) acknowledged: Mutex<Vec<Thing>>,
    /// Refused, or never answered.
    pub(crate) others: Mutex<Vec<Thing>>,
    /// For names that no other thing has.
    next: AtomicUsize,
}

impl Ledger {
    pub(crate) fn acknowledged(&self) -> Vec<Thing> {
        self.acknowledged.lock().expect("the ledger").clone()
    }

    pub(crate) fn others(&self) -> Vec<Thing> {
        self.others.lock().expect("the ledger").clone()
    }

    /// A name that nothing had before.
    pub(crate) fn new_name(&self, kind: Kind) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match kind {
            Kind::Rule => format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
            _ => format!("{kind:?} {number}"),
        }
    }

    /// Lets `client` make things of these kinds until `stop`.
    pub(crate) fn make_until(&self, stop: &AtomicBool, client: &Client, kinds: &[Kind], mut random: Random) {
        while !stop.load(Ordering::Relaxed) {
            self.make(client, kinds[random.below(kinds.len())]);
        }
    }

    /// Lets `client` make one thing, and notes what came of it.
    pub(crate) fn make(&self, client: &Client, kind: Kind) {
        let mut thing = Thing { kind, name: self.new_name(kind), id: None };
        let answer = client.make(kind, &thing.name);
        let made = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        if let (Ok(answer), true) = (answer, made) {
            thing.id = answer.body()["keyId"].as_str().map(str::to_owned);
        }
        let list = if made { &self.acknowledged } else { &self.others };
        list.lock().expect("the ledger").push(thing);
    }
}

/// One client with connections of its own.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    appkey: String,
    access_key: [String; 2],
    /// Shared by clones, so that they don't ask for one each.
    bearer: Arc<OnceLock<String>>,
}

impl Client {
    pub(crate) fn new(installation: &Installation, running: &Running) -> Self {
        let roots = std::fs::read(installation.demo("CA")).expect("the CA's certificate");
        let access_key = [installation.demo("ACCESS_KEY_ID").to_owned(), installation.demo("SECRET_ACCESS_KEY").to_owned()];
        Self {
            agent: agent(&roots, None),
            base: format!("https://{}", running.api_address()),
            appkey: installation.demo("APPKEY").to_owned(),
            access_key,
            bearer: Arc::default(),
        }
    }

    /// A request of v1.3, with a bearer token.
    pub(crate) fn own(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, ureq::Error> {
        let url = format!("{}/keymanager/v1.3/appkey/{}{path}", self.base, self.appkey);
        let bearer = self.bearer.get_or_init(|| format!("Bearer {}", self.token()));
        let body = body.map(|body| body.to_string().into_bytes());
        send(&self.agent, method, &url, &[("x-nhn-authorization", bearer)], body.as_deref())
    }

    /// With its bearer token, for when there may soon be nobody to give one.
    pub(crate) fn signed_in(self) -> Self {
        self.bearer.get_or_init(|| format!("Bearer {}", self.token()));
        self
    }

    fn token(&self) -> String {
        let basic = format!("Basic {}", STANDARD.encode(self.access_key.join(":")));
        let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let answer = send(&self.agent, "POST", &format!("{}/oauth2/token/create", self.base), &headers, Some(b"grant_type=client_credentials"));
        answer.expect("a token").json["access_token"].as_str().expect("a token").to_owned()
    }

    /// A request by appkey alone.
    pub(crate) fn data(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, ureq::Error> {
        let url = format!("{}/keymanager/v1.0/appkey/{}{path}", self.base, self.appkey);
        send(&self.agent, method, &url, &[], body.map(|body| body.to_string().into_bytes()).as_deref())
    }

    /// A request with the access key.
    pub(crate) fn change(&self, method: &str, path: &str, body: &Value) -> Result<Answer, ureq::Error> {
        let url = format!("{}/keymanager/v1.2/appkey/{}{path}", self.base, self.appkey);
        let headers = [("x-tc-authentication-id", self.access_key[0].as_str()), ("x-tc-authentication-secret", self.access_key[1].as_str())];
        send(&self.agent, method, &url, &headers, Some(body.to_string().as_bytes()))
    }

    pub(crate) fn encrypt(&self, key: &str, plaintext: &str) -> Result<Answer, ureq::Error> {
        self.data("POST", &format!("/symmetric-keys/{key}/encrypt"), Some(&json!({"plaintext": plaintext})))
    }

    pub(crate) fn decrypt(&self, key: &str, ciphertext: &str) -> Result<Answer, ureq::Error> {
        self.data("POST", &format!("/symmetric-keys/{key}/decrypt"), Some(&json!({"ciphertext": ciphertext})))
    }

    /// Asks for a thing of that name.
    pub(crate) fn make(&self, kind: Kind, name: &str) -> Result<Answer, ureq::Error> {
        match kind {
            Kind::KeyStore => self.change("POST", "/keystores", &json!({"name": name, "ip4AuthUse": "Y"})),
            Kind::Secret => self.change("POST", "/keys/secrets/create", &json!({"keyStoreName": STORE, "name": name, "secretValue": secret_of(name)})),
            Kind::Symmetric => self.change("POST", "/keys/symmetric-keys/create", &json!({"keyStoreName": STORE, "name": name})),
            Kind::Asymmetric => self.change("POST", "/keys/asymmetric-keys/create", &json!({"keyStoreName": STORE, "name": name})),
            Kind::Rule => self.change("POST", "/auths/ipv4s", &json!({"keyStoreName": STORE, "value": name})),
        }
    }

    /// Uses a thing for what it is there for; panics if it doesn't work.
    pub(crate) fn must_work(&self, thing: &Thing) {
        let asked = |answer: Result<Answer, ureq::Error>| {
            let answer = answer.unwrap_or_else(|error| panic!("{thing:?}: {error}"));
            assert_eq!(answer.status, 200, "{thing:?}: {answer:?}");
            answer
        };
        let id = thing.id.as_deref().unwrap_or_default();
        match thing.kind {
            Kind::Secret => assert_eq!(asked(self.data("GET", &format!("/secrets/{id}"), None)).text("secret"), secret_of(&thing.name)),
            Kind::Symmetric => {
                let ciphertext = asked(self.encrypt(id, &thing.name)).text("ciphertext");
                assert_eq!(asked(self.decrypt(id, &ciphertext)).text("plaintext"), thing.name);
            }
            Kind::Asymmetric => {
                let path = format!("/asymmetric-keys/{id}");
                let signed = asked(self.data("POST", &format!("{path}/sign"), Some(&json!({"plaintext": thing.name}))));
                let shown = json!({"plaintext": thing.name, "signature": signed.text("signature")});
                assert_eq!(asked(self.data("POST", &format!("{path}/verify"), Some(&shown))).body()["result"], true, "{thing:?}");
            }
            Kind::KeyStore => self.must_keep_secrets(&thing.name),
            // It is there: it can't be registered a second time.
            Kind::Rule => assert_eq!(self.make(Kind::Rule, &thing.name).expect("an answer").status, 409, "{thing:?}"),
        }
    }

    /// A key store takes a secret, and gives it to a client that was registered.
    fn must_keep_secrets(&self, key_store: &str) {
        let name = format!("secret {}", std::time::UNIX_EPOCH.elapsed().expect("a clock").as_nanos());
        let made = self.change("POST", "/keys/secrets/create", &json!({"keyStoreName": key_store, "name": name, "secretValue": secret_of(&name)}));
        let id = made.unwrap_or_else(|error| panic!("{key_store}: {error}")).text("keyId");
        let registered = self.change("POST", "/auths/ipv4s", &json!({"keyStoreName": key_store, "value": "127.0.0.1"})).expect("an answer");
        assert!([200, 409].contains(&registered.status), "{key_store}: {registered:?}");
        assert_eq!(self.data("GET", &format!("/secrets/{id}"), None).expect("an answer").text("secret"), secret_of(&name), "{key_store}");
    }
}

/// The confidential data of that name.
pub(crate) fn secret_of(name: &str) -> String {
    format!("confidential data of {name}")
}

/// Waits until `condition`, at most `limit`; answers how long it took, or panics with `what`.
pub(crate) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}
