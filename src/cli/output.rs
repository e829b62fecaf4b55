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

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
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
        let before: usize =
            (0..self.columns.len().saturating_sub(1)).map(|column| self.width(column) + GAP).sum();
        let width = columns.saturating_sub(before).max(LAST_COLUMN_MIN);
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
    fn texts_break_at_blanks_and_only_a_long_word_is_wider() {
        assert_eq!(wrap("last daily weekly monthly", 12), ["last daily", "weekly", "monthly"]);
        assert_eq!(wrap("last daily", 10), ["last daily"]);
        assert_eq!(wrap("a overlong-word b", 4), ["a", "overlong-word", "b"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
