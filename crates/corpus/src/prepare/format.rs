//! The layouts that can be prepared, by name.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A corpus's own layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `table`: a manifest with a header, `path`, `text`, `speaker`, and perhaps `split`.
    Table,
    /// `librispeech`: `SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt` with FLAC beside it.
    LibriSpeech,
    /// `common-voice`: `clips/` and `train.tsv`, `dev.tsv`, `test.tsv` or `validated.tsv`.
    CommonVoice,
    /// `kaldi`: `wav.scp`, `text`, `utt2spk`, `segments`.
    Kaldi,
    /// `audiofolder`: `metadata.csv` (Hugging Face), or a `.txt` beside each audio file.
    AudioFolder,
}

impl Format {
    /// Every format.
    pub fn all() -> [Format; 5] {
        [Format::Table, Format::LibriSpeech, Format::CommonVoice, Format::Kaldi, Format::AudioFolder]
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Table => "table",
            Format::LibriSpeech => "librispeech",
            Format::CommonVoice => "common-voice",
            Format::Kaldi => "kaldi",
            Format::AudioFolder => "audiofolder",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Format, Error> {
        Format::all().into_iter().find(|format| format.name() == name).ok_or_else(|| Error::UnknownFormat {
            given: crate::error::shortened(name, 40),
            allowed: Format::all().map(Format::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_format() {
        for format in Format::all() {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        let message = "timit".parse::<Format>().unwrap_err().to_string();
        assert!(message.contains("`timit`") && message.contains("common-voice"), "{message}");
    }
}
