//! A running service with two projects and some accounts, and a client that keeps account of what it asked: at the end every
//! request of a known project must have exactly one audit record, with the result code that was answered.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::database::Database;
use super::http::{Connection, Identity, Reply, tls};
use crate::support::installation::{Installation, Running};
use crate::support::postgres::Cluster;

/// The versions of the API.
pub(super) const VERSIONS: [&str; 4] = ["v1.0", "v1.1", "v1.2", "v1.3"];
/// The project beside the demo's.
pub(super) const FOREIGN_APPKEY: &str = "foreignAppkey0000001";
/// A second appkey of the demo's project.
pub(super) const INTEGRATED_APPKEY: &str = "integratedAppkey0001";
/// A key ID that no key has.
pub(super) const NO_KEY: &str = "00112233445566778899aabbccddeeff";

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Option<Vec<u8>>,
    certified: bool,
    /// Whether there must be an audit record, where the path alone doesn't tell.
    recorded: Option<bool>,
    /// The content type of a success that isn't in the envelope.
    file: Option<&'static str>,
}

impl Ask {
    pub(super) fn new(method: &str, path: impl Into<String>) -> Self {
        Self { method: method.to_owned(), path: path.into(), headers: Vec::new(), body: None, certified: false, recorded: None, file: None }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    pub(super) fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", path).json(body)
    }

    pub(super) fn put(path: impl Into<String>, body: &Value) -> Self {
        Self::new("PUT", path).json(body)
    }

    pub(super) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(super) fn headers(mut self, headers: &[(&str, &str)]) -> Self {
        self.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.bytes(body.to_string()).header("Content-Type", "application/json; charset=utf-8")
    }

    /// A body without content type.
    pub(super) fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// With the demo's client certificate.
    pub(super) fn certified(mut self) -> Self {
        self.certified = true;
        self
    }

    /// Says whether there must be an audit record.
    pub(super) fn recorded(mut self, recorded: bool) -> Self {
        self.recorded = Some(recorded);
        self
    }

