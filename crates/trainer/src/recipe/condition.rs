//! Conditions that a test's audio is put under: another room, a telephone, somebody who speaks faster.

use serde::{Deserialize, Serialize};

/// What is done to a test's audio before it is scored; each utterance in its own way, the same each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// Signal-to-noise ratio of added noise, white or pink by utterance, in dB. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_db: Option<f64>,
    /// The band of a telephone: nothing above 4 kHz, as recorded at 8 kHz.
    pub telephone: bool,
    /// Speed; pitch and formants move along. Absent: as recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
}

impl Condition {
    /// Whether nothing is done.
    pub fn is_none(&self) -> bool {
        *self == Condition::default()
    }

    /// The key outside its range, with what was given and what is allowed; none where all are within theirs.
    pub(super) fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        let noise = self.noise_db.filter(|db| !(-20.0..=100.0).contains(db));
        let speed = self.speed.filter(|speed| !(0.5..=2.0).contains(speed));
        let noise = noise.map(|given| ("noise_db", given, "-20 to 100 dB"));
        noise.or(speed.map(|given| ("speed", given, "0.5 to 2")))
    }
}
