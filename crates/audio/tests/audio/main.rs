//! Files in, waveforms out: every format, every rate, every bad file.

mod augmentation;
mod compressed;
mod hostile;
mod log_mel;
mod resampling;
mod signals;
mod truncated;
mod wav;
mod wav_bytes;
