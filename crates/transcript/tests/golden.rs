//! Each format against files that its own readers accept: tests/interop/transcripts.py reads those of golden/ with them.
//!
//! After a change of a format, `KLANG_WRITE_GOLDEN=1 cargo test -p klang-transcript --test golden` writes them anew.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use klang_transcript::{Format, RenderOptions, Transcript, render};

/// Two speakers at once, a pause and the second hour; text and times that files break on; nobody speaking.
const TRANSCRIPTS: [&str; 3] = ["talk", "hostile", "silence"];

#[test]
fn files_are_those_that_other_tools_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let anew = std::env::var_os("KLANG_WRITE_GOLDEN").is_some();
    let date = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let options = RenderOptions { date, language: Some("lin".to_owned()), relative_audio: None };
    for name in TRANSCRIPTS {
        let json = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let transcript: Transcript = serde_json::from_str(&json).unwrap();
        for format in Format::ALL {
            let file = folder.join(format!("{name}.{}", format.extension()));
            let written = render(&transcript, format, &options).unwrap();
            if anew {
                fs::write(&file, &written).unwrap();
            }
            // Bytes, as a checkout that changed line ends would show here.
            assert_eq!(written, String::from_utf8(fs::read(&file).unwrap()).unwrap(), "{}", file.display());
        }
    }
}
