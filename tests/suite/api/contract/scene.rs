//! What a request needs: each thing is made, by the API, when it is first named, and is new for each row and version.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::super::stage::{Ask, Stage};

const KEY_STORE: &str = "demo-by-address";
/// Where entries are registered: they admit nobody to the other.
const CLIENTS_STORE: &str = "demo-by-certificate";

/// Things by name.
pub(super) struct Scene<'a> {
    stage: &'a Stage,
    number: u32,
    known: RefCell<HashMap<String, String>>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(stage: &'a Stage) -> Self {
        static SCENES: AtomicU32 = AtomicU32::new(1);
        Self { stage, number: SCENES.fetch_add(1, Ordering::Relaxed), known: RefCell::default() }
    }

    /// A text with what its names stand for.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let Some((before, name)) = text.split_once('$') else { return Ok(text.to_owned()) };
        Ok(format!("{before}{}", self.value(name)?))
    }

    pub(super) fn fill_json(&self, json: &Value) -> Result<Value, String> {
        Ok(match json {
            Value::String(text) => Value::String(self.fill(text)?),
            Value::Array(entries) => entries.iter().map(|entry| self.fill_json(entry)).collect::<Result<_, _>>()?,
            Value::Object(fields) => fields.iter().map(|(name, value)| Ok((name.clone(), self.fill_json(value)?))).collect::<Result<_, String>>()?,
            Value::Null | Value::Bool(_) | Value::Number(_) => json.clone(),
        })
    }

    fn value(&self, name: &str) -> Result<String, String> {
        if let Some(known) = self.known.borrow().get(name) {
            return Ok(known.clone());
        }
        let made = self.make(name)?;
        self.known.borrow_mut().insert(name.to_owned(), made.clone());
        Ok(made)
    }

    fn make(&self, name: &str) -> Result<String, String> {
        let number = self.number;
        match name {
            "secret" | "symmetric" | "asymmetric" => Ok(self.stage.id(&format!("{}_ID", name.to_uppercase())).to_owned()),
            "name" | "new-name" | "store-name" | "certificate" => Ok(format!("{name} {number}").replace(' ', "-")),
            "ipv4" => Ok(format!("10.0.{}.{}", number / 256, number % 256)),
            "mac" => Ok(format!("02:00:00:00:{:02x}:{:02x}", number / 256, number % 256)),
            "store" => Ok(self.change("POST", "/keystores", &json!({"name": self.value("store-name")?, "ip4AuthUse": "Y"}))?["keyStoreId"].to_string()),
            "own-secret" => self.key("secrets"),
            "key" => self.key("symmetric-keys"),
            "pending-key" => self.pending(self.key("symmetric-keys")?),
            "rotated-key" => self.rotated(),
            "key-of-pending-version" => {
                let key = self.rotated()?;
                self.change("PUT", &format!("/keys/{key}/versions/0/delete"), &Value::Null).map(|_| key)
            }
            "registered-ipv4" | "registered-mac" | "registered-certificate" | "pending-ipv4" | "pending-mac" | "pending-certificate" => self.entry(name),
            "ciphertext" => self.operation("symmetric-keys", "encrypt", &json!({"plaintext": "text"})),
            "signature" => self.operation("asymmetric-keys", "sign", &json!({"plaintext": "text"})),
            "standard-signature" => self.operation("asymmetric-keys", "sign-standard", &json!({"plaintext": "dGV4dA==", "algorithm": "RSASSA-PSS"})),
            unknown => panic!("nothing is called ${unknown}"),
        }
    }

    fn key(&self, kind: &str) -> Result<String, String> {
        let body = json!({"keyStoreName": KEY_STORE, "name": self.value("name")?, "description": "d", "secretValue": "s", "autoRotationPeriod": 30});
        text(&self.change("POST", &format!("/keys/{kind}/create"), &body)?, "keyId")
    }

    fn pending(&self, key: String) -> Result<String, String> {
        self.change("PUT", &format!("/keys/{key}/delete"), &Value::Null).map(|_| key)
    }

    fn rotated(&self) -> Result<String, String> {
        let key = self.key("symmetric-keys")?;
        self.change("POST", &format!("/keys/{key}/rotate"), &Value::Null).map(|_| key)
    }

    /// `registered-mac`: an entry that is there; `pending-mac`: one whose deletion was asked for.
    fn entry(&self, name: &str) -> Result<String, String> {
        let (state, kind) = name.split_once('-').expect("a state and a kind");
        let value = self.value(kind)?;
        let field = if kind == "certificate" { "name" } else { "value" };
        let body = json!({"keyStoreName": CLIENTS_STORE, field: value, "description": "d", "password": "p", "lifeTime": 1});
        self.change("POST", &format!("/auths/{kind}s"), &body)?;
        if state == "pending" {
            self.change("PUT", &format!("/auths/{kind}s/delete"), &body)?;
        }
        Ok(value)
    }

    /// A data operation on a demo key, by v1.0: its first field.
    fn operation(&self, kind: &str, operation: &str, body: &Value) -> Result<String, String> {
        let key = self.value(kind.trim_end_matches("-keys"))?;
        let answer = answer(&Ask::post(self.stage.v1(&format!("/{kind}/{key}/{operation}")), body), self.stage)?;
        text(&answer, if operation == "encrypt" { "ciphertext" } else { "signature" })
    }

    /// A change by the administrator, in v1.3: the newest version has all routes.
    fn change(&self, method: &str, rest: &str, body: &Value) -> Result<Value, String> {
        let bearer = self.value_of_bearer();
        let ask = Ask::new(method, self.stage.path("v1.3", rest)).header("X-NHN-Authorization", bearer);
        answer(&if body.is_null() { ask } else { ask.json(body) }, self.stage)
    }

    fn value_of_bearer(&self) -> String {
        let token = || self.stage.token(self.stage.id("ACCESS_KEY_ID"), self.stage.id("SECRET_ACCESS_KEY"));
        self.known.borrow_mut().entry("bearer".to_owned()).or_insert_with(|| format!("Bearer {}", token())).clone()
    }
}

/// The body of a success, or what was answered instead.
fn answer(ask: &Ask, stage: &Stage) -> Result<Value, String> {
    let reply = stage.ask(ask);
    if reply.status == 200 { Ok(reply.body()) } else { Err(format!("can't be prepared: {} {}: {reply}", ask.method, ask.path)) }
}

fn text(body: &Value, field: &str) -> Result<String, String> {
    body[field].as_str().map(str::to_owned).ok_or_else(|| format!("can't be prepared: no {field} in {body}"))
}
