//! Files of IPv4 and MAC entries: comma-separated values (RFC 4180) in UTF-8, with the columns `value` and `description`.

use super::text::ENGLISH;
use crate::domain::client_checks::Method;
use crate::service::{ClientEntry, ListedClientRule, REGISTERED_AT_ONCE_MAX, shown_value};

/// The most bytes of a file.
pub(super) const FILE_MAX_BYTES: usize = 12 * 1024 * 1024;
/// Its media type (RFC 7111).
pub(super) const MEDIA_TYPE: &str = "text/csv; charset=utf-8; header=present";

const BYTE_ORDER_MARK: &str = "\u{feff}";
const VALUE: &str = "value";
const DESCRIPTION: &str = "description";

/// An entry of a file.
#[derive(Debug)]
pub(super) struct Line {
    /// Where it begins, from 1.
    pub(super) number: u64,
    pub(super) entry: ClientEntry,
    /// Why it can't be registered, whatever its entry is.
    pub(super) problem: Option<&'static str>,
}

/// Where a file has what.
#[derive(Debug, Clone, Copy)]
struct Columns {
    value: usize,
    description: Option<usize>,
    /// Whether there are other columns, which are passed over: a file that was downloaded here has some.
    has_others: bool,
}

impl Columns {
    /// Of a file whose first line names no columns.
    const UNNAMED: Self = Self { value: 0, description: Some(1), has_others: false };

    fn named(record: &csv::StringRecord) -> Option<Self> {
        let at = |wanted: &str| record.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted));
        Some(Self { value: at(VALUE)?, description: at(DESCRIPTION), has_others: true })
    }
}

/// The text of a file, if it is one.
pub(super) fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| ENGLISH.clients.csv_not_utf8)?;
    Ok(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))
}

/// Spreadsheets write semicolons where the comma is for decimals.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or_default();
    if first.contains(';') && !first.contains(',') { b';' } else { b',' }
}

/// The entries of a file, or why there are none.
pub(super) fn read(text: &str) -> Result<Vec<Line>, &'static str> {
    // One end of lines throughout: of CR LF the reader takes the second half for the beginning of the next line, which puts its count off.
    let text = text.replace("\r\n", "\n");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter(&text)).from_reader(text.as_bytes());
    let (mut lines, mut columns) = (Vec::new(), None);
    for record in reader.records() {
        let record = record.map_err(|_| ENGLISH.clients.csv_unreadable)?;
        if record.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        let columns = match columns {
            Some(columns) => columns,
            None => {
                let named = Columns::named(&record);
                let found = *columns.insert(named.unwrap_or(Columns::UNNAMED));
                if named.is_some() {
                    continue;
                }
                found
            }
        };
        if lines.len() >= REGISTERED_AT_ONCE_MAX {
            return Err(ENGLISH.clients.csv_too_many);
        }
        lines.push(line(&record, columns));
    }
    if lines.is_empty() { Err(ENGLISH.clients.csv_empty) } else { Ok(lines) }
}

fn line(record: &csv::StringRecord, columns: Columns) -> Line {
    let field = |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or_default();
    // Browsers and spreadsheets have each their own ends of lines within a field.
    let description = unguarded(field(columns.description)).replace("\r\n", "\n");
    let entry = ClientEntry { value: unguarded(field(Some(columns.value)).trim()), description };
    let has_more = !columns.has_others && record.iter().skip(2).any(|field| !field.trim().is_empty());
    let number = record.position().map_or(0, csv::Position::line);
    Line { number, entry, problem: has_more.then_some(ENGLISH.clients.csv_columns) }
}

/// Where some spreadsheets begin another cell, whatever stands between the quotes: those whose lists are separated by semicolons.
const SEPARATORS: [char; 2] = [';', '\t'];

/// Whether a spreadsheet would take a cell for a formula (OWASP, CSV injection), or for one that was guarded.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

/// A cell of which no spreadsheet takes anything for a formula: with `'` before each beginning that it could take for one.
fn guarded(text: String) -> String {
    let mut guarded = String::with_capacity(text.len());
    if is_formula(&text) {
        guarded.push('\'');
    }
    for (place, character) in text.char_indices() {
        guarded.push(character);
        let rest = text.get(place + character.len_utf8()..).unwrap_or_default();
        if SEPARATORS.contains(&character) && is_formula(rest) {
            guarded.push('\'');
        }
    }
    guarded
}

