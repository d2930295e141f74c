//! Statistics in a browser: charts and tables at both widths, to and fro in time.

use super::Browser;
use crate::support::installation::Installation;

/// Calls of the last forty days, and of the next one, should it begin meanwhile: as a busy project has them: more operations than there are patterns, more keys than are told apart, some
/// of them with names that nobody should choose.
fn seed(installation: &Installation) {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    let (today, this_hour) = (now / 86_400, now / 3_600);
    let operations = ["ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "READ_SECRET", "CREATE_LOCAL_KEY", "CONFIRM", "READ_PUBLIC_KEY", "READ_INVENTORY"];
    let mut database = installation.database();
    database.run(
        "UPDATE keys SET name = 'A name of a hundred characters, which is as many as a name may have, and too many for a narrow page' WHERE name = 'demo-symmetric'",
    );
    database.run("UPDATE keys SET name = '<b>\"&amp; 키 이름 שם מפתח' WHERE name = 'demo-asymmetric'");
    let known = database.texts("id", "keys");
    let project = database.texts("MIN(id)", "projects").remove(0);
    let mut rows = Vec::new();
    let mut add = |span: &str, slot: u64, number: u64| {
        for (place, operation) in operations.iter().enumerate() {
            let place = u64::try_from(place).expect("few");
            let key = (number * 7 + place) % 14;
            let key = usize::try_from(key).ok().and_then(|key| known.get(key).cloned()).unwrap_or_else(|| format!("{key:032x}"));
            let calls = (number * 37 + place * 11) % 101 * 1_000 / (place * place + 1) + 1;
            for (result, calls) in [("SUCCESS", calls), ("REFUSED", calls / 9), ("FAILED", calls / 40)] {
                rows.push(format!("({project}, '{span}', {slot}, '{operation}', '{result}', '{key}', 'seed', {calls})"));
            }
        }
    };
    (0..41).for_each(|number| add("DAY", today + 1 - number, number));
    (0..49).for_each(|number| add("HOUR", (this_hour + 1 - number) * 3_600_000_000, number));
    database.run(&format!("INSERT INTO call_counts (project_id, span, slot, operation, result, key_id, node, calls) VALUES {}", rows.join(", ")));
}

#[test]
fn somebody_looks_at_the_statistics() {
    let installation = Installation::new();
    seed(&installation);
    let running = installation.start();
    let browser = Browser::of_administrator(&installation, &running);
    browser.press("Statistics");
    browser.sees("Calls by operation");
    browser.looks_right("statistics-day");
    browser.press("Week");
    browser.sees("–");
    browser.looks_right("statistics-week");
    browser.press("Month");
    browser.waits("the month", || browser.path().contains("by=month"));
    browser.looks_right("statistics-month");
    let month = browser.text_of("h1");
    browser.press("Previous");
    browser.waits("another month", || browser.text_of("h1") != month);
    browser.press("Next");
    browser.waits("the month again", || browser.text_of("h1") == month);
    let key = browser.text_of("section[aria-labelledby='by-key'] tbody a");
    browser.press(&key);
    browser.sees("Only calls of the key");
    browser.looks_right("statistics-key");
    browser.press("All keys");
    browser.waits("all keys", || !browser.has("Only calls of the key"));
    // Hours are kept for some months only, and further back nothing is.
    browser.go(&format!("{}?by=day&on=2000-01-01", browser.path().split('?').next().expect("a path")));
    browser.sees("must be a date of the last three years");
    browser.looks_right("statistics-wrong");
    let half_a_year_ago = browser.run("return new Date(Date.now() - 180 * 86400000).toISOString().slice(0, 10)", &[]);
    browser.go(&format!("{}?by=day&on={}", browser.path().split('?').next().expect("a path"), half_a_year_ago.as_str().expect("a date")));
    browser.sees("No calls");
    browser.looks_right("statistics-none");
    let broken = browser.run("return performance.getEntriesByType('resource').filter((r) => r.responseStatus >= 400).map((r) => r.name)", &[]);
    assert_eq!(broken, serde_json::json!([]));
}
