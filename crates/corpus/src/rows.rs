//! Rows with named fields: JSON lines, CSV and TSV, read one at a time.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use serde_json::Value;

use crate::Error;
use crate::error::{listed, shortened};
use crate::files::{self, LINE_LIMIT, Lines};

/// The ways to write rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object per line.
    JsonLines,
    /// Comma-separated with a header, quoted as RFC 4180 says.
    Csv,
    /// Tab-separated with a header, never quoted: Common Voice's transcripts begin with quotation marks.
    Tsv,
}

/// One row: its line from 1, and its fields in order.
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) form: Form,
    fields: Vec<(Rc<str>, Value)>,
}

impl Row {
    /// Takes the first of `names` that holds something; null and, in tables, an empty cell hold nothing.
    pub(crate) fn take(&mut self, names: &[&str]) -> Option<(Rc<str>, Value)> {
        names.iter().find_map(|name| {
            let index = self.fields.iter().position(|(field, value)| &**field == *name && !is_nothing(value))?;
            Some(self.fields.remove(index))
        })
    }

    /// As [`Row::take`], but an empty text counts.
    pub(crate) fn take_text(&mut self, names: &[&str]) -> Option<(Rc<str>, Value)> {
        names.iter().find_map(|name| {
            let index = self.fields.iter().position(|(field, value)| &**field == *name && !value.is_null())?;
            Some(self.fields.remove(index))
        })
    }

    /// The fields that were not taken and hold something.
    pub(crate) fn rest(self) -> impl Iterator<Item = (Rc<str>, Value)> {
        self.fields.into_iter().filter(|(_, value)| !is_nothing(value))
    }

    /// The names of the fields, for a message.
    pub(crate) fn names(&self) -> String {
        listed(self.fields.iter().map(|(name, _)| &**name), 20)
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// Hands every row of a file to `visit`, in order.
///
/// # Errors
/// When the file cannot be read or is malformed, or what `visit` returns.
pub(crate) fn read(path: &Path, visit: &mut dyn FnMut(Row) -> Result<(), Error>) -> Result<(), Error> {
    match form_of(path)? {
        Form::JsonLines => read_json_lines(path, visit),
        Form::Tsv => read_tsv(path, visit),
        Form::Csv => read_csv(path, visit),
    }
}

/// The form that the extension states, otherwise the one that the first line shows.
fn form_of(path: &Path) -> Result<Form, Error> {
    let stated = match files::extension(path).as_str() {
        "jsonl" | "ndjson" | "json" => Some(Form::JsonLines),
        "csv" => Some(Form::Csv),
        "tsv" => Some(Form::Tsv),
        _ => None,
    };
    if let Some(form) = stated {
        return Ok(form);
    }
    let Some((line, first)) = Lines::new(files::open(path)?, path).next_line()? else {
        return Err(Error::Empty { path: path.to_path_buf() });
    };
    if first.trim_start().starts_with('{') {
        Ok(Form::JsonLines)
    } else if first.contains('\t') {
        Ok(Form::Tsv)
    } else if first.contains(',') {
        Ok(Form::Csv)
    } else {
        let what = format!(
            "`{}` begins neither JSON lines nor a table with a header separated by tabs or commas",
            shortened(&first, 40)
        );
        Err(Error::syntax(path, line, what))
    }
}

fn read_json_lines(path: &Path, visit: &mut dyn FnMut(Row) -> Result<(), Error>) -> Result<(), Error> {
    let mut lines = Lines::new(files::open(path)?, path);
    while let Some((line, text)) = lines.next_line()? {
        let what = match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(object)) => {
                let fields = object.into_iter().map(|(name, value)| (Rc::from(name), value)).collect();
                visit(Row { line, form: Form::JsonLines, fields })?;
                continue;
            }
            Ok(other) => format!("{} instead of an object", kind(&other)),
            Err(error) => format!("no JSON object ({error})"),
        };
        let what = format!(
            "{what}; a manifest has one JSON object per line, such as {{\"audio\": \"a.wav\", \"text\": \"…\"}}"
        );
        return Err(Error::syntax(path, line, what));
    }
    Ok(())
}

fn read_tsv(path: &Path, visit: &mut dyn FnMut(Row) -> Result<(), Error>) -> Result<(), Error> {
    let mut lines = Lines::new(files::open(path)?, path);
    let Some((header_line, header)) = lines.next_line()? else {
        return Err(Error::Empty { path: path.to_path_buf() });
    };
    let header = names(path, header_line, header.split('\t'))?;
    while let Some((line, text)) = lines.next_line()? {
        visit(row(path, line, Form::Tsv, &header, text.split('\t'))?)?;
    }
    Ok(())
}

