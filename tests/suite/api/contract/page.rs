//! The contract's page, read for the routes and fields that it names: whatever it names must be in the fixture.

use super::fixture::{Contract, pattern};

/// Words in the tables' code spans that are no fields.
const NO_FIELDS: [&str; 1] = ["decrypt"];

/// What the fixture lacks of the page.
pub(super) fn missing_from(contract: &Contract, page: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let mut seen = 0;
    for row in page.lines().filter_map(table_row) {
        seen += 1;
        for (number, (method, path)) in row.routes.iter().enumerate() {
            let rows: Vec<_> = contract.row.iter().filter(|known| known.method() == method && known.pattern() == pattern(path)).collect();
            if rows.is_empty() {
                missing.push(format!("{method} {path}"));
            }
            // The fields of a line belong to its routes together: reading one shows what making it takes.
            let text: String = contract
                .row
                .iter()
                .filter(|known| row.routes.iter().any(|(method, path)| known.method() == method && known.pattern() == pattern(path)))
                .map(super::Row::text)
                .collect();
            for field in row.fields.iter().filter(|field| number == 0 && !names(&text, field)) {
                missing.push(format!("{method} {path}: {field}"));
            }
        }
    }
    let ours: Vec<(String, String)> = ours(page);
    assert!(seen > 25 && ours.len() > 6, "the page reads otherwise than it did: {seen} lines, {} routes of our own", ours.len());
    for (method, path) in ours {
        if !contract.row.iter().any(|known| known.method() == method && known.pattern() == pattern(&path)) {
            missing.push(format!("{method} {path}"));
        }
    }
    missing
}

/// Whether a field is named, as such or as the name of a parameter.
fn names(text: &str, field: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == field)
}

struct TableRow {
    routes: Vec<(String, String)>,
    fields: Vec<String>,
}

/// A line of a table whose first cell begins with a method.
fn table_row(line: &str) -> Option<TableRow> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let first = cells.next()?;
    let methods: Vec<&str> = first.split('`').next()?.split('/').map(str::trim).filter(|method| METHODS.contains(method)).collect();
    if methods.is_empty() {
        return None;
    }
    let paths = spans(first).into_iter().map(|path| path.split('?').next().unwrap_or_default().to_owned()).filter(|path| path.starts_with('/'));
    // `/macs` after `/keystores/{id}/ips` is its neighbour, not a path from the root.
    let mut full: Vec<String> = Vec::new();
    for path in paths.flat_map(|path| alternatives(&path)) {
        let neighbour = full.first().filter(|first| path.matches('/').count() == 1 && first.matches('/').count() > 1);
        let parent = neighbour.and_then(|first| first.rsplit_once('/')).map(|(parent, _)| parent.to_owned());
        full.push(format!("{}{path}", parent.unwrap_or_default()));
    }
    let routes = methods.iter().flat_map(|method| full.iter().map(|path| ((*method).to_owned(), path.clone()))).collect();
    let is_field = |word: &&str| !word.is_empty() && word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(|c| c.is_ascii_alphanumeric());
    let fields = cells.flat_map(spans).flat_map(|span| span.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>());
    Some(TableRow { routes, fields: fields.filter(|word| is_field(&word.as_str()) && !NO_FIELDS.contains(&word.as_str())).collect() })
}

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// What stands between backticks.
fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `/auths/{ipv4s,macs}/delete`: a path for each word between the braces.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, words, after)) = path.split_once('{').and_then(|(before, rest)| rest.split_once('}').map(|(words, after)| (before, words, after))) else {
        return vec![path.to_owned()];
    };
    let words = if words == "kind" { "ipv4s,macs,certificates" } else { words };
    if words.contains(',') { words.split(',').map(|word| format!("{before}{word}{after}")).collect() } else { vec![path.to_owned()] }
}

/// The routes of our own, which stand in a paragraph.
fn ours(page: &str) -> Vec<(String, String)> {
    let spans = page.split("\n\n").filter(|paragraph| paragraph.starts_with("Our own")).flat_map(spans);
    let routes = spans.filter_map(|span| {
        let (method, path) = span.split_once(' ')?;
        METHODS.contains(&method).then(|| (method.to_owned(), path.to_owned()))
    });
    routes
        .filter(|(_, path)| path.starts_with('/'))
        .flat_map(|(method, path)| alternatives(&path).into_iter().map(move |path| (method.clone(), path)))
        .collect()
}
