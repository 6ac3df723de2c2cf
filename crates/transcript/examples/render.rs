//! Renders a transcript: `cargo run -p klang-transcript --example render -- srt < transcript.json`

use std::io::{Write as _, stdin, stdout};

use klang_transcript::{Format, RenderOptions, Transcript, render};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let format: Format = std::env::args().nth(1).unwrap_or_else(|| "json".to_owned()).parse()?;
    let transcript: Transcript = serde_json::from_reader(stdin().lock())?;
    let rendered = render(&transcript, format, &RenderOptions::default())?;
    stdout().write_all(rendered.as_bytes())?;
    Ok(())
}
