//! The forms a transcript is written in.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use crate::characters::one_line;
use crate::subtitles::{srt, vtt};
use crate::{Error, Transcript, ctm, eaf, textgrid};

/// A form that a transcript is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The text on one line.
    Txt,
    /// One object on one line with all there is: see [`Transcript`] and the types in it for its keys.
    Json,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles, for browsers.
    Vtt,
    /// NIST time-marked conversation, a line per word, for scoring tools.
    Ctm,
    /// A Praat TextGrid: tiers of segments, words and characters.
    TextGrid,
    /// An ELAN annotation file (EAF 3.0): tiers of utterances and words.
    Eaf,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 7] = [Self::Txt, Self::Json, Self::Srt, Self::Vtt, Self::Ctm, Self::TextGrid, Self::Eaf];

    /// Their names, in the same order, as a command line takes them.
    pub const NAMES: [&str; 7] = ["txt", "json", "srt", "vtt", "ctm", "textgrid", "eaf"];

    /// Its name, as a command line takes it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The extension of its files, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            // Praat's own spelling; other tools look for it with its capitals.
            Self::TextGrid => "TextGrid",
            other => other.name(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    /// The format of a name, in whatever case.
    fn from_str(given: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(given));
        found.ok_or_else(|| Error::UnknownFormat { given: given.to_owned() })
    }
}

/// What some formats say beside the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// When the transcript was made, which an ELAN file must say; 1970 by default, so that equal transcripts give equal
    /// files.
    pub date: SystemTime,
    /// The language spoken, as a code (ISO 639-3 is ELAN's choice), for an ELAN file; none leaves it unsaid.
    pub language: Option<String>,
    /// Where the audio lies from the folder of an ELAN file, with `/` between folders; none means in that folder.
    pub relative_audio: Option<String>,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { date: SystemTime::UNIX_EPOCH, language: None, relative_audio: None }
    }
}

/// A transcript as the whole content of a file, in UTF-8, which ends in a line break unless it is empty.
///
/// # Errors
/// [`Error::Language`] for an ELAN file; [`Error::Write`] should the writer of JSON or XML fail.
pub fn render(transcript: &Transcript, format: Format, options: &RenderOptions) -> Result<String, Error> {
    match format {
        Format::Txt => Ok(format!("{}\n", one_line(&transcript.text()))),
        Format::Json => match serde_json::to_string(transcript) {
            Ok(json) => Ok(json + "\n"),
            Err(error) => Err(Error::Write { format, source: error.into() }),
        },
        Format::Srt => Ok(srt(transcript)),
        Format::Vtt => Ok(vtt(transcript)),
        Format::Ctm => Ok(ctm::ctm(transcript)),
        Format::TextGrid => Ok(textgrid::textgrid(transcript)),
        Format::Eaf => eaf::eaf(transcript, options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Segment;

    #[test]
    fn names_lead_back_to_their_formats() {
        for (format, name) in Format::ALL.into_iter().zip(Format::NAMES) {
            assert_eq!((format.name(), name.parse::<Format>().unwrap()), (name, format));
            assert_eq!(format.extension().parse::<Format>().unwrap(), format);
        }
        assert_eq!(Format::TextGrid.extension(), "TextGrid");
        let message = "stm".parse::<Format>().unwrap_err().to_string();
        assert_eq!(
            message,
            "\"stm\" is no format of transcripts; allowed is one of txt, json, srt, vtt, ctm, textgrid, eaf"
        );
    }

    #[test]
    fn text_is_one_line() {
        let segment = |text: &str| Segment { text: text.into(), ..Segment::default() };
        let transcript = Transcript::new("a.wav", 0.0, vec![segment("a\r\nb\u{2028}c"), segment(" d\0e ")]).unwrap();
        assert_eq!(render(&transcript, Format::Txt, &RenderOptions::default()).unwrap(), "a  b c d e\n");
        let silent = Transcript::new("a.wav", 0.0, vec![]).unwrap();
        assert_eq!(render(&silent, Format::Txt, &RenderOptions::default()).unwrap(), "\n");
    }
}
