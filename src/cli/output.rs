//! Printing facts: tables for people, JSON for programs.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::Serialize;

use crate::base::name::printable;
use crate::cli::exit::CommandError;

/// Standard output, buffered; a closed pipe ends the command quietly.
pub(crate) struct Output {
    stream: BufWriter<io::Stdout>,
    terminal: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        Self { stream: BufWriter::new(io::stdout()), terminal }
    }

    /// How many columns the terminal has that shows it, if one does.
    pub(crate) fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| self.terminal)?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// Whether a person reads it.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Prints one line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CommandError> {
        writeln!(self.stream, "{text}").map_err(failed)
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.stream.write_all(bytes).map_err(failed)
    }

    /// Prints a document; a list has one item a line, so that line tools work.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CommandError> {
        let text = serde_json::to_string(value)
            .map_err(|error| CommandError::Failed(format!("Cannot print JSON: {error}")))?;
        self.line(&text)
    }

    /// Prints a name: escaped where a person looks, as it is in a pipe.
    pub(crate) fn name(&self, name: &[u8]) -> Vec<u8> {
        if self.terminal { printable(name).into_bytes() } else { name.to_vec() }
    }

    /// Prints what is buffered, and goes on.
    pub(crate) fn flush(&mut self) -> Result<(), CommandError> {
        self.stream.flush().map_err(failed)
    }

    /// Prints what is buffered.
    pub(crate) fn finish(mut self) -> Result<(), CommandError> {
        self.stream.flush().map_err(failed)
    }
}

fn failed(error: io::Error) -> CommandError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return CommandError::ClosedOutput;
    }
    CommandError::io("write to standard output")(error)
}

/// A list that is printed as it comes, one item a line.
#[derive(Default)]
pub(crate) struct JsonArray {
    is_begun: bool,
}

impl JsonArray {
    /// Prints an item.
    pub(crate) fn item(
        &mut self,
        output: &mut Output,
        value: &impl Serialize,
    ) -> Result<(), CommandError> {
        self.begin(output)?;
        let text = serde_json::to_string(value)
            .map_err(|error| CommandError::Failed(format!("Cannot print JSON: {error}")))?;
        output.raw(text.as_bytes())
    }

    /// Prints the end of the list.
    pub(crate) fn end(&self, output: &mut Output) -> Result<(), CommandError> {
        output.raw(if self.is_begun { b"\n]\n" } else { b"[]\n" })
    }

    fn begin(&mut self, output: &mut Output) -> Result<(), CommandError> {
        let before: &[u8] = if self.is_begun { b",\n" } else { b"[\n" };
        self.is_begun = true;
        output.raw(before)
    }
}

/// A path as text for JSON and messages: escaped where it is no plain text.
pub(crate) fn path_text(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// Blanks between two columns.
const GAP: usize = 2;
/// The least width to which a last column is wrapped.
const LAST_COLUMN_MIN: usize = 12;

/// Breaks a text at blanks into lines of `width` characters at most; a longer
/// word has a line of its own.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// Puts blanks into words that are longer than a line.
fn break_words(text: &str, width: usize) -> String {
    let mut broken = String::with_capacity(text.len());
    let mut letters = 0;
    for character in text.chars() {
        letters = if character == ' ' { 0 } else { letters + 1 };
        if letters > width {
            broken.push(' ');
            letters = 1;
        }
        broken.push(character);
    }
    broken
}

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// How a last column is made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// Broken at blanks into several lines.
    Wrap,
    /// Without its end.
    Cut,
}