/// What was guarded.
fn unguarded(text: &str) -> String {
    let guards = |rest: &str| rest.strip_prefix('\'').is_some_and(is_formula);
    let mut rest = if guards(text) { text.get(1..).unwrap_or_default() } else { text };
    let mut plain = String::with_capacity(rest.len());
    while let Some(character) = rest.chars().next() {
        plain.push(character);
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        if SEPARATORS.contains(&character) && guards(rest) {
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    plain
}

/// A file of a table, its names and its rows, for spreadsheets.
pub(super) fn table<const N: usize>(names: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Vec<u8> {
    [head(names), write(rows)].concat()
}

/// Lines of a file, each cell of which may be any text.
pub(super) fn write<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        // Into memory, and all rows of one length: nothing can fail.
        let written = writer.write_record(row.map(guarded));
        debug_assert!(written.is_ok());
    }
    writer.into_inner().unwrap_or_default()
}

/// A file to begin with: addresses that are for documentation (RFC 5737, RFC 7042).
pub(super) fn template(method: Method) -> Vec<u8> {
    let examples = if method == Method::Mac { ["00:00:5e:00:53:01", "00:00:5e:00:53:02"] } else { ["192.0.2.10", "192.0.2.64/26"] };
    let [first, second] = examples.map(str::to_owned);
    let names = [VALUE, DESCRIPTION].map(str::to_owned);
    write([names, [first, "an example: write your own lines".to_owned()], [second, String::new()]].into_iter())
}

/// The first line of a downloaded file. The mark in front is for spreadsheets, which take the text for something else without it.
pub(super) fn head<const N: usize>(columns: [&str; N]) -> Vec<u8> {
    [BYTE_ORDER_MARK.as_bytes(), &write(std::iter::once(columns.map(str::to_owned)))].concat()
}

/// The names of the columns of a downloaded file of entries.
pub(super) fn begin() -> Vec<u8> {
    head([VALUE, DESCRIPTION, "status", "deletionDatetime", "lastAccessDatetime", "creationDatetime"])
}

/// Some lines of a downloaded file.
pub(super) fn lines(entries: Vec<ListedClientRule>, date: impl Fn(crate::domain::clock::Timestamp) -> String) -> Vec<u8> {
    let date_if_any = |at: Option<crate::domain::clock::Timestamp>| at.map(&date).unwrap_or_default();
    write(entries.into_iter().map(|listed| {
        let rule = listed.rule;
        let (value, status) = (shown_value(&rule.value), rule.state.as_str().to_owned());
        let description = rule.description.as_str().to_owned();
        [value, description, status, date_if_any(rule.deletion), date_if_any(listed.last_access), date(rule.created.at)]
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(u64, String, String)> {
        read(text).expect("lines").into_iter().map(|line| (line.number, line.entry.value, line.entry.description)).collect()
    }

    fn entry(number: u64, value: &str, description: &str) -> (u64, String, String) {
        (number, value.to_owned(), description.to_owned())
    }

    #[test]
    fn columns_are_found_by_their_names_or_by_their_order() {
        assert_eq!(entries("10.0.0.1,one\n10.0.0.2\n"), [entry(1, "10.0.0.1", "one"), entry(2, "10.0.0.2", "")]);
        assert_eq!(entries("Description;VALUE;status\r\none;10.0.0.1;ACTIVE\r\n"), [entry(2, "10.0.0.1", "one")]);
        assert_eq!(entries("value,description\n\n,,\n 10.0.0.1 ,\"a, \"\"b\"\"\r\nc\"\n"), [entry(4, "10.0.0.1", "a, \"b\"\nc")]);
        assert!(read("10.0.0.1,one,two\n").expect("lines")[0].problem.is_some());
    }

    #[test]
    fn what_is_no_file_of_entries_is_told() {
        let t = &ENGLISH.clients;
        assert_eq!(text(b"\xff\xfe1\x000\x00"), Err(t.csv_not_utf8));
        assert_eq!(text("\u{feff}10.0.0.1".as_bytes()), Ok("10.0.0.1"));
        assert_eq!(read("value,description\n").map(drop), Err(t.csv_empty));
        assert_eq!(read(&"10.0.0.1\n".repeat(REGISTERED_AT_ONCE_MAX + 1)).map(drop), Err(t.csv_too_many));
    }

    #[test]
    fn no_cell_is_a_formula_and_what_is_read_again_is_what_was_written() {
        for text in [
            "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "''=1", "'quoted'", "plain", "", "a\nb", "\n=1", "＝1", "x;=1", "x;'=1", "x;;=1", ";", "x\t@y",
            "a;b", "é;+é", "';'-",
        ] {
            let cell = guarded(text.to_owned());
            for piece in cell.split([';', '\t']) {
                assert!(!piece.starts_with(['=', '+', '-', '@', '\t', '\r', '＝']), "{cell}");
            }
            assert_eq!(unguarded(&cell), text);
        }
    }
}