    /// The answer is a file of that content type.
    pub(super) fn file(mut self, kind: &'static str) -> Self {
        self.file = Some(kind);
        self
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

struct Asked {
    what: String,
    request: String,
    recorded: bool,
    code: Option<i64>,
}

/// The running service with what a test needs around it.
pub(super) struct Stage {
    pub(super) installation: Installation,
    pub(super) running: Running,
    pub(super) database: Database,
    configs: [Arc<ClientConfig>; 2],
    connections: RefCell<[Option<Connection>; 2]>,
    asked: RefCell<Vec<Asked>>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::with(Installation::new(), &[])
    }

    pub(super) fn on(cluster: &Cluster) -> Self {
        Self::open(Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]), Database::Postgres(cluster.url()), &[])
    }

    /// With these overrides of the configuration.
    pub(super) fn with(installation: Installation, overrides: &[(&str, &str)]) -> Self {
        let file = installation.path().join("data/skm.sqlite3");
        Self::open(installation, Database::Sqlite(file), overrides)
    }

    fn open(mut installation: Installation, database: Database, overrides: &[(&str, &str)]) -> Self {
        add_people(&database, installation.demo("APPKEY"));
        for (name, value) in overrides {
            installation.set(name, value);
        }
        let running = installation.start();
        let ca = Path::new(installation.demo("CA"));
        let identity = Identity::read(Path::new(installation.demo("CLIENT_CERT")), Path::new(installation.demo("CLIENT_KEY")));
        let configs = [tls(ca, None), tls(ca, Some(identity))];
        Self { installation, running, database, configs, connections: RefCell::default(), asked: RefCell::default() }
    }

    /// A path in the demo's project.
    pub(super) fn path(&self, version: &str, rest: &str) -> String {
        format!("/keymanager/{version}/appkey/{}{rest}", self.installation.demo("APPKEY"))
    }

    /// The same in v1.0.
    pub(super) fn v1(&self, rest: &str) -> String {
        self.path("v1.0", rest)
    }

    /// The ID of a demo key: `SYMMETRIC_ID`.
    pub(super) fn id(&self, name: &str) -> &str {
        self.installation.demo(name)
    }

    /// The access key's headers of the demo's administrator.
    pub(super) fn admin(&self) -> [(&str, &str); 2] {
        access_key(self.id("ACCESS_KEY_ID"), self.id("SECRET_ACCESS_KEY"))
    }

    /// Makes something in the demo's project, as its administrator.
    pub(super) fn make(&self, rest: &str, body: &Value) -> Reply {
        self.ask(&Ask::post(self.path("v1.2", rest), body).headers(&self.admin()))
    }

    /// Makes a key in the demo's store that admits 127.0.0.1, and answers its ID. The kind is as in the path.
    pub(super) fn make_key(&self, kind: &str, name: &str) -> String {
        let body = json!({"keyStoreName": "demo-by-address", "name": name, "secretValue": name});
        self.make(&format!("/keys/{kind}/create"), &body).text("keyId")
    }

    /// Makes a key store of the foreign project that admits 127.0.0.1, with a key of that kind in it.
    pub(super) fn make_foreign_key(&self, kind: &str) -> String {
        let make = |rest: &str, body: Value| {
            let path = format!("/keymanager/v1.2/appkey/{FOREIGN_APPKEY}{rest}");
            self.ask(&Ask::post(path, &body).headers(&access_key("foreigner", "foreigner-secret")))
        };
        make("/keystores", json!({"name": kind, "ip4AuthUse": "Y"})).body();
        make("/auths/ipv4s", json!({"keyStoreName": kind, "value": "127.0.0.1"})).body();
        make(&format!("/keys/{kind}/create"), json!({"keyStoreName": kind, "name": kind, "secretValue": "foreign"})).text("keyId")
    }

    /// A bearer token for an access key.
    pub(super) fn token(&self, id: &str, secret: &str) -> String {
        let reply = self.ask(&token_request("create", id, secret, "grant_type=client_credentials"));
        reply.json()["access_token"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
    }

    /// A connection of its own.
    pub(super) fn connect(&self, certified: bool) -> Connection {
        Connection::open(self.running.api_address(), &self.configs[usize::from(certified)]).expect("a connection")
    }

    /// A connection from another address of the loopback interface.
    pub(super) fn connect_from(&self, source: [u8; 4]) -> Connection {
        Connection::open_from(source, self.running.api_address(), &self.configs[0]).expect("a connection")
    }

    /// Asks, on a connection that is kept as long as the service keeps it.
    pub(super) fn ask(&self, ask: &Ask) -> Reply {
        let kept = self.connections.borrow_mut()[usize::from(ask.certified)].take();
        let mut connection = kept.unwrap_or_else(|| self.connect(ask.certified));
        let reply = self.ask_on(&mut connection, ask);
        if reply.header("connection") != Some("close") {
            self.connections.borrow_mut()[usize::from(ask.certified)] = Some(connection);
        }
        reply
    }

    pub(super) fn ask_on(&self, connection: &mut Connection, ask: &Ask) -> Reply {
        let shown = format!("{} {}", ask.method, ask.path);
        connection.write(&ask.to_bytes()).unwrap_or_else(|error| panic!("{shown}: {error}\n{}", self.running.log()));
        self.read(connection, ask)
    }

    /// Reads the answer to `ask`, however that was sent, and keeps account of it.
    pub(super) fn read(&self, connection: &mut Connection, ask: &Ask) -> Reply {
        let shown = format!("{} {}", ask.method, ask.path);
        let reply = connection.read(ask.method == "HEAD").unwrap_or_else(|error| panic!("{shown}: {error}\n{}", self.running.log()));
        self.note(&shown, ask, &reply);
        reply
    }

    fn note(&self, shown: &str, ask: &Ask, reply: &Reply) {
        assert!(reply.status < 500, "{shown}: {reply}\n{}", self.running.log());
        assert_eq!(reply.header("content-type"), Some(ask.file.unwrap_or("application/json; charset=utf-8")), "{shown}: {reply}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{shown}: {reply}");
        let request = reply.header("x-request-id").unwrap_or_else(|| panic!("{shown}: no request ID in {reply}")).to_owned();
        // What is over a limit is counted.
        let recorded = ask.recorded.unwrap_or_else(|| reply.status != 429 && self.names_project(&ask.path));
        let code = if ask.method == "HEAD" || ask.file.is_some() { None } else { reply.json()["header"]["resultCode"].as_i64() };
        self.asked.borrow_mut().push(Asked { what: format!("{shown}: {reply}"), request, recorded, code });
    }

    /// Whether the path names a project that there is, in a version that there is.
    fn names_project(&self, path: &str) -> bool {
        let mut parts = path.split(['/', '?']).skip(1);
        let (root, version, word, appkey) = (parts.next(), parts.next(), parts.next(), parts.next());
        root == Some("keymanager")
            && version.is_some_and(|version| VERSIONS.contains(&version))
            && word == Some("appkey")
            && appkey.is_some_and(|appkey| [self.id("APPKEY"), FOREIGN_APPKEY, INTEGRATED_APPKEY].contains(&appkey))
    }

    /// The newest audit records.
    pub(super) fn records(&self) -> Vec<Value> {
        records(&self.installation)
    }

    /// Compares audit log and answers, looks for panics in the log, and ends the service.
    pub(super) fn finish(self) -> Installation {
        let mut records: HashMap<String, Vec<Value>> = HashMap::new();
        for record in self.records() {
            records.entry(record["request"].as_str().expect("a request ID").to_owned()).or_default().push(record);
        }
        let asked = self.asked.borrow();
        assert!(asked.len() < 9_000, "too many requests to look for all records");
        for Asked { what, request, recorded, code } in asked.iter() {
            let found = records.get(request).map_or(&[] as &[Value], Vec::as_slice);
            if !what.contains(" /oauth2/") {
                assert_eq!(found.len(), usize::from(*recorded), "{what}: {found:?}");
            }
            if let (Some(code), Some(record)) = (code, found.first()) {
                assert_eq!(record["resultCode"], *code, "{what}: {record}");
            }
        }
        let (status, log) = self.running.stop();
        assert!(status.success(), "{status}\n{log}");
        assert!(!log.contains("panick"), "{log}");
        let verified = self.installation.command(&["audit", "verify"]).output().expect("skm audit verify");
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        self.installation
    }
}

