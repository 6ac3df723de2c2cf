//! Corpora of any size with a real corpus's lengths: manifests, and audio files that take no room.
//!
//! An utterance depends on its number alone, so that a smaller corpus is the beginning of a larger one.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

/// Lengths of a real corpus, seconds: a line each.
const DURATIONS: &str = "benches/durations/mboshi.txt";
const RATE: u32 = 16_000;
/// Utterances of a speaker, and files in a folder.
const OF_A_SPEAKER: usize = 1000;
/// Utterances to choose the best checkpoint on.
const DEV: usize = 100;
/// Letters a second, about those of read speech.
const PACE: f64 = 12.0;
const SYLLABLES: [&str; 16] =
    ["ba", "be", "bo", "di", "dzi", "ka", "ki", "la", "mba", "mo", "nga", "nu", "sa", "swe", "ta", "yi"];

/// Real lengths, over and over in an order that looks like none.
pub struct Simulation {
    lengths: Vec<f64>,
    /// No divisor in common with their number, so that every length comes once before any comes again.
    stride: usize,
}

/// One simulated utterance.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// Its id.
    pub id: String,
    /// Its speaker, whose name is the folder of the audio.
    pub speaker: String,
    /// Seconds.
    pub seconds: f64,
    /// Which of the lengths that is.
    pub length: usize,
    /// Nonsense words, as many as fit into the time.
    pub text: String,
}

impl Simulation {
    /// With the lengths that lie in the project.
    pub fn open(root: &Path) -> Result<Simulation> {
        let path = root.join(DURATIONS);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lengths: Vec<f64> =
            text.lines().map(str::parse).collect::<Result<_, _>>().context("a length in seconds")?;
        if lengths.is_empty() {
            bail!("{}: no lengths", path.display());
        }
        Ok(Simulation::new(lengths))
    }

    fn new(lengths: Vec<f64>) -> Simulation {
        let golden = (lengths.len() as f64 * 0.618) as usize;
        let stride = (golden.max(1)..).find(|&stride| divisor(stride, lengths.len()) == 1).unwrap_or(1);
        Simulation { lengths, stride }
    }

    /// As many utterances as make up these hours.
    pub fn count(&self, hours: f64) -> usize {
        let mean = self.lengths.iter().sum::<f64>() / self.lengths.len() as f64;
        ((hours * 3600.0 / mean).round() as usize).max(1)
    }

    /// The utterance of a number; `set` begins its id and its speaker's name.
    pub fn utterance(&self, set: &str, number: usize) -> Simulated {
        let length = number % self.lengths.len() * self.stride % self.lengths.len();
        let seconds = self.lengths[length];
        let mut random = mixed(number as u64);
        let mut text = String::new();
        while text.is_empty() || (text.len() as f64) < seconds * PACE {
            let syllables = 1 + random % 3;
            let separator = if text.is_empty() { "" } else { " " };
            text.push_str(separator);
            for _ in 0..syllables {
                random = mixed(random);
                text.push_str(SYLLABLES[(random >> 32) as usize % SYLLABLES.len()]);
            }
        }
        let speaker = format!("{set}{:04}", number / OF_A_SPEAKER);
        Simulated { id: format!("{set}{number:07}"), speaker, seconds, length, text }
    }

    /// Writes manifests of `count` utterances and a recipe for them beside `audio`, and returns the manifest and the
    /// recipe.
    pub fn write(&self, folder: &Path, count: usize) -> Result<(PathBuf, PathBuf)> {
        let [train, dev, recipe] = ["train.jsonl", "dev.jsonl", "recipe.yaml"].map(|name| folder.join(name));
        for (path, set, count) in [(&train, "t", count), (&dev, "d", DEV)] {
            let write = || -> std::io::Result<()> {
                let mut file = BufWriter::new(File::create(path)?);
                for number in 0..count {
                    let Simulated { id, speaker, seconds, text, .. } = self.utterance(set, number);
                    let audio = format!("audio/{speaker}/{id}.wav");
                    let line = json!({"id": id, "audio": audio, "text": text, "speaker": speaker, "duration": seconds});
                    writeln!(file, "{line}")?;
                }
                file.flush()
            };
            write().with_context(|| format!("cannot write {}", path.display()))?;
        }
        let document = json!({
            "seed": 1,
            "model": {"init": "random", "size": "tiny"},
            "data": {"train": ["train.jsonl"], "dev": "dev.jsonl", "augment": {"speed": [0.9, 1.1]}},
            "train": {"updates": 100},
        });
        // JSON is YAML.
        fs::write(&recipe, format!("{document:#}\n")).with_context(|| format!("cannot write {}", recipe.display()))?;
        Ok((train, recipe))
    }