/// Rows of text, set in columns of fitting width.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn print(&self, output: &mut Output) -> Result<(), CommandError> {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let heads: Vec<String> = self.columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            output.line(&self.set(row, &widths))?;
        }
        Ok(())
    }

    /// Prints it with the words of the last column wrapped so that it fits into
    /// `columns`.
    pub(crate) fn print_wrapped(
        mut self,
        output: &mut Output,
        columns: usize,
    ) -> Result<(), CommandError> {
        let width = columns.saturating_sub(self.width_before_last()).max(LAST_COLUMN_MIN);
        let mut rows = Vec::new();
        for mut row in std::mem::take(&mut self.rows) {
            let mut lines = wrap(&row.pop().unwrap_or_default(), width).into_iter();
            let blank = vec![String::new(); row.len()];
            row.push(lines.next().unwrap_or_default());
            rows.push(row);
            rows.extend(lines.map(|line| [blank.clone(), vec![line]].concat()));
        }
        self.rows = rows;
        self.print(output)
    }

    /// Prints it so that it fits into the terminal, if one shows it: without as
    /// many of the dispensable columns as it takes, and with a shorter last one.
    pub(crate) fn print_fitting(
        mut self,
        output: &mut Output,
        dispensable: &[&str],
        last: Last,
    ) -> Result<(), CommandError> {
        let Some(columns) = output.columns() else { return self.print(output) };
        for head in dispensable {
            if self.least_width() <= columns {
                break;
            }
            self.remove(head);
        }
        if last == Last::Wrap {
            let width = columns.saturating_sub(self.width_before_last()).max(LAST_COLUMN_MIN);
            for cell in self.rows.iter_mut().filter_map(|row| row.last_mut()) {
                *cell = break_words(cell, width);
            }
            return self.print_wrapped(output, columns);
        }
        let width = columns.saturating_sub(self.width_before_last()).max(LAST_COLUMN_MIN);
        for cell in self.rows.iter_mut().filter_map(|row| row.last_mut()) {
            *cell = cell.chars().take(width).collect();
        }
        self.print(output)
    }

    /// The width of all columns but the last, with the gaps behind them.
    fn width_before_last(&self) -> usize {
        (0..self.columns.len().saturating_sub(1)).map(|column| self.width(column) + GAP).sum()
    }

    /// The width that it takes with a last column as narrow as can be.
    fn least_width(&self) -> usize {
        let last = self.columns.len().saturating_sub(1);
        self.width_before_last() + self.width(last).min(LAST_COLUMN_MIN)
    }

    /// Takes a column away.
    fn remove(&mut self, head: &str) {
        let Some(place) = self.columns.iter().position(|(own, _)| *own == head) else { return };
        self.columns.remove(place);
        for row in self.rows.iter_mut().filter(|row| place < row.len()) {
            row.remove(place);
        }
    }

    fn width(&self, column: usize) -> usize {
        let head = self.columns.get(column).map_or(0, |(head, _)| head.len());
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(head)
    }

    fn set(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        let columns = widths.iter().zip(&self.columns).enumerate();
        for (cell, (column, (width, (_, align)))) in cells.iter().zip(columns) {
            if column > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => line.extend([cell.as_str(), &padding]),
                Align::Right => line.extend([padding.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_longer_than_a_line_are_broken() {
        assert_eq!(break_words("/a/long/path b", 4), "/a/l ong/ path b");
    }

    #[test]
    fn a_table_does_without_columns_that_do_not_fit() {
        let mut table = Table::new(&[("A", Align::Left), ("B", Align::Right), ("C", Align::Left)]);
        table.row(["12345", "12345", "12345678901234567890"].map(String::from).to_vec());
        assert_eq!((table.least_width(), table.width_before_last()), (26, 14));
        table.remove("B");
        assert_eq!((table.least_width(), table.rows[0].len()), (19, 2));
    }

    #[test]
    fn texts_break_at_blanks_and_only_a_long_word_is_wider() {
        assert_eq!(wrap("last daily weekly monthly", 12), ["last daily", "weekly", "monthly"]);
        assert_eq!(wrap("last daily", 10), ["last daily"]);
        assert_eq!(wrap("a overlong-word b", 4), ["a", "overlong-word", "b"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
