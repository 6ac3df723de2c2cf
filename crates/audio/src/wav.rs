//! WAV: samples read through hound, 16-bit files written through hound.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mix::{MonoMix, Span};
use crate::reader::{BLOCK, Decoder, Ending};
use crate::riff::{Encoding, Header};
use crate::{Error, Warning, Waveform};

/// Samples in interleaved order, in [−1, 1] where full scale is 1.
type Samples = Box<dyn Iterator<Item = Result<f64, Error>> + Send>;

/// A WAV that is decoded bit by bit.
pub(crate) struct WavDecoder {
    samples: Samples,
    mix: MonoMix,
    header: Header,
}

impl WavDecoder {
    /// Reads the frames of `span` that the file holds.
    pub(crate) fn new(path: &Path, mut file: File, header: Header, span: Span) -> Result<WavDecoder, Error> {
        let first = span.start.min(header.found_frames);
        let rest = header.found_frames - first;
        let frames = span.len.map_or(rest, |len| len.min(rest));
        let mix = MonoMix::new(path, header.channels.into(), span, first);
        let read_error = |source| Error::Read { path: path.into(), source };
        file.seek(SeekFrom::Start(header.data_start + first * header.frame_bytes())).map_err(read_error)?;
        // Below 4 GiB, as the data chunk's own length is.
        let bytes = frames * header.frame_bytes();
        let data = BufReader::with_capacity(1 << 16, file).take(bytes);
        Ok(WavDecoder { samples: samples(path, data, &header, bytes)?, mix, header })
    }
}

impl Decoder for WavDecoder {
    fn more(&mut self) -> Result<bool, Error> {
        for number in 0..BLOCK {
            match self.samples.next() {
                Some(sample) => self.mix.push(sample?)?,
                None => return Ok(number > 0),
            }
        }
        Ok(true)
    }

    fn sample_rate(&self) -> u32 {
        self.header.sample_rate
    }

    fn mix(&mut self) -> Option<&mut MonoMix> {
        Some(&mut self.mix)
    }

    fn ending(&self) -> Result<Ending, Error> {
        let Header { promised_frames, found_frames, .. } = self.header;
        // A segment that lies within what is there is whole, whatever the header promises.
        let truncated = promised_frames > found_frames && !self.mix.is_full();
        let warnings = truncated.then_some(Warning::Truncated { promised_frames, found_frames });
        let warnings = warnings.into_iter().chain(self.mix.clamped()).collect();
        Ok(Ending { channels: self.header.channels, end: self.mix.position(), warnings })
    }
}

fn samples(
    path: &Path,
    mut data: impl BufRead + Send + 'static,
    header: &Header,
    bytes: u64,
) -> Result<Samples, Error> {
    let path = path.to_path_buf();
    let read_error = move |path: &Path, source| Error::Read { path: path.into(), source };
    Ok(match header.encoding {
        Encoding::Float64 => {
            let count = bytes / 8;
            Box::new((0..count).map(move |_| {
                let mut sample = [0; 8];
                data.read_exact(&mut sample).map_err(|source| read_error(&path, source))?;
                Ok(f64::from_le_bytes(sample))
            }))
        }
        Encoding::Float32 => {
            let samples = hound_reader(&path, data, 3, 32, 4, bytes)?.into_samples::<f32>();
            Box::new(samples.map(move |sample| Ok(sample.map_err(|error| hound_error(&path, error))?.into())))
        }
        Encoding::Integer { bits, bytes: width } => {
            let scale = (f64::from(bits) - 1.0).exp2().recip();
            let samples = hound_reader(&path, data, 1, bits, width, bytes)?.into_samples::<i32>();
            let scaled = move |sample: hound::Result<i32>| {
                Ok(f64::from(sample.map_err(|error| hound_error(&path, error))?) * scale)
            };
            Box::new(samples.map(scaled))
        }
        Encoding::ALaw | Encoding::MuLaw => {
            let expand = if header.encoding == Encoding::ALaw { expand_a_law } else { expand_mu_law };
            let expanded = move |code: io::Result<u8>| {
                Ok(f64::from(expand(code.map_err(|source| read_error(&path, source))?)) / 32_768.0)
            };
            Box::new(data.bytes().map(expanded))
        }
    })
}

