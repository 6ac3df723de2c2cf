//! What was heard in files' stretches, put together by file whenever it comes.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use klang_transcript::{Segment, Transcript};

use crate::error::{Error, Result};
use crate::in_order::InOrder;
use crate::stretches::FileEnd;
use crate::transcribe::{Heard, Part};

/// News of a file.
#[derive(Debug)]
pub(crate) enum News {
    /// What was heard in its stretch of this number, from 0.
    Part(usize, Part),
    /// It was read to its end, and has so many stretches.
    End(usize, FileEnd),
    /// It cannot be transcribed.
    Failed(Error),
}

/// Files of which something has come.
pub(crate) struct Assembly<'a, F> {
    paths: &'a [PathBuf],
    files: HashMap<usize, File>,
    order: InOrder<Result<Heard>, F>,
}

#[derive(Default)]
struct File {
    parts: BTreeMap<usize, Part>,
    end: Option<(usize, FileEnd)>,
    failed: bool,
}

impl<'a, E, F: FnMut(usize, Result<Heard>) -> std::result::Result<(), E>> Assembly<'a, F> {
    pub(crate) fn new(paths: &'a [PathBuf], take: F) -> Assembly<'a, F> {
        Assembly { paths, files: HashMap::new(), order: InOrder::new(take) }
    }

    /// Takes news of a file, and hands over what is whole. What follows a failure is passed over.
    ///
    /// # Errors
    /// What the receiver returns as one.
    pub(crate) fn put(&mut self, place: usize, news: News) -> std::result::Result<(), E> {
        let file = self.files.entry(place).or_default();
        if file.failed {
            return Ok(());
        }
        match news {
            News::Part(number, part) => {
                file.parts.insert(number, part);
            }
            News::End(count, end) => file.end = Some((count, end)),
            News::Failed(error) => {
                *file = File { failed: true, ..File::default() };
                return self.order.put(place, Err(error));
            }
        }
        match &file.end {
            Some((count, _)) if file.parts.len() == *count => {
                let file = self.files.remove(&place).unwrap_or_default();
                let name = self.paths.get(place).map(|path| path.display().to_string()).unwrap_or_default();
                self.order.put(place, file.heard(name))
            }
            _ => Ok(()),
        }
    }
}

impl File {
    fn heard(self, name: String) -> Result<Heard> {
        let FileEnd { duration, mut warnings } = self.end.map(|(_, end)| end).unwrap_or_default();
        let mut segments: Vec<Segment> = Vec::new();
        for part in self.parts.into_values() {
            segments.extend(part.segments);
            warnings.extend(part.warnings);
        }
        Ok(Heard { transcript: Transcript::new(name, duration, segments)?, warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: usize) -> News {
        let start = number as f64;
        let segment = Segment { start, end: start + 1.0, text: format!("{number}"), ..Segment::default() };
        News::Part(number, Part { segments: vec![segment], warnings: vec![format!("w{number}")] })
    }

    fn end(count: usize) -> News {
        News::End(count, FileEnd { duration: 9.0, warnings: vec!["w".into()] })
    }

    #[test]
    fn parts_come_together_in_their_order_and_files_in_theirs() {
        let mut taken = Vec::new();
        let paths = [PathBuf::from("a.wav"), "b.wav".into(), "c.wav".into()];
        let mut assembly = Assembly::new(&paths, |place, result: Result<Heard>| {
            let text = result.map(|heard| (heard.transcript.text(), heard.warnings)).map_err(|error| error.to_string());
            taken.push((place, text));
            Ok::<(), ()>(())
        });
        let failed = |what: &str| News::Failed(Error::Worker(what.into()));
        for (place, news) in [
            (1, part(1)),
            (0, part(2)),
            (1, end(2)),
            (2, failed("torn")),
            (0, end(3)),
            (2, part(0)),
            (2, failed("again")),
            (1, part(0)),
            (2, end(1)),
            (0, part(0)),
            (0, part(1)),
        ] {
            assembly.put(place, news).unwrap();
        }
        let warnings = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        assert_eq!(taken[0], (0, Ok(("0 1 2".into(), warnings(&["w", "w0", "w1", "w2"])))));
        assert_eq!(taken[1], (1, Ok(("0 1".into(), warnings(&["w", "w0", "w1"])))));
        assert!(taken[2].1.as_ref().unwrap_err().contains("torn"));
        assert_eq!(taken.len(), 3);
    }

    #[test]
    fn a_file_without_a_stretch_is_whole() {
        let mut count = 0;
        let paths = [PathBuf::from("a.wav")];
        let mut assembly = Assembly::new(&paths, |_, result: Result<Heard>| {
            assert_eq!(result.unwrap().transcript.segments(), []);
            count += 1;
            Ok::<(), ()>(())
        });
        assembly.put(0, end(0)).unwrap();
        assert_eq!(count, 1);
    }
}
