//! Every form, with every field wrong in every way that somebody comes upon: the message stands at its field, what was typed is still there,
//! passwords are not, and nothing is done.

use super::person::{Page, Person, make_account, signing_request};
use crate::support::installation::{Installation, Running};
use crate::support::random::Random;

/// A form: its path, and what is right in it.
struct Form {
    path: String,
    right: Vec<(&'static str, String)>,
    wrong: Vec<Wrong>,
}

/// What is wrong: which field holds what, and at which field it is told.
struct Wrong {
    field: &'static str,
    value: String,
    at: &'static str,
}

/// What is never shown again.
const NEVER_SHOWN: [&str; 4] = ["password", "current", "again", "keyData"];
const HOSTILE: &str = "\"><script>window.__x=1</script>'&";
/// The same, and too long for a name.
const HOSTILE_AND_LONG: &str = "\"><script>window.__x=1</script>'& and so on, and so on, and so on, and so on, and so on, and so on, and so on, and so on";
const HEX_KEY: &str = "0x00 0x01 0x02 0x03 0x04 0x05 0x06 0x07 0x08 0x09 0x0a 0x0b 0x0c 0x0d 0x0e 0x0f \
                       0x10 0x11 0x12 0x13 0x14 0x15 0x16 0x17 0x18 0x19 0x1a 0x1b 0x1c 0x1d 0x1e 0x1f";

fn form(path: impl Into<String>, right: &[(&'static str, &str)], wrong: Vec<Wrong>) -> Form {
    Form { path: path.into(), right: right.iter().map(|(field, value)| (*field, (*value).to_owned())).collect(), wrong }
}

fn wrong(field: &'static str, values: &[&str]) -> Vec<Wrong> {
    values.iter().map(|value| Wrong { field, value: (*value).to_owned(), at: field }).collect()
}

fn names() -> Vec<Wrong> {
    let long = format!("{HOSTILE}{}", "n".repeat(100));
    [wrong("name", &["", "   ", "a\u{1}b", "a\u{202e}b", &long]), descriptions()].into_iter().flatten().collect()
}

fn descriptions() -> Vec<Wrong> {
    wrong("description", &["a\u{1}b", &format!("{HOSTILE}{}", "d".repeat(1_000))])
}

fn and(lists: Vec<Vec<Wrong>>) -> Vec<Wrong> {
    lists.into_iter().flatten().collect()
}

fn forms(store: &str, secret: &str, key: &str, access_key: &str, account: &str) -> Vec<Form> {
    let csr = signing_request("client");
    let base = store.rsplit_once('/').expect("a path").0;
    let project = base.trim_end_matches("/key-stores").trim_end_matches("/management");
    let long = "n".repeat(101);
    let project_names = || wrong("name", &["", "   ", "a\u{1}b", "a\u{202e}b", HOSTILE_AND_LONG, &long]);
    let logins = || wrong("login", &["", "two words", HOSTILE, "é", &"l".repeat(65)]);
    let members = || and(vec![logins(), wrong("login", &["nobody-of-that-name"]), wrong("role", &["", "OWNER", HOSTILE])]);
    let first_passwords = || wrong("password", &["", "short", &"p".repeat(2_000)]);
    let key_store = [("name", "a name"), ("description", "kept"), ("ip4AuthUse", "Y"), ("authMode", "AND")];
    let of_key = [("name", "a name"), ("description", "kept")];
    let with = |fields: &[(&'static str, &'static str)], more: &[(&'static str, &'static str)]| [fields, more].concat();
    let checks = || and(vec![names(), wrong("authMode", &["", "XOR", HOSTILE]), wrong("ip4AuthUse", &["", "N"])]);
    let cycles = || wrong("autoRotationPeriod", &["x", "29", "-1", "1.5", "36501", "99999999999999999999", HOSTILE]);
    let long_data = "é".repeat(16_385);
    let days = || wrong("lifeTime", &["", "0", "-1", "3651", "99999999999999999999", "x", HOSTILE]);
    let seconds = || wrong("tokenLife", &["59", "86401", "-60", "x", "99999999999999999999", HOSTILE]);
    vec![
        form(format!("{base}/new"), &key_store, checks()),
        form(format!("{store}/edit"), &key_store, checks()),
        form(
            format!("{store}/keys/new/confidential-data"),
            &with(&of_key, &[("secretValue", "data")]),
            and(vec![names(), wrong("secretValue", &["", &long_data])]),
        ),
        form(format!("{store}/keys/new/symmetric-key"), &with(&of_key, &[("autoRotationPeriod", "30")]), and(vec![names(), cycles()])),
        form(format!("{store}/keys/new/asymmetric-key"), &with(&of_key, &[("autoRotationPeriod", "30")]), and(vec![names(), cycles()])),
        form(
            format!("{store}/keys/new/import"),
            &with(&of_key, &[("keyData", HEX_KEY)]),
            and(vec![names(), wrong("keyData", &["", "0x00", "nonsense", HOSTILE, &format!("{HEX_KEY} 0x20"), &HEX_KEY.replace("0x1f", "0x1g")])]),
        ),
        form(format!("{store}/keys/{secret}/edit"), &with(&of_key, &[("secretValue", "new")]), and(vec![names(), wrong("secretValue", &[&long_data])])),
        form(format!("{store}/keys/{key}/edit"), &with(&of_key, &[("autoRotationPeriod", "30")]), and(vec![names(), cycles()])),
        form(
            format!("{store}/ipv4/new"),
            &[("value", "10.9.9.9"), ("description", "kept")],
            and(vec![descriptions(), wrong("value", &["", "10.0.0", "10.0.0.256", "10.0.0.1/8", "0.0.0.0/0", "::1", "host.example", HOSTILE])]),
        ),
        form(
            format!("{store}/macs/new"),
            &[("value", "00:00:5e:00:53:01"), ("description", "kept")],
            and(vec![descriptions(), wrong("value", &["", "00:00:5e", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "10.0.0.1", HOSTILE])]),
        ),
        form(
            format!("{store}/certificates/new"),
            &[("name", "a name"), ("password", "4-of the file"), ("lifeTime", "30"), ("description", "kept")],
            and(vec![names(), days(), wrong("password", &["", "ü", "a\u{1}b", &"p".repeat(129)])]),
        ),
        form(
            format!("{store}/certificates/sign"),
            &[("name", "a name"), ("csr", &csr), ("lifeTime", "30"), ("description", "kept")],
            and(vec![
                names(),
                days(),
                wrong("csr", &["", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", HOSTILE]),
            ]),
        ),
        form(
            "/account/password",
            &[("current", "1-what it is not"), ("password", "2-of one's own"), ("again", "2-of one's own")],
            vec![
                Wrong { field: "current", value: "another than it is".to_owned(), at: "current" },
                Wrong { field: "again", value: "3-differs".to_owned(), at: "again" },
                Wrong { field: "again", value: HOSTILE.to_owned(), at: "again" },
            ],
        ),
        form("/account/access-keys/new", &[("tokenLife", "600")], seconds()),
        form(format!("/account/access-keys/{access_key}/edit"), &[("tokenLife", "600")], seconds()),
        form("/organization/projects/new", &[("name", "a name")], project_names()),
        form(format!("/organization{project}/rename"), &[("name", "a name")], project_names()),
        form(format!("/organization{project}/members/new"), &[("login", "admin"), ("role", "VIEWER")], members()),
        form(format!("{project}/members/new"), &[("login", "admin"), ("role", "VIEWER")], members()),
        form(
            format!("{project}/governance/expiry"),
            &[("expiryDays", "20")],
            wrong("expiryDays", &["", "0", "-1", "91", "x", "99999999999999999999", HOSTILE]),
        ),
        form("/organization/accounts/new", &[("login", "kim"), ("password", "5-a first password")], and(vec![logins(), first_passwords()])),
        form(format!("/organization/accounts/{account}/password"), &[("password", "5-a first password")], first_passwords()),
    ]
}

/// As templates write it.
fn escaped(text: &str) -> String {
    text.chars().map(|c| if "&<>\"'".contains(c) { format!("&#{};", u32::from(c)) } else { c.to_string() }).collect()
}

/// The tag of the control of that name.
fn control<'a>(page: &'a Page, field: &str) -> &'a str {
    let name = format!(" name=\"{field}\"");
    let (before, after) = page.text.split_once(&name).unwrap_or_else(|| panic!("no {field} in {}", page.text));
    let begin = before.rfind('<').expect("a tag");
    // Values are escaped, so the next `>` ends it.
    let end = before.len() + name.len() + after.find('>').expect("a tag's end");
    &page.text[begin..end]
}

fn is_told(page: &Page, form: &Form, wrong: &Wrong, sent: &[(&str, &str)]) {
    let what = format!("{} with {}={:?}", form.path, wrong.field, wrong.value.chars().take(60).collect::<String>());
    assert_eq!(page.status, 422, "{what}: {}", page.text);
    let tag = control(page, wrong.at);
    let place = format!("{}-wrong", wrong.at);
    assert!(tag.contains("aria-invalid=\"true\"") && tag.contains(&place), "{what}: {tag}");
    let (_, told) = page.text.split_once(&format!("id=\"{place}\">")).unwrap_or_else(|| panic!("{what}: no message in {}", page.text));
    assert!(!told.starts_with("</"), "{what}: no words");
    for (field, value) in sent.iter().filter(|(field, value)| !value.is_empty() && !matches!(*field, "seen" | "csrf") && !value.contains('\u{1}')) {
        let is_shown = page.has(&escaped(value));
        let is_choice = matches!(*field, "authMode" | "ip4AuthUse" | "role" | "mayApprove");
        assert!(is_choice || is_shown != NEVER_SHOWN.contains(field), "{what}: {field} is {}shown", if is_shown { "" } else { "not " });
    }
    assert!(!page.has("<script>window"), "{what}: {}", page.text);
    assert!(!page.has("macAuthUse must") && !page.has("importToken"), "{what}: says what is for programs");
}

struct World {
    installation: Installation,
    service: Running,
}

impl World {
    fn new() -> Self {
        let installation = Installation::new();
        let service = installation.start();
        make_account(&installation, "kai", &[]);
        Self { installation, service }
    }

    fn rows(&self) -> Vec<String> {
        let mut database = self.installation.database();
        ["key_stores", "keys", "key_versions", "client_rules", "access_keys", "projects", "accounts", "account_roles"]
            .map(|table| database.count(table).to_string())
            .to_vec()
    }
}

/// Every form with every field wrong: it is told at its field.
fn fill_in_wrong(admin: &Person<'_>, forms: Vec<Form>, random: &mut Random) {
    for form in forms {
        let opened = admin.ask(&form.path);
        let csrf = opened.hidden("csrf");
        let seen = opened.has("name=\"seen\"").then(|| opened.hidden("seen"));
        for wrong in &form.wrong {
            let mut fields: Vec<(&str, &str)> = vec![("csrf", &csrf)];
            fields.extend(seen.as_deref().map(|seen| ("seen", seen)));
            let is_left_out = wrong.value.is_empty() && matches!(wrong.field, "authMode" | "ip4AuthUse" | "role");
            for (field, right) in &form.right {
                match *field == wrong.field {
                    true if is_left_out => {}
                    true => fields.push((field, &wrong.value)),
                    false => fields.push((field, right)),
                }
            }
            // In a dialog, or on a page of its own.
            let in_dialog = random.below(2) == 0;
            let page = if in_dialog { admin.send_form(&form.path, &fields) } else { admin.post(&form.path, &fields) };
            assert_eq!(page.has("<html"), !in_dialog, "{}", form.path);
            is_told(&page, &form, wrong, &fields);
        }
    }
}

#[test]
fn what_is_wrong_stands_at_its_field_in_every_form() {
    let world = World::new();
    let admin = Person::administrator(&world.installation, &world.service);
    let stores = admin.get("/").to.expect("the first project");
    let store = format!("{stores}/1");
    let demo = |name: &str| world.installation.demo(name);
    let before = world.rows();
    let mut random = Random::of_test("console::forms");
    let account = world.installation.database().number("id", "accounts WHERE login = 'kai'").to_string();
    fill_in_wrong(&admin, forms(&store, demo("SECRET_ID"), demo("SYMMETRIC_ID"), demo("ACCESS_KEY_ID"), &account), &mut random);
    assert_eq!(world.rows(), before, "something was made");
}

#[test]
fn what_is_wrong_stands_at_its_field_where_approval_is_on() {
    let world = World::new();
    make_account(&world.installation, "axel", &[("APPROVAL ADMIN", "demo")]);
    let (status, _, log) = world.installation.run(&["admin", "approval", "enable", "--project", "demo"]);
    assert_eq!(status, 0, "{log}");
    let admin = Person::administrator(&world.installation, &world.service);
    let stores = admin.get("/").to.expect("the first project");
    let project = stores.trim_end_matches("/key-stores").to_owned();
    let store = format!("{project}/management/1");
    let demo = |name: &str| world.installation.demo(name);
    let axel = world.installation.database().number("id", "accounts WHERE login = 'axel'").to_string();
    let before = world.rows();
    let with_note = |form: Form| {
        let right = [form.right, vec![("note", "kept".to_owned())]].concat();
        Form { right, wrong: and(vec![form.wrong, notes("note")]), path: form.path }
    };
    let drafted = forms(&store, demo("SECRET_ID"), demo("SYMMETRIC_ID"), demo("ACCESS_KEY_ID"), &axel).into_iter();
    let drafted = drafted.filter_map(|form| {
        let is_asked_for =
            ["/members/new", "/governance/expiry", "/password"].iter().any(|end| form.path.ends_with(end)) && !form.path.starts_with("/account/");
        match is_asked_for {
            true => Some(with_note(form)),
            false => form.path.contains("/management").then_some(form),
        }
    });
    let forms = drafted.chain([form(format!("{project}/governance/off"), &[("note", "kept")], notes("note"))]).chain(people(&project)).collect();
    fill_in_wrong(&admin, forms, &mut Random::of_test("console::forms::approval"));
    assert_eq!((world.rows(), world.installation.database().count("change_requests")), (before, 0), "something was made");
}

/// What is asked for about people.
fn people(project: &str) -> Vec<Form> {
    let at = |what: &str| format!("{project}/governance/ask/{what}");
    let roles = || wrong("role", &["", "OWNER", HOSTILE]);
    let parts = || wrong("password", &["", "short", &"p".repeat(234)]);
    let unknown = || wrong("login", &["", "nobody", HOSTILE]);
    let first_part = [("login", "axel"), ("password", "5-a first part"), ("note", "kept")];
    vec![
        form(
            at("account"),
            &[("login", "kim"), ("role", "APPROVAL ADMIN"), ("password", "5-a first part"), ("note", "kept")],
            and(vec![wrong("login", &["", "two words", "é", HOSTILE]), roles(), parts(), notes("note")]),
        ),
        form(at("password"), &first_part, and(vec![unknown(), parts(), notes("note")])),
        form(at("enable"), &[("login", "axel"), ("note", "kept")], and(vec![unknown(), wrong("login", &["axel"]), notes("note")])),
        form(
            at("access-key"),
            &[("id", "AAAAAAAAAAAAAAAAAAAA"), ("mayApprove", "Y"), ("note", "kept")],
            and(vec![wrong("id", &["", "none", HOSTILE]), wrong("mayApprove", &["", "x"]), notes("note")]),
        ),
    ]
}

/// What no note is.
fn notes(field: &'static str) -> Vec<Wrong> {
    wrong(field, &["", "   ", "a\u{1}b", &format!("{HOSTILE}{}", "n".repeat(1_000))])
}

#[test]
fn fields_that_are_missing_or_twice_there_and_bodies_that_are_no_form_do_nothing() {
    let world = World::new();
    let admin = Person::administrator(&world.installation, &world.service);
    let stores = admin.get("/").to.expect("the first project");
    let store = format!("{stores}/1");
    let (csrf, demo) = (admin.get("/account").hidden("csrf"), |name: &str| world.installation.demo(name));
    let before = world.rows();
    let account = world.installation.database().number("id", "accounts WHERE login = 'kai'").to_string();
    for form in forms(&store, demo("SECRET_ID"), demo("SYMMETRIC_ID"), demo("ACCESS_KEY_ID"), &account) {
        if !form.path.starts_with("/account/access-keys") {
            let page = admin.send_form(&form.path, &[("csrf", &csrf)]);
            assert_eq!(page.status, 422, "{} with nothing: {}", form.path, page.text);
        }
        let twice = admin.send_form(&form.path, &[("csrf", "no"), ("csrf", &csrf), ("name", "a"), ("name", "b")]);
        assert!(twice.status == 422 && twice.has("opened in an earlier session"), "{}: {}", form.path, twice.text);
    }
    for path in ["rotate", "request-deletion", "cancel-deletion", "delete"].map(|step| format!("{store}/keys/{}/steps/{step}", demo("SYMMETRIC_ID"))) {
        for seen in ["", "x", "0", "-1", "99999999999999999999"] {
            let page = admin.send_form(&path, &[("csrf", &csrf), ("seen", seen)]);
            assert!(page.status == 422 && page.has("role=\"alert\""), "{path} {seen}: {}", page.text);
        }
    }
    for (path, told) in [("delete", "Somebody else changed this meanwhile"), ("ipv4/request-deletion", "Somebody else changed this meanwhile")] {
        let page = admin.send_form(&format!("{store}/{path}"), &[("csrf", &csrf), ("value", "127.0.0.1")]);
        assert!(page.status == 422 && page.has(told), "{path}: {}", page.text);
    }
    let full = admin.fill_in(&format!("{store}/delete"), &[]);
    assert!(full.status == 422 && full.has("still holds keys"), "{}", full.text);
    for value in ["10.0.0.99", "nonsense", ""] {
        let page = admin.send_form(&format!("{store}/ipv4/request-deletion"), &[("csrf", &csrf), ("value", value), ("seen", "1")]);
        assert!(page.status == 422 && page.has("role=\"alert\""), "{value}: {}", page.text);
    }
    assert_eq!(world.rows(), before, "something was made");
}

#[test]
fn signing_in_keeps_the_name_and_never_the_password() {
    let world = World::new();
    let stranger = Person::stranger(&world.installation, &world.service);
    let long = "p".repeat(2_000);
    for (login, password) in [("", ""), ("admin", ""), ("", "a password"), (HOSTILE, "a password"), ("admin", long.as_str()), ("a\u{0}b", "\u{202e}")] {
        let page = stranger.post("/sign-in", &[("login", login), ("password", password), ("next", "https://evil.example/")]);
        assert!(matches!(page.status, 401 | 429), "{login:?}: {page:?}");
        assert!(page.has(&format!("value=\"{}\"", escaped(login))) && page.has("id=\"wrong\"") && page.has("aria-describedby=\"wrong\""), "{page:?}");
        assert!(password.is_empty() || !page.has(password), "{page:?}");
        assert!(!page.has("evil.example") && !page.has("<script>window"), "{page:?}");
    }
}
