//! The clients of a key store at the console; what the API answers is the check.

use serde_json::{Value, json};

use ureq::tls::{ClientCert, PrivateKey};

use super::person::{Page, Person, signing_request_of};
use crate::certificates::openssl;
use crate::support::installation::{Installation, Running, agent, certificates, send};
use crate::support::postgres::Cluster;

const STORE: &str = "From the console";

/// A running service, an administrator at a browser, and a key store of his.
struct Scene<'a> {
    installation: &'a Installation,
    service: &'a Running,
    admin: Person<'a>,
    store: String,
}

impl<'a> Scene<'a> {
    fn new(installation: &'a Installation, service: &'a Running) -> Self {
        let admin = Person::sign_in(installation, service, installation.demo("ADMIN_USER"), installation.demo("ADMIN_PASSWORD"));
        let stores = admin.get("/").to.expect("the first project");
        let made = admin.fill_in(&format!("{stores}/new"), &[("name", STORE), ("description", ""), ("ip4AuthUse", "Y"), ("authMode", "AND")]);
        let store = made.to.expect("the key store's page").trim_end_matches("?done=added").to_owned();
        Self { installation, service, admin, store }
    }

    fn at(&self, rest: &str) -> String {
        format!("{}/{rest}", self.store)
    }

    /// What the API answers to the demo's access key about the key store.
    fn api(&self, rest: &str) -> Value {
        let demo = |name| self.installation.demo(name);
        let headers = [("X-TC-AUTHENTICATION-ID", demo("ACCESS_KEY_ID")), ("X-TC-AUTHENTICATION-SECRET", demo("SECRET_ACCESS_KEY"))];
        let number = self.store.rsplit('/').next().expect("a number");
        self.service.ask("GET", &format!("/keymanager/v1.2/appkey/{}/keystores/{number}/{rest}", demo("APPKEY")), &headers, None).json["body"].clone()
    }

    fn csrf(&self) -> String {
        self.admin.get(&self.at("ipv4/csv")).hidden("csrf")
    }

    fn preview(&self, method: &str, file: &str) -> Page {
        self.admin.upload(&self.at(&format!("{method}/csv")), &self.csrf(), file.as_bytes())
    }

    fn register(&self, method: &str, file: &str) -> Page {
        self.admin.upload(&self.at(&format!("{method}/csv/register")), &self.csrf(), file.as_bytes())
    }
}

fn entries_come_and_go(installation: &Installation) {
    let service = installation.start();
    let scene = Scene::new(installation, &service);
    let wrong = scene.admin.fill_in(&scene.at("ipv4/new"), &[("value", "10.0.0.1/8"), ("description", "kept <b>")]);
    assert_eq!(wrong.status, 422);
    assert!(wrong.has("id=\"value-wrong\"") && wrong.has("value=\"10.0.0.1/8\"") && wrong.has("kept &#60;b&#62;"), "{}", wrong.text);
    let made = scene.admin.fill_in(&scene.at("ipv4/new"), &[("value", " 10.0.0.9 "), ("description", "one")]);
    assert_eq!(made.to, Some(scene.at("ipv4?done=registered")));
    let twice = scene.admin.fill_in(&scene.at("ipv4/new"), &[("value", "10.0.0.9/32"), ("description", "")]);
    assert!(twice.status == 422 && twice.has("id=\"value-wrong\""), "{}", twice.text);
    scene.admin.fill_in(&scene.at("ipv4/new"), &[("value", "10.0.0.10"), ("description", "two")]);
    let sorted = scene.admin.get(&scene.at("ipv4?sort=value"));
    assert!(sorted.text.find(">10.0.0.9<") < sorted.text.find(">10.0.0.10<"), "as numbers: {}", sorted.text);
    assert!(scene.admin.get(&scene.at("ipv4?q=TWO")).has("Search Result: <span class=\"count\">1<"));
    let which = "?value=10.0.0.9";
    let stale = scene.admin.ask(&scene.at(&format!("ipv4/request-deletion{which}")));
    let asked = scene.admin.fill_in(&scene.at(&format!("ipv4/request-deletion{which}")), &[("value", "10.0.0.9")]);
    assert_eq!(asked.to, Some(scene.at("ipv4?done=request-deletion")), "{}", asked.text);
    let form = [("csrf", stale.hidden("csrf")), ("seen", stale.hidden("seen")), ("value", "10.0.0.9".to_owned())];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(scene.api("ips?value=10.0.0.9")["ipv4List"][0]["deletionDatetime"].is_string());
    let overtaken = scene.admin.send_form(&scene.at("ipv4/request-deletion"), &form);
    assert!(overtaken.status == 422 && overtaken.has("Somebody else changed this meanwhile"), "{}", overtaken.text);
    for (act, left) in [("restore", 2), ("request-deletion", 2), ("delete", 1)] {
        let done = scene.admin.fill_in(&scene.at(&format!("ipv4/{act}{which}")), &[("value", "10.0.0.9")]);
        assert_eq!(done.to, Some(scene.at(&format!("ipv4?done={act}"))), "{}", done.text);
        assert_eq!(scene.api("ips")["ipv4List"].as_array().map(Vec::len), Some(left), "{act}");
    }
}

