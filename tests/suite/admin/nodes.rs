//! Two servers and a command without one, on one PostgreSQL and one token.

use std::time::{Duration, Instant};

use super::live::Person;
use super::{done, field};
use crate::support::installation::Installation;
use crate::support::postgres::Cluster;

/// What is promised: 1 s on every other node. The command itself has ended by then.
const ELSEWHERE_WITHIN: Duration = Duration::from_secs(1);

fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < ELSEWHERE_WITHIN, "{what}: not within {ELSEWHERE_WITHIN:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{what} after {:?}", began.elapsed());
}

/// From here on, processes of the installation are of this node.
fn be_node(installation: &mut Installation, name: &str) {
    let data_dir = if name == "dev" { installation.path().join("data") } else { installation.path().join(format!("data-{name}")) };
    std::fs::create_dir_all(&data_dir).expect("a directory");
    installation.set("SKM_SERVER__DATA_DIR", data_dir.to_str().expect("UTF-8"));
    installation.set("SKM_SERVER__NODE", name);
}

#[test]
fn what_one_node_takes_away_the_other_refuses_within_a_second() {
    let cluster = Cluster::start();
    let mut installation = Installation::with(&[("SKM_DATABASE__URL", &cluster.uri())]);
    let one = installation.start();
    be_node(&mut installation, "two");
    let two = installation.start();
    be_node(&mut installation, "dev");
    let person = Person::make(&installation);
    soon("known elsewhere", || person.change(&two, "probe").status == 200);
    let token = person.token(&two).expect("a token");
    assert_eq!((person.by_token(&one, &token), person.by_token(&two, &token)), (200, 200));
    done(&installation, &["admin", "account", "disable", "alice"]);
    assert_eq!(person.by_token(&one, &token), 401);
    soon("the disabled account's token", || person.by_token(&two, &token) == 401);
    done(&installation, &["admin", "account", "enable", "alice"]);
    soon("the enabled account", || person.change(&two, "three").status == 200);
    assert_eq!(person.by_token(&two, &token), 401, "its token has ended for good");
    done(&installation, &["admin", "role", "revoke", "alice", "API.ADMIN", "--project", "shop"]);
    soon("the revoked role", || person.change(&two, "four").status == 403);
    done(&installation, &["admin", "role", "grant", "alice", "API.ADMIN", "--project", "shop"]);
    soon("the granted role", || person.change(&two, "five").status == 200);
    // Without a server of its own: a third data directory, whose lock the command takes.
    be_node(&mut installation, "three");
    let second = field(&done(&installation, &["admin", "appkey", "create", "shop"])[0], "appkey");
    done(&installation, &["admin", "appkey", "delete", &person.appkey, "--yes"]);
    soon("the deleted appkey", || person.change(&two, "six").status == 404);
    let person = Person { appkey: second, ..person };
    assert_eq!(person.change(&two, "seven").status, 200);
    done(&installation, &["admin", "access-key", "delete", &person.id, "--yes"]);
    soon("the deleted access key", || person.change(&two, "eight").status == 401);
    assert_eq!(installation.database().count("audit_chains WHERE node = 'three'"), 3);
    for running in [one, two] {
        let (status, log) = running.stop();
        assert!(status.success(), "{log}");
    }
    let (code, told, problems) = installation.run(&["audit", "verify"]);
    assert_eq!(code, 0, "{told}{problems}");
}