/// The newest audit records, whether or not the service runs.
pub(super) fn records(installation: &Installation) -> Vec<Value> {
    let output = installation.command(&["audit", "tail", "-n", "10000", "--json"]).output().expect("skm audit tail");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// The headers of v1.2.
pub(super) fn access_key<'a>(id: &'a str, secret: &'a str) -> [(&'a str, &'a str); 2] {
    [("X-TC-AUTHENTICATION-ID", id), ("X-TC-AUTHENTICATION-SECRET", secret)]
}

/// A request to a token endpoint with HTTP Basic.
pub(super) fn token_request(what: &str, id: &str, secret: &str, form: &str) -> Ask {
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    let ask = Ask::new("POST", format!("/oauth2/token/{what}")).bytes(form).header("Content-Type", "application/x-www-form-urlencoded");
    ask.header("Authorization", format!("Basic {basic}"))
}

/// The second project, the second appkey, and one account with one access key (its secret is `{login}-secret`) for each case.
fn add_people(database: &Database, appkey: &str) {
    const BY: &str = "'test', 0, 'test', 0";
    const STAMP: &str = "created_by, created_at, changed_by, changed_at";
    let mut sql = format!(
        "INSERT INTO projects (name, last_key_store_number, {STAMP}) VALUES ('foreign', 0, {BY});
         INSERT INTO appkeys (appkey, project_id, {STAMP}) SELECT '{FOREIGN_APPKEY}', id, {BY} FROM projects WHERE name = 'foreign';
         INSERT INTO appkeys (appkey, project_id, {STAMP}) SELECT '{INTEGRATED_APPKEY}', project_id, {BY} FROM appkeys WHERE appkey = '{appkey}';"
    );
    for (login, project, role) in [
        ("stranger", "demo", None),
        ("foreigner", "foreign", Some("API.ADMIN")),
        ("admin2", "demo", Some("ADMIN")),
        ("viewer", "demo", Some("VIEWER")),
        ("approvalAdmin", "demo", Some("APPROVAL ADMIN")),
        ("approvalMember", "demo", Some("APPROVAL MEMBER")),
        ("apiAdmin", "demo", Some("API.ADMIN")),
        ("apiViewer", "demo", Some("API.VIEWER")),
        ("disabledAccount", "demo", Some("API.ADMIN")),
        ("disabledKey", "demo", Some("API.ADMIN")),
    ] {
        let secret = database.blob(&sha2::Sha256::digest(format!("{login}-secret")));
        let (account_on, key_on) = (login != "disabledAccount", login != "disabledKey");
        sql.push_str(&format!(
            "INSERT INTO accounts (login, password_hash, must_change_password, enabled, {STAMP}) VALUES ('{login}', 'none', FALSE, {account_on}, {BY});
             INSERT INTO access_keys (id, account_id, secret_hash, token_life_seconds, enabled, {STAMP})
             SELECT '{login}', id, {secret}, 60, {key_on}, {BY} FROM accounts WHERE login = '{login}';"
        ));
        if let Some(role) = role {
            sql.push_str(&format!(
                "INSERT INTO account_roles (account_id, project_id, role, {STAMP})
                 SELECT accounts.id, projects.id, '{role}', {BY} FROM accounts, projects WHERE login = '{login}' AND name = '{project}';"
            ));
        }
    }
    database.execute(sql.trim_end_matches(';'));
}
