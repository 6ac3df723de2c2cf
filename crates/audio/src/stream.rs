//! Compressed files through symphonia: FLAC, MP3 and Ogg Vorbis.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::core::packet::Packet;
use symphonia::core::units::Timestamp;
use symphonia::default::formats::{FlacReader, MpaReader, OggReader};

use crate::container::{Packed, Source};
use crate::mix::{MonoMix, Span};
use crate::reader::{Decoder, Ending};
use crate::waveform::{MAX_SAMPLE_RATE, MIN_SAMPLE_RATE};
use crate::{Error, Info, Warning};

/// Most frames that one packet of these formats can hold (FLAC: 65,535), so most that a lost one is replaced with.
const MAX_PACKET_FRAMES: u64 = 65_536;

/// An opened stream.
struct Stream {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    sample_rate: u32,
    /// Channels by the header; the decoded packets have the last word.
    channels: Option<u16>,
    /// Frames by the header, where the format has an exact count.
    promised_frames: Option<u64>,
    is_mp3: bool,
}

/// A compressed file that is decoded packet by packet.
pub(crate) struct StreamDecoder {
    path: PathBuf,
    stream: Stream,
    span: Span,
    /// The frame at which decoding began.
    start: u64,
    /// None before the first sound packet.
    mix: Option<MonoMix>,
    channels: usize,
    /// A packet's samples.
    interleaved: Vec<f32>,
    /// Packets that could not be decoded.
    lost: u64,
    /// Frames of theirs that silence has still to stand for.
    lost_frames: u64,
}

impl StreamDecoder {
    /// Reads the frames that `span` picks, once the sample rate is known.
    pub(crate) fn new(
        path: &Path,
        source: Source,
        packed: Packed,
        span: impl FnOnce(u32) -> Span,
    ) -> Result<StreamDecoder, Error> {
        guarded(path, || {
            let mut stream = Stream::open(path, source, packed)?;
            let span = span(stream.sample_rate);
            let start = stream.seek_near(span.start);
            let channels = usize::from(stream.channels.unwrap_or(0));
            let (mix, interleaved) = (None, Vec::new());
            Ok(StreamDecoder {
                path: path.into(),
                stream,
                span,
                start,
                mix,
                channels,
                interleaved,
                lost: 0,
                lost_frames: 0,
            })
        })
    }

    /// Decodes the next packet; false at the end.
    fn packet(&mut self) -> Result<bool, Error> {
        if self.mix.as_ref().is_some_and(MonoMix::is_full) {
            return Ok(false);
        }
        let path = &self.path;
        let packet = match self.stream.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(false),
            Err(Fault::IoError(source)) => return Err(Error::Read { path: path.clone(), source }),
            Err(_) => {
                self.lost += 1;
                return Ok(false);
            }
        };
        match self.stream.decoder.decode(&packet) {
            Ok(buffer) => {
                let found = buffer.spec().channels().count();
                let is_other = buffer.spec().rate() != self.stream.sample_rate;
                if found == 0 || is_other || (self.channels != 0 && self.channels != found) {
                    let what = "its channels or sample rate change within the stream".into();
                    return Err(Error::Decode { path: path.clone(), what });
                }
                self.channels = found;
                buffer.copy_to_vec_interleaved(&mut self.interleaved);
            }
            Err(Fault::DecodeError(_) | Fault::IoError(_)) => {
                self.lost += 1;
                self.lost_frames += self.stream.sound_frames(&packet).min(MAX_PACKET_FRAMES);
                return Ok(true);
            }
            Err(Fault::ResetRequired) => return Ok(false),
            Err(fault) => return Err(translate(path, fault)),
        }
        let channels = self.channels;
        let mix = self.mix.get_or_insert_with(|| MonoMix::new(path, channels, self.span, self.start));
        // Silence for what was lost before this packet: times behind it stay right.
        for _ in 0..std::mem::take(&mut self.lost_frames) * channels as u64 {
            mix.push(0.0)?;
        }
        for &sample in &self.interleaved {
            mix.push(sample.into())?;
        }
        Ok(true)
    }
}

impl Decoder for StreamDecoder {
    fn more(&mut self) -> Result<bool, Error> {
        let path = self.path.clone();
        guarded(&path, || self.packet())
    }