    /// Makes the audio of the training utterances `from..to`, and of dev: for each length one WAV whose samples are a
    /// hole in the file, and a hard link to it for each utterance.
    pub fn link_audio(&self, folder: &Path, from: usize, to: usize) -> Result<()> {
        let originals = folder.join("lengths");
        let make = || -> std::io::Result<()> {
            if !originals.exists() {
                fs::create_dir_all(&originals)?;
                for (number, &seconds) in self.lengths.iter().enumerate() {
                    write_silence(&originals.join(format!("{number}.wav")), seconds)?;
                }
                self.link(folder, &originals, "d", 0..DEV)?;
            }
            self.link(folder, &originals, "t", from..to)
        };
        make().with_context(|| format!("cannot make audio in {}", folder.display()))
    }

    fn link(&self, folder: &Path, originals: &Path, set: &str, numbers: std::ops::Range<usize>) -> std::io::Result<()> {
        for number in numbers {
            let Simulated { id, speaker, length, .. } = self.utterance(set, number);
            let place = folder.join("audio").join(speaker);
            if number.is_multiple_of(OF_A_SPEAKER) {
                fs::create_dir_all(&place)?;
            }
            fs::hard_link(originals.join(format!("{length}.wav")), place.join(format!("{id}.wav")))?;
        }
        Ok(())
    }
}

/// A mono WAV of 16 bits of which only the header is on the disk.
fn write_silence(path: &Path, seconds: f64) -> std::io::Result<()> {
    let data = (seconds * f64::from(RATE)).round() as u32 * 2;
    let mut header = Vec::with_capacity(44);
    header.extend(b"RIFF");
    header.extend((36 + data).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16_u32.to_le_bytes());
    // PCM, one channel
    header.extend([1, 0, 1, 0]);
    header.extend(RATE.to_le_bytes());
    header.extend((2 * RATE).to_le_bytes());
    // bytes of a frame, bits of a sample
    header.extend([2, 0, 16, 0]);
    header.extend(b"data");
    header.extend(data.to_le_bytes());
    let mut file = File::create(path)?;
    file.write_all(&header)?;
    file.set_len(44 + u64::from(data))
}

/// SplitMix64 (Steele et al. 2014).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulation() -> Simulation {
        Simulation::new((1..=12).map(|number| 0.5 * f64::from(number)).collect())
    }

    #[test]
    fn every_length_comes_once_before_any_comes_again() {
        let simulation = simulation();
        for round in 0..3 {
            let mut lengths: Vec<usize> =
                (12 * round..12 * (round + 1)).map(|number| simulation.utterance("t", number).length).collect();
            assert_ne!(lengths, (0..12).collect::<Vec<usize>>());
            lengths.sort_unstable();
            assert_eq!(lengths, (0..12).collect::<Vec<usize>>());
        }
        // The mean is 3.25 s.
        assert_eq!(simulation.count(1.0), 1108);
    }

    #[test]
    fn an_utterance_is_its_number_s_and_says_as_much_as_its_length_allows() {
        let simulation = simulation();
        let ids: std::collections::BTreeSet<String> =
            (0..2000).map(|number| simulation.utterance("t", number).id).collect();
        assert_eq!(ids.len(), 2000);
        for number in [0, 1, 999, 1000, 1_234_567] {
            let one = simulation.utterance("t", number);
            assert_eq!(one, simulation.utterance("t", number));
            // A word has at most nine letters, and a space before it.
            let most = one.seconds * PACE + 10.0;
            assert!((one.seconds * PACE..most).contains(&(one.text.len() as f64)), "{one:?}");
        }
        assert_ne!(simulation.utterance("t", 0).text, simulation.utterance("t", 1).text);
        assert_eq!(simulation.utterance("t", 1000).speaker, "t0001");
    }

    #[test]
    fn a_small_corpus_is_the_beginning_of_a_large_one_and_its_audio_is_as_long_as_stated() {
        let folder = tempfile::tempdir().unwrap();
        let simulation = simulation();
        let lines = |count| {
            let (manifest, _) = simulation.write(folder.path(), count).unwrap();
            let text = fs::read_to_string(manifest).unwrap();
            text.lines().map(String::from).collect::<Vec<String>>()
        };
        let (small, large) = (lines(5), lines(20));
        assert_eq!(small, large[..5]);
        simulation.link_audio(folder.path(), 0, 5).unwrap();
        simulation.link_audio(folder.path(), 5, 20).unwrap();
        for line in large {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let wav = hound::WavReader::open(folder.path().join(line["audio"].as_str().unwrap())).unwrap();
            let seconds = f64::from(wav.duration()) / f64::from(wav.spec().sample_rate);
            assert_eq!(Some(seconds), line["duration"].as_f64());
        }
    }
}