/// Data behind a header of our making.
type Headed<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// hound over the samples alone: behind a plain header of our making, as one channel (frames are put together by the
/// mix, so that any channel count does), because the file's own header may be one that hound refuses.
fn hound_reader<R: Read>(
    path: &Path,
    data: R,
    tag: u16,
    bits: u16,
    width: u16,
    bytes: u64,
) -> Result<hound::WavReader<Headed<R>>, Error> {
    let size = u32::try_from(bytes).map_err(|_| Error::TooLong { path: path.into() })?;
    let mut head = Vec::with_capacity(44);
    head.extend(b"RIFF");
    head.extend(size.saturating_add(36).to_le_bytes());
    head.extend(b"WAVEfmt ");
    head.extend(16u32.to_le_bytes());
    head.extend(tag.to_le_bytes());
    head.extend(1u16.to_le_bytes());
    head.extend(1u32.to_le_bytes()); // the rate; hound checks only that the byte rate agrees
    head.extend(u32::from(width).to_le_bytes());
    head.extend(width.to_le_bytes());
    head.extend(bits.to_le_bytes());
    head.extend(b"data");
    head.extend(size.to_le_bytes());
    hound::WavReader::new(Cursor::new(head).chain(data)).map_err(|error| hound_error(path, error))
}

/// ITU-T G.711 A-law, on the 16-bit scale: even bits inverted; sign, three bits of exponent, four of mantissa.
fn expand_a_law(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (exponent, mantissa) = (code >> 4 & 7, i16::from(code & 15));
    let magnitude = if exponent == 0 { mantissa * 16 + 8 } else { (mantissa * 16 + 0x108) << (exponent - 1) };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

/// ITU-T G.711 µ-law, on the 16-bit scale: all bits inverted; sign, three bits of exponent, four of mantissa, bias 132.
fn expand_mu_law(code: u8) -> i16 {
    let code = !code;
    let (exponent, mantissa) = (code >> 4 & 7, i16::from(code & 15));
    let magnitude = ((mantissa * 8 + 132) << exponent) - 132;
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

fn hound_error(path: &Path, error: hound::Error) -> Error {
    match error {
        hound::Error::IoError(source) => Error::Read { path: path.into(), source },
        other => Error::Decode { path: path.into(), what: other.to_string() },
    }
}

/// Writes `waveform` to `path` as 16-bit PCM, mono, at its rate: to a sibling temporary file, synced, then renamed.
/// Samples are rounded to the nearest of 65,536 levels (±1 is ±32,768); what is outside [−1, 1] is clamped.
///
/// # Errors
/// [`Error::Write`]; [`Error::TooLong`] beyond the 4 GiB that a WAV can hold. What was at `path` is then unchanged.
pub fn write_wav(path: impl AsRef<Path>, waveform: &Waveform) -> Result<(), Error> {
    let path = path.as_ref();
    if waveform.len() as u64 * 2 > u64::from(u32::MAX) - 64 {
        return Err(Error::TooLong { path: path.into() });
    }
    let temporary = sibling(path);
    let written = write_samples(&temporary, waveform).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // The first error is the one to tell; that nothing may be left to remove is no second one.
        let _ = fs::remove_file(&temporary);
        Error::Write { path: path.into(), source }
    })
}

fn write_samples(path: &Path, waveform: &Waveform) -> io::Result<()> {
    let to_io = |error| match error {
        hound::Error::IoError(source) => source,
        other => io::Error::other(other),
    };
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: waveform.sample_rate(),
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut buffer = BufWriter::new(File::create_new(path)?);
    let mut writer = hound::WavWriter::new(&mut buffer, spec).map_err(to_io)?;
    for &sample in waveform.samples() {
        let level = (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0);
        writer.write_sample(level as i16).map_err(to_io)?;
    }
    writer.finalize().map_err(to_io)?;
    buffer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// A name beside `path` that no other call of any process uses.
fn sibling(path: &Path) -> PathBuf {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{}.tmp", process::id(), CALLS.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}