    fn sample_rate(&self) -> u32 {
        self.stream.sample_rate
    }

    fn mix(&mut self) -> Option<&mut MonoMix> {
        self.mix.as_mut()
    }

    fn ending(&self) -> Result<Ending, Error> {
        let path = &self.path;
        let Some(mix) = &self.mix else {
            return Err(match self.lost {
                0 => Error::NoSamples { path: path.clone(), hint: "" },
                _ => Error::Decode { path: path.clone(), what: "no packet of it is sound".into() },
            });
        };
        let found_frames = mix.position();
        let promised = self.stream.promised_frames.filter(|&frames| frames > found_frames && !mix.is_full());
        let truncated = promised.map(|promised_frames| Warning::Truncated { promised_frames, found_frames });
        let damaged = (self.lost > 0).then_some(Warning::Damaged { packets: self.lost });
        let warnings = truncated.into_iter().chain(damaged).chain(mix.clamped()).collect();
        Ok(Ending { channels: self.channels.try_into().unwrap_or(u16::MAX), end: found_frames, warnings })
    }
}

/// Counts the frames without decoding them: the packets' own lengths are believed, the header's total is not.
pub(crate) fn probe(path: &Path, source: Source, packed: Packed) -> Result<Info, Error> {
    guarded(path, || Stream::open(path, source, packed)?.probe(path))
}

/// A decoder's defect, met on a damaged file, must not end a training: its panic becomes an error that names the file.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::Decode { path: path.into(), what: "the decoder gave up on damaged data".into() })
    })
}

