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
        output.line(&self.set(&heads, &widths))?;
        for row in &self.rows {
            output.line(&self.set(row, &widths))?;
        }
        Ok(())
    }

    fn width(&self, column: usize) -> usize {
        let head = self.columns.get(column).map_or(0, |(head, _)| head.len());
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(head)
    }

    fn set(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            if !line.is_empty() {
                line.push_str("  ");
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