fn read_csv(path: &Path, visit: &mut dyn FnMut(Row) -> Result<(), Error>) -> Result<(), Error> {
    let marks = Rc::new(Cell::new(0));
    let unbroken = Rc::new(Cell::new(0));
    let counted = MarkCounter { reader: files::open(path)?, marks: Rc::clone(&marks), unbroken: Rc::clone(&unbroken) };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(counted);
    let mut header: Option<Vec<Rc<str>>> = None;
    let mut record = csv::ByteRecord::new();
    let mut last = (0, false);
    loop {
        // Where the reader stands is the end of the previous record; the record knows its own start.
        let start = reader.position().line() as usize;
        unbroken.set(0);
        let more = reader.read_byte_record(&mut record).map_err(|error| match error.kind() {
            csv::ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                Error::LineTooLong { path: path.to_path_buf(), line: start, limit: LINE_LIMIT }
            }
            _ => csv_error(path, error),
        })?;
        if !more {
            break;
        }
        let line = record.position().map_or(0, |position| position.line() as usize);
        if record.as_slice().len() > LINE_LIMIT {
            return Err(Error::LineTooLong { path: path.to_path_buf(), line, limit: LINE_LIMIT });
        }
        last = (line, record.as_slice().contains(&b'\n'));
        let not_utf8 = |_| Error::NotUtf8 { path: path.to_path_buf(), line };
        let cells = record.iter().map(std::str::from_utf8).collect::<Result<Vec<_>, _>>().map_err(not_utf8)?;
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        match &header {
            None => {
                let first = cells.first().map_or("", |cell| cell.trim_start_matches('\u{feff}'));
                let cells = std::iter::once(first).chain(cells.iter().skip(1).copied());
                header = Some(names(path, line, cells)?);
            }
            Some(header) => visit(row(path, line, Form::Csv, header, cells.into_iter())?)?,
        }
    }
    // A quotation mark without its partner swallows every line to the end of the file.
    if last.1 && marks.get() % 2 == 1 {
        return Err(Error::syntax(path, last.0, "a quotation mark here has no partner"));
    }
    if header.is_none() {
        return Err(Error::Empty { path: path.to_path_buf() });
    }
    Ok(())
}

fn csv_error(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map_or(0, |position| position.line() as usize);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::io("read", path, error),
        other => Error::syntax(path, line, format!("no CSV ({other:?})")),
    }
}

fn names<'a>(path: &Path, line: usize, cells: impl Iterator<Item = &'a str>) -> Result<Vec<Rc<str>>, Error> {
    let mut seen = HashSet::new();
    let mut header = Vec::new();
    for cell in cells {
        let name = cell.trim();
        // Spreadsheets write nameless columns (an index, say); nobody can ask for them.
        if !name.is_empty() && !seen.insert(name.to_owned()) {
            return Err(Error::syntax(path, line, format!("the header names `{}` twice", shortened(name, 40))));
        }
        header.push(Rc::from(name));
    }
    Ok(header)
}

fn row<'a>(
    path: &Path,
    line: usize,
    form: Form,
    header: &[Rc<str>],
    cells: impl Iterator<Item = &'a str> + Clone,
) -> Result<Row, Error> {
    let count = cells.clone().count();
    if count != header.len() {
        let what = format!("{count} fields, but the header names {}", header.len());
        return Err(Error::syntax(path, line, what));
    }
    let fields = header
        .iter()
        .zip(cells)
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, cell)| (Rc::clone(name), Value::String(cell.trim().to_owned())))
        .collect();
    Ok(Row { line, form, fields })
}

/// What a JSON value is, for a message.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the truth value {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text \"{}\"", shortened(text, 40)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Counts the quotation marks that pass, and ends a record that goes on and on: a mark without its partner takes in all of a
/// file, which may be large.
struct MarkCounter<R> {
    reader: R,
    marks: Rc<Cell<u64>>,
    /// Bytes since a record began, or, what the reader had read ahead, before.
    unbroken: Rc<Cell<usize>>,
}

impl<R: Read> Read for MarkCounter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // Twice: quotation marks are doubled within quotation marks, and then count once.
        if self.unbroken.get() > 2 * LINE_LIMIT + 2 {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let read = self.reader.read(buffer)?;
        let marks = buffer.iter().take(read).filter(|byte| **byte == b'"').count();
        self.marks.set(self.marks.get() + marks as u64);
        self.unbroken.set(self.unbroken.get() + read);
        Ok(read)
    }
}