#[test]
fn entries_come_and_go_on_sqlite() {
    entries_come_and_go(&Installation::new());
}

#[test]
fn entries_come_and_go_on_postgresql() {
    let cluster = Cluster::start();
    entries_come_and_go(&Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
}

fn files(installation: &Installation) {
    let service = installation.start();
    let scene = Scene::new(installation, &service);
    let bad = "value,description\n10.0.0.1,fine\nnonsense,<img>\n10.0.0.1/32,twice\n10.0.0.0/24,=cmd()\n";
    let shown = scene.preview("ipv4", bad);
    assert_eq!(shown.status, 422);
    for told in [">3</td>", "must be an IPv4 address or CIDR block", "is in the file already, on line 2", "&#60;img&#62;"] {
        assert!(shown.has(told), "{told}: {}", shown.text);
    }
    assert!(!shown.has("csv/register"), "nothing to confirm");
    assert_eq!(scene.register("ipv4", bad).status, 422);
    assert_eq!(scene.api("ips")["ipv4List"], json!([]), "all or nothing");
    let good = "10.0.0.1,fine\r\n10.0.0.0/24,\"=cmd()\"\r\n";
    let shown = scene.preview("ipv4", good);
    assert!(shown.status == 200 && shown.has("csv/register"), "{}", shown.text);
    assert_eq!(scene.register("ipv4", good).to, Some(scene.at("ipv4?done=registered-many")));
    assert_eq!(scene.api("ips")["ipv4List"], json!(["10.0.0.1", "10.0.0.0/24"]));
    let again = scene.register("ipv4", "10.0.0.7,new\n10.0.0.1,there\n");
    assert!(again.status == 422 && again.has("is registered already"), "{}", again.text);
    assert_eq!(scene.api("ips")["ipv4List"].as_array().map(Vec::len), Some(2), "all or nothing");
    let file = scene.admin.get(&scene.at("ipv4/csv/download"));
    assert!(file.has("10.0.0.0/24,'=cmd(),ACTIVE,"), "no formula: {}", file.text);
    let template = scene.admin.get(&scene.at("macs/csv/template"));
    assert_eq!(scene.register("macs", &template.text).to, Some(scene.at("macs?done=registered-many")));
    let many: String = (0..9_998).map(|n| format!("172.16.{}.{},n {n}\n", n / 256, n % 256)).collect();
    assert!(scene.preview("ipv4", &format!("{many}10.9.9.9,one too many\n")).has("Free places, of 10,000: 9998"));
    assert_eq!(scene.register("ipv4", &many).to, Some(scene.at("ipv4?done=registered-many")));
    assert_eq!(scene.api("ips")["ipv4List"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(scene.admin.get(&scene.at("ipv4/csv/download")).text.lines().count(), 10_001);
    let full = scene.admin.fill_in(&scene.at("ipv4/new"), &[("value", "10.9.9.9"), ("description", "")]);
    assert!(full.status == 422 && full.has("as many entries"), "{}", full.text);
    let stale = scene.admin.upload(&scene.at("ipv4/csv/register"), "not ours", b"10.9.9.9\n");
    assert_eq!(stale.status, 422);
    for (file, told) in [(b"\xff\xfe1".as_slice(), "must be UTF-8"), (b"", "must be chosen"), (b"value\n", "has no lines")] {
        let wrong = scene.admin.upload(&scene.at("ipv4/csv"), &scene.csrf(), file);
        assert!(wrong.status == 422 && wrong.has(told), "{}", wrong.text);
    }
    let (status, log) = service.stop();
    assert!(status.success(), "{log}");
    let (_, tail, _) = installation.run(&["audit", "tail", "--json", "-n", "200"]);
    assert!(tail.contains("IPV4 9998 entries, SHA-256 "), "{tail}");
}

#[test]
fn files_are_registered_whole_or_not_at_all_on_sqlite() {
    files(&Installation::new());
}

#[test]
fn files_are_registered_whole_or_not_at_all_on_postgresql() {
    let cluster = Cluster::start();
    files(&Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]));
}

#[test]
fn certificates_are_made_and_handed_out() {
    let installation = Installation::new();
    let service = installation.start();
    let scene = Scene::new(&installation, &service);
    let typed = [("name", "Terminal <7>"), ("password", "a password"), ("lifeTime", "29"), ("description", "")];
    let wrong = scene.admin.fill_in(&scene.at("certificates/new"), &[("name", "Terminal <7>"), ("password", "ü"), ("lifeTime", "0"), ("description", "")]);
    assert!(wrong.status == 422 && wrong.has("Terminal &#60;7&#62;") && !wrong.has("value=\"ü\""), "{}", wrong.text);
    assert_eq!(scene.admin.fill_in(&scene.at("certificates/new"), &typed).to, Some(scene.at("certificates?done=certified")));
    assert_eq!(scene.api("certificates")["certificateList"], json!(["Terminal <7>"]));
    let list = scene.admin.get(&scene.at("certificates"));
    assert!(list.has("Expires within 30 days") && list.has("Terminal &#60;7&#62;"), "{}", list.text);
    let refused = scene.admin.post(&scene.at("certificates/download"), &[("csrf", "not ours"), ("name", "Terminal <7>")]);
    assert_eq!(refused.to, Some(scene.at("certificates")));
    let nothing = scene.admin.post(&scene.at("certificates/download"), &[("csrf", &list.hidden("csrf")), ("name", "Terminal 8")]);
    assert_eq!(nothing.status, 404);
    let wrong = scene.admin.fill_in(&scene.at("certificates/sign"), &[("name", "x"), ("csr", "nonsense"), ("lifeTime", "5"), ("description", "")]);
    assert!(wrong.status == 422 && wrong.has("id=\"csr-wrong\"") && wrong.has(">nonsense<"), "{}", wrong.text);
}

/// A call over mutual TLS, with the demo's key that wants a certificate of its key store: the status, if there is an answer.
fn encrypts(installation: &Installation, service: &Running, certificate: &str, key: &[u8]) -> Option<u16> {
    let identity = ClientCert::new_with_certs(&certificates(certificate.as_bytes()), PrivateKey::from_pem(key).expect("a key"));
    let agent = agent(&std::fs::read(installation.demo("CA")).expect("the CA"), Some(identity));
    let path = format!("/keymanager/v1.0/appkey/{}/symmetric-keys/{}/encrypt", installation.demo("APPKEY"), installation.demo("MTLS_SYMMETRIC_ID"));
    send(&agent, "POST", &format!("https://{}{path}", service.api_address()), &[], Some(br#"{"plaintext": "x"}"#)).ok().map(|answer| answer.status)
}

#[test]
fn certificates_of_the_console_let_programs_in() {
    let installation = Installation::new();
    let service = installation.start();
    let admin = Person::administrator(&installation, &service);
    let number = installation.database().number("number", "key_stores WHERE name = 'demo-by-certificate'");
    let list = format!("{}/{number}/certificates", admin.get("/").to.expect("the first project"));
    let fields = [("name", "Terminal 7"), ("password", "a password of its own"), ("lifeTime", "30"), ("description", "")];
    assert_eq!(admin.fill_in(&format!("{list}/new"), &fields).to, Some(format!("{list}?done=certified")));
    let csrf = admin.get(&list).hidden("csrf");
    let (kind, disposition, p12) = admin.download(&format!("{list}/download"), &[("csrf", &csrf), ("name", "Terminal 7")]);
    assert_eq!(kind, "application/x-pkcs12");
    assert_eq!(disposition, "attachment; filename=\"Terminal_7.p12\"; filename*=UTF-8''Terminal%207.p12");
    let file = installation.path().join("terminal-7.p12");
    std::fs::write(&file, p12).expect("written");
    let open = |part: &[&str]| openssl(&[&["pkcs12", "-in", file.to_str().expect("a path"), "-passin", "pass:a password of its own"], part].concat());
    let (certificate, key) = (open(&["-nokeys", "-clcerts"]), open(&["-nocerts", "-nodes"]));
    assert_eq!(encrypts(&installation, &service, &certificate, key.as_bytes()), Some(200));

    let key = rcgen::KeyPair::generate().expect("a key");
    let request = signing_request_of(&key, "x");
    let fields = [("name", "Terminal 8"), ("csr", request.as_str()), ("lifeTime", "30"), ("description", "")];
    let signed = admin.fill_in(&format!("{list}/sign"), &fields);
    assert_eq!(signed.status, 200, "{}", signed.text);
    let (_, shown) = signed.text.split_once("id=\"certificate\"").expect("a certificate");
    let certificate = shown.split_once('>').and_then(|(_, rest)| rest.split('<').next()).expect("its text");
    assert_eq!(encrypts(&installation, &service, certificate, key.serialize_pem().as_bytes()), Some(200));
    // Both are let in because they are listed.
    let ended = admin.fill_in(&format!("{list}/request-deletion?value=Terminal+8"), &[("value", "Terminal 8")]);
    assert_eq!(ended.to, Some(format!("{list}?done=request-deletion")), "{}", ended.text);
    assert_ne!(encrypts(&installation, &service, certificate, key.serialize_pem().as_bytes()), Some(200));
}