impl Stream {
    /// As what its first bytes say that it is: symphonia's own search would find another format further on in a damaged file.
    fn open(path: &Path, source: Source, packed: Packed) -> Result<Stream, Error> {
        let Source { file, start, .. } = source;
        // Without seeking, symphonia cannot estimate an MP3's length from its first bit rate, and so cannot cut it there.
        let media: Box<dyn MediaSource> = match packed {
            Packed::Mp3 => Box::new(ReadOnlySource::new(file)),
            _ if start > 0 => Box::new(ReadOnlySource::new(file)),
            _ => Box::new(file),
        };
        let media = MediaSourceStream::new(media, Default::default());
        let options = FormatOptions::default();
        let format: Result<Box<dyn FormatReader>, Fault> = match packed {
            Packed::Flac => FlacReader::try_new(media, options).map(|reader| Box::new(reader) as _),
            Packed::Mp3 => MpaReader::try_new(media, options).map(|reader| Box::new(reader) as _),
            Packed::Ogg => OggReader::try_new(media, options).map(|reader| Box::new(reader) as _),
        };
        let format = format.map_err(|fault| match fault {
            // Its frames have no header before them: the search for the first came to the end.
            Fault::IoError(error) if packed == Packed::Mp3 && error.kind() == io::ErrorKind::UnexpectedEof => {
                Error::Decode { path: path.into(), what: "no sound frame of MPEG audio is in it".into() }
            }
            fault => translate(path, fault),
        })?;
        let track = format.default_track(TrackType::Audio);
        let parameters = track.and_then(|track| Some((track, track.codec_params.as_ref()?.audio()?)));
        let Some((track, parameters)) = parameters else {
            return Err(Error::Unsupported {
                path: path.into(),
                found: "a stream that is not FLAC, MP3 or Vorbis".into(),
            });
        };
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|fault| translate(path, fault))?;
        let promised_frames = track.num_frames.filter(|_| packed == Packed::Flac);
        Ok(Stream {
            track: track.id,
            sample_rate: sample_rate(path, parameters)?,
            channels: parameters.channels.as_ref().and_then(|channels| channels.count().try_into().ok()),
            promised_frames: promised_frames.filter(|&frames| frames > 0), // 0 is "unknown"
            is_mp3: packed == Packed::Mp3,
            decoder,
            format,
        })
    }

    fn probe(&mut self, path: &Path) -> Result<Info, Error> {
        let mut found_frames = 0_u64;
        let mut lost = 0;
        loop {
            match self.next_packet() {
                Ok(Some(packet)) => {
                    if self.channels.is_none() {
                        let spec = self.decoder.decode(&packet).ok().map(|buffer| buffer.spec().channels().count());
                        self.channels = spec.and_then(|count| count.try_into().ok());
                    }
                    found_frames = found_frames.saturating_add(self.sound_frames(&packet));
                }
                Ok(None) => break,
                Err(Fault::IoError(source)) => return Err(Error::Read { path: path.into(), source }),
                Err(_) => {
                    lost += 1;
                    break;
                }
            }
        }
        let mut warnings = Vec::new();
        if let Some(promised_frames) = self.promised_frames.filter(|&frames| frames > found_frames) {
            warnings.push(Warning::Truncated { promised_frames, found_frames });
        }
        if lost > 0 {
            warnings.push(Warning::Damaged { packets: lost });
        }
        if found_frames == 0 {
            return Err(Error::NoSamples { path: path.into(), hint: "" });
        }
        Ok(Info {
            sample_rate: self.sample_rate,
            channels: self.channels.unwrap_or(1),
            duration: found_frames as f64 / f64::from(self.sample_rate),
            warnings,
        })
    }

    /// Frames of a packet that are kept when it is decoded. symphonia 0.6.1 leaves the trimmed ones within an MP3 packet's
    /// duration (`PacketBuilder::trimmed_dur` subtracts the trims that were there before), against its documentation;
    /// the test that probing agrees with decoding tells when that changes.
    fn sound_frames(&self, packet: &Packet) -> u64 {
        let trimmed = if self.is_mp3 { packet.trim_start.get().saturating_add(packet.trim_end.get()) } else { 0 };
        packet.dur.get().saturating_sub(trimmed)
    }

    /// The next packet of our track; nothing at the end, also where the file breaks off.
    fn next_packet(&mut self) -> Result<Option<Packet>, Fault> {
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id != self.track => {}
                // A chained Ogg begins another stream here.
                Err(Fault::ResetRequired) => return Ok(None),
                Err(Fault::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => return other,
            }
        }
    }

    /// Goes near `frame` where that is exact and cheap, and returns the frame at which reading goes on. Only FLAC: its
    /// packets stand alone and carry their own position. Elsewhere the frames before are decoded and dropped.
    fn seek_near(&mut self, frame: u64) -> u64 {
        let is_flac = self.decoder.codec_info().short_name == "flac";
        let Some(ts) = i64::try_from(frame).ok().filter(|&ts| is_flac && ts > 0) else { return 0 };
        // A file that ends before `frame` refuses; reading on from the start then finds out where it ends.
        let to = SeekTo::Timestamp { ts: Timestamp::new(ts), track_id: self.track };
        let reached = self.format.seek(SeekMode::Accurate, to).ok().map(|sought| sought.actual_ts.get());
        self.decoder.reset();
        match reached.and_then(|reached| u64::try_from(reached).ok()) {
            Some(reached) if reached <= frame => reached,
            _ => {
                // Back to the start: a refused seek may have moved the reader.
                let to = SeekTo::Timestamp { ts: Timestamp::new(0), track_id: self.track };
                let _ = self.format.seek(SeekMode::Accurate, to);
                0
            }
        }
    }
}

fn sample_rate(path: &Path, parameters: &AudioCodecParameters) -> Result<u32, Error> {
    let rate = parameters.sample_rate.unwrap_or(0);
    if (MIN_SAMPLE_RATE..=MAX_SAMPLE_RATE).contains(&rate) {
        return Ok(rate);
    }
    let what = format!("sample rate {rate} Hz, allowed are {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz");
    Err(Error::Header { path: path.into(), what })
}

fn translate(path: &Path, fault: Fault) -> Error {
    let path = path.into();
    match fault {
        Fault::IoError(source) if source.kind() != io::ErrorKind::UnexpectedEof => Error::Read { path, source },
        Fault::IoError(_) => Error::Decode { path, what: "it breaks off within its header".into() },
        Fault::Unsupported(what) => Error::Unsupported { path, found: format!("a stream it cannot decode ({what})") },
        other => Error::Decode { path, what: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_decoder_becomes_an_error_that_names_the_file() {
        let error = guarded::<()>(Path::new("x.ogg"), || panic!("as a decoder might, on damaged data")).unwrap_err();
        assert!(error.to_string().starts_with("x.ogg: cannot be decoded"), "{error}");
    }
}
