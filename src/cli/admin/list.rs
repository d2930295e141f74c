//! Lists: fetched page by page, printed as a table or as JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::reach::Reach;
use super::{Command, Show, json};
use crate::cli::exit::Failure;
use crate::cli::output;
use crate::service::LIST_PAGE;

/// A page of a list.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Page<R> {
    rows: Vec<R>,
    is_last: bool,
}

impl<R> Page<R> {
    pub(super) fn of<T>(found: Vec<T>, row: impl Fn(T) -> R) -> Self {
        let is_last = i64::try_from(found.len()).is_ok_and(|count| count < LIST_PAGE);
        Self { rows: found.into_iter().map(row).collect(), is_last }
    }
}

/// A line of a list.
pub(super) trait Row: Serialize + DeserializeOwned {
    /// What stands above the columns.
    const HEADINGS: &'static [&'static str];

    /// What stands in the columns.
    fn cells(&self) -> Vec<String>;
}

/// Fetches a whole list: `page` is the command for the page after a row.
pub(super) fn fetch<R, C, F>(reach: &Reach, page: F) -> Result<Vec<R>, Failure>
where
    R: Row,
    C: Command<Answer = Page<R>>,
    F: Fn(Option<&R>) -> C,
{
    let mut rows: Vec<R> = Vec::new();
    loop {
        let more = reach.ask(page(rows.last()))?;
        let is_last = more.is_last || more.rows.is_empty();
        rows.extend(more.rows);
        if is_last {
            return Ok(rows);
        }
    }
}

/// Prints a list.
pub(super) fn print<R: Row>(show: Show, rows: &[R]) -> Result<(), Failure> {
    if show.json {
        return rows.iter().try_for_each(|row| Ok(output::line(&json(row)?)?));
    }
    let mut lines: Vec<Vec<String>> = vec![R::HEADINGS.iter().map(|heading| (*heading).to_owned()).collect()];
    lines.extend(rows.iter().map(Row::cells));
    aligned(&lines).iter().try_for_each(|line| Ok(output::line(line)?))
}

/// Columns as wide as what stands in them, two spaces apart.
fn aligned(lines: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        widths.resize(widths.len().max(line.len()), 0);
        widths.iter_mut().zip(line).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    let pad = |line: &Vec<String>| line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>().join("  ");
    lines.iter().map(|line| pad(line).trim_end().to_owned()).collect()
}

/// `yes` or `no`.
pub(super) fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_characters() {
        let lines = [vec!["a".to_owned(), "b".to_owned()], vec!["éé".to_owned(), "c".to_owned()], vec!["d".to_owned(), String::new()]];
        assert_eq!(aligned(&lines), ["a   b", "éé  c", "d"]);
    }
}
