//! How a training or an evaluation looks while it runs: bars on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use klang_trainer::{Event, HeldOut, Measures, Observer, PretrainingMeasures, Probed, UpdateReport};

use crate::stop;

/// Seconds between progress lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// Shows events on stderr.
pub struct Console {
    bar: Option<ProgressBar>,
    terminal: bool,
    updates: u64,
    said: Instant,
    recent: Recent,
}

/// Audio and time since the last line, for a rate that follows the machine.
#[derive(Default)]
struct Recent {
    audio_seconds: f64,
    seconds: f64,
    loss: f64,
    updates: u64,
    all_seconds: f64,
    all_updates: u64,
}

impl Console {
    pub fn new() -> Console {
        Console {
            bar: None,
            terminal: std::io::stderr().is_terminal(),
            updates: 0,
            said: Instant::now(),
            recent: Recent::default(),
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    fn fetching(&mut self, file: &str, done: u64, total: Option<u64>) {
        if self.terminal {
            let bar = self.bar.get_or_insert_with(|| {
                let bar = ProgressBar::new(total.unwrap_or(0));
                let style = "{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
                bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar
            });
            bar.set_message(file.to_string());
            bar.set_position(done);
        } else if self.said.elapsed() >= EVERY {
            let total = total.map_or(String::new(), |total| format!(" of {:.1}", total as f64 / 1e6));
            eprintln!("fetching {file}: {:.1}{total} MB", done as f64 / 1e6);
            self.said = Instant::now();
        }
    }

    fn update(&mut self, report: &UpdateReport) {
        let recent = &mut self.recent;
        recent.audio_seconds += report.audio_seconds;
        recent.seconds += report.seconds;
        recent.loss += report.loss;
        recent.updates += 1;
        recent.all_seconds += report.seconds;
        recent.all_updates += 1;
        let loss = recent.loss / recent.updates as f64;
        let speed = recent.audio_seconds / recent.seconds.max(1e-9);
        if let Some(bar) = &self.bar {
            bar.set_position(report.update);
            bar.set_message(format!("loss {loss:.3}, {speed:.0} audio-seconds/s"));
            if recent.seconds > EVERY.as_secs_f64() {
                self.recent =
                    Recent { all_seconds: recent.all_seconds, all_updates: recent.all_updates, ..Recent::default() };
            }
        } else if self.said.elapsed() >= EVERY || report.update == 1 || report.update == self.updates {
            let left = (self.updates - report.update) as f64 * recent.all_seconds / recent.all_updates as f64;
            let measured = match report.measures {
                Measures::Ctc { blank } => format!("blank {:.0} %", blank * 100.0),
                Measures::Pretraining(PretrainingMeasures { accuracy, perplexity, .. }) => {
                    format!("told {:.1} % codes {perplexity:.0}", accuracy * 100.0)
                }
            };
            eprintln!(
                "update {}/{} epoch {} loss {loss:.3} gradient {:.2} {measured} {speed:.0} audio-seconds/s, {} left",
                report.update,
                self.updates,
                report.epoch,
                report.gradient_norm,
                clock(left)
            );
            self.said = Instant::now();
            self.recent =
                Recent { all_seconds: recent.all_seconds, all_updates: recent.all_updates, ..Recent::default() };
        }
    }
}

impl Observer for Console {
    fn event(&mut self, event: Event) {
        match event {
            Event::Note(text) => self.say(&format!("klang: {text}")),
            Event::Warning(text) => self.say(&format!("klang: warning: {text}")),
            Event::Fetching { file, done, total } => self.fetching(file, done, total),
            Event::Fetched { file, bytes } => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                self.say(&format!("klang: fetched {file}, {:.1} MB", bytes as f64 / 1e6));
            }
            Event::Start { done, updates } => {
                stop::listen("stopping: what is under way is finished, or given up if it takes long, and saved");
                self.updates = updates;
                if self.terminal {
                    let bar = ProgressBar::new(updates).with_position(done);
                    let style = "{bar:30} {pos}/{len} {msg}, {elapsed} gone, {eta} left";
                    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
                    self.bar = Some(bar);
                }
            }
            Event::Update(report) => self.update(report),
            Event::Scored { done, total } => {
                if self.bar.is_none() && (self.said.elapsed() >= EVERY) {
                    eprintln!("scored {done}/{total}");
                    self.said = Instant::now();
                }
            }
            Event::HeldOut { update, held_out, probe, best } => {
                let HeldOut { loss, accuracy, spread, .. } = held_out;
                let probe = probe.map_or(String::new(), |Probed { loss, score }| {
                    format!("; probe: CER {}, loss {loss:.3} nats a label", percent(score.cer))
                });
                self.say(&format!(
                    "held-out speech after update {update}: loss {loss:.3} told {:.1} % spread {spread:.2}{}{probe}",
                    accuracy * 100.0,
                    if best { " (best so far)" } else { "" }
                ));
            }
            Event::Evaluated { update, score, best } => {
                self.say(&format!(
                    "dev after update {update}: WER {} CER {}{}",
                    percent(score.wer),
                    percent(score.cer),
                    if best { " (best so far)" } else { "" }
                ));
            }
        }
    }

    fn stops(&self) -> bool {
        stop::is_asked()
    }
}

/// Utterances that a check has listened to.
pub struct Listened {
    bar: Option<ProgressBar>,
    count: AtomicUsize,
    said: Mutex<Instant>,
}

impl Listened {
    pub fn new() -> Listened {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{pos} utterances listened to, {per_sec}, {elapsed}");
            ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Listened { bar, count: AtomicUsize::new(0), said: Mutex::new(Instant::now()) }
    }

    /// One more, from any thread.
    pub fn one(&self) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        } else if let Ok(mut said) = self.said.try_lock()
            && said.elapsed() >= EVERY
        {
            eprintln!("{count} utterances listened to");
            *said = Instant::now();
        }
    }

    /// No more of them.
    pub fn end(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn percent(rate: Option<f64>) -> String {
    rate.map_or("undefined".into(), |rate| format!("{:.2} %", rate * 100.0))
}

/// 75 → `1:15`.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn clocks_read_as_clocks() {
        let clocks = [0.4, 75.0, 3599.6, 3661.0, -5.0].map(super::clock);
        assert_eq!(clocks, ["0:00", "1:15", "1:00:00", "1:01:01", "0:00"]);
    }
}
