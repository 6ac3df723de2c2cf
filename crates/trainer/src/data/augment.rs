//! What is done to one utterance's audio in one epoch.

use klang_audio::Waveform;
use klang_audio::augment::{NoiseColour, add_noise, change_speed, colour};
use rand::RngExt;

use crate::draw;
use crate::error::{Error, Result};
use crate::recipe::{AugmentRecipe, Condition};

/// What was drawn for one utterance in one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    /// Speed; the audio lasts 1 / speed as long.
    pub speed: f64,
    /// Near-silence before and behind, in seconds.
    pub silence: [f64; 2],
    /// Deviation of the spectrum's gain in dB.
    pub colour: Option<f64>,
    /// Signal-to-noise ratio of added noise in dB.
    pub noise: Option<f64>,
    /// Whether what lies above 4 kHz is taken off.
    pub telephone: bool,
    /// Seed of the noise, the gain, and what is heard in the silence.
    pub seed: u64,
}

/// Samples a second of a telephone line (G.711).
const TELEPHONE_RATE: u32 = 8000;
/// Near-silence is noise at 0 to 20 dB below the utterance's own first 10 ms.
const SILENCE_DB: [f64; 2] = [-20.0, 0.0];

impl Augmentation {
    /// As recorded.
    pub const NONE: Augmentation =
        Augmentation { speed: 1.0, silence: [0.0, 0.0], colour: None, noise: None, telephone: false, seed: 0 };

    /// Of a test utterance under a condition, the same whatever the run.
    pub fn under(condition: &Condition, id: &str) -> Augmentation {
        Augmentation {
            speed: condition.speed.unwrap_or(1.0),
            noise: condition.noise_db,
            telephone: condition.telephone,
            seed: draw::seed(0, "condition", &[&id]),
            ..Augmentation::NONE
        }
    }

    /// Draws from (seed, epoch, id).
    pub fn draw(recipe: &AugmentRecipe, seed: u64, epoch: u64, id: &str) -> Augmentation {
        let mut random = draw::generator(seed, "augment", &[&epoch, &id]);
        // Every number is drawn whether or not it is used: switching one augmentation off leaves the others as they were.
        let [speed, before, behind, colour, noise, level]: [f64; 6] = std::array::from_fn(|_| random.random());
        let longest = recipe.silence.unwrap_or(0.0);
        Augmentation {
            // Uniform in the logarithm: half as fast is as likely as twice as fast.
            speed: recipe.speed.map_or(1.0, |[low, high]| between([low.ln(), high.ln()], speed).exp()),
            silence: [before * longest, behind * longest],
            colour: recipe.colour_db.filter(|_| colour < recipe.colour_chance),
            noise: recipe.noise_db.filter(|_| noise < recipe.noise_chance).map(|range| between(range, level)),
            telephone: false,
            seed: random.random(),
        }
    }

    /// Seconds that an utterance of `duration` seconds takes after it.
    pub fn duration(&self, duration: f64) -> f64 {
        duration / self.speed + self.silence[0] + self.silence[1]
    }

    /// Changes the audio.
    ///
    /// # Errors
    /// A recording that the change of speed cannot take.
    pub fn apply(&self, waveform: Waveform, id: &str) -> Result<Vec<f32>> {
        let rate = waveform.sample_rate();
        let waveform = if self.speed == 1.0 {
            waveform
        } else {
            change_speed(&waveform, self.speed).map_err(|source| Error::Audio { id: id.into(), source })?
        };
        let waveform = if self.telephone && rate > TELEPHONE_RATE {
            let narrow =
                |waveform: &Waveform| klang_audio::resample(&klang_audio::resample(waveform, TELEPHONE_RATE)?, rate);
            narrow(&waveform).map_err(|source| Error::Audio { id: id.into(), source })?
        } else {
            waveform
        };
        let mut samples = waveform.into_samples();
        let mut random = draw::generator(self.seed, "audio", &[]);
        if self.silence != [0.0, 0.0] {
            samples = self.surround(samples, rate, &mut random);
        }
        if let Some(deviation_db) = self.colour {
            colour(&mut samples, deviation_db, &mut random);
        }
        if let Some(snr_db) = self.noise {
            // Electronics or a room, each as often as the other.
            let noise = if random.random() { NoiseColour::White } else { NoiseColour::Pink };
            add_noise(&mut samples, snr_db, noise, &mut random);
        }
        Ok(samples)
    }

    fn surround(&self, samples: Vec<f32>, rate: u32, random: &mut impl rand::Rng) -> Vec<f32> {
        let head = &samples[..samples.len().min(rate as usize / 100)];
        let floor = head.iter().map(|sample| sample.abs()).sum::<f32>() / head.len().max(1) as f32 + 1e-4;
        let level = floor * 10f64.powf(between(SILENCE_DB, random.random()) / 20.0) as f32;
        // Uniform noise has the level as its mean magnitude when it spans twice that.
        let mut quiet = |seconds: f64| -> Vec<f32> {
            (0..(seconds * f64::from(rate)) as usize).map(|_| level * random.random_range(-2.0f32..2.0)).collect()
        };
        let [before, behind] = self.silence.map(&mut quiet);
        [before, samples, behind].concat()
    }
}

fn between([low, high]: [f64; 2], share: f64) -> f64 {
    low + (high - low) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> AugmentRecipe {
        AugmentRecipe {
            speed: Some([0.8, 1.25]),
            noise_db: Some([10.0, 40.0]),
            noise_chance: 0.5,
            colour_db: Some(6.0),
            silence: Some(0.2),
            ..AugmentRecipe::default()
        }
    }

    #[test]
    fn a_condition_is_the_same_each_time_and_does_what_it_says() {
        let rate = 16_000;
        let tone = |hertz: f64| -> Vec<f32> {
            let step = std::f64::consts::TAU * hertz / f64::from(rate);
            (0..rate).map(|place| (0.3 * (step * f64::from(place)).sin()) as f32).collect()
        };
        let power = |samples: &[f32]| samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / samples.len() as f64;
        let under = |condition: Condition, samples: Vec<f32>| {
            let waveform = Waveform::new(samples, rate).unwrap();
            Augmentation::under(&condition, "u1").apply(waveform, "u1").unwrap()
        };
        let telephone = Condition { telephone: true, ..Condition::default() };
        let middle = |samples: &[f32]| power(&samples[4000..12_000]);
        // A tone of 1 kHz passes, one of 6 kHz does not: the resampler's stop band is far below -40 dB.
        assert!((middle(&under(telephone, tone(1000.0))) / 0.045 - 1.0).abs() < 0.02);
        assert!(middle(&under(telephone, tone(6000.0))) < 0.045 * 1e-4);
        let noisy = Condition { noise_db: Some(10.0), ..Condition::default() };
        let (one, again) = (under(noisy, tone(1000.0)), under(noisy, tone(1000.0)));
        assert_eq!(one, again);
        let noise: Vec<f32> = one.iter().zip(tone(1000.0)).map(|(noisy, clean)| noisy - clean).collect();
        // 16,000 draws give a power to √(2 / 16,000) = 1.1 % where the noise is white; pink noise, whose low frequencies
        // are few, to some 10 %.
        assert!((power(&one) / power(&noise) - 11.0).abs() < 11.0 * 0.3, "{}", power(&one) / power(&noise));
        let faster = Condition { speed: Some(1.25), ..Condition::default() };
        assert!((under(faster, tone(1000.0)).len() as f64 - 12_800.0).abs() < 2.0);
        assert_eq!(under(Condition::default(), tone(1000.0)), tone(1000.0));
    }

    #[test]
    fn draws_stay_in_range_and_follow_seed_epoch_and_id() {
        let recipe = recipe();
        let draws: Vec<Augmentation> = (0..1000).map(|epoch| Augmentation::draw(&recipe, 1, epoch, "a")).collect();
        assert!(draws.iter().all(|draw| (0.8..=1.25).contains(&draw.speed)));
        assert!(draws.iter().flat_map(|draw| draw.noise).all(|snr| (10.0..=40.0).contains(&snr)));
        let noisy = draws.iter().filter(|draw| draw.noise.is_some()).count();
        // Binomial(1000, ½): six deviations are 6 × 15.8 = 95.
        assert!(noisy.abs_diff(500) < 95, "{noisy}");
        let faster = draws.iter().filter(|draw| draw.speed > 1.0).count();
        assert!(faster.abs_diff(500) < 95, "{faster}");
        assert_eq!(Augmentation::draw(&recipe, 1, 3, "a"), draws[3]);
        assert_ne!(Augmentation::draw(&recipe, 1, 3, "b"), draws[3]);
        assert_ne!(Augmentation::draw(&recipe, 2, 3, "a"), draws[3]);
        let quiet = AugmentRecipe { noise_db: None, ..recipe };
        assert_eq!(Augmentation::draw(&quiet, 1, 3, "a").speed, draws[3].speed);
    }

    #[test]
    fn nothing_drawn_changes_nothing() {
        let samples = vec![0.5f32, -0.25, 0.125];
        let waveform = Waveform::new(samples.clone(), 16_000).unwrap();
        assert_eq!(Augmentation::NONE.apply(waveform, "a").unwrap(), samples);
    }

    #[test]
    fn the_length_is_the_one_promised_and_the_same_draw_gives_the_same_audio() {
        let waveform =
            Waveform::new((0..16_000).map(|index| (index as f32 * 0.05).sin() * 0.3).collect(), 16_000).unwrap();
        for epoch in 0..20 {
            let change = Augmentation::draw(&recipe(), 1, epoch, "a");
            let samples = change.apply(waveform.clone(), "a").unwrap();
            // Three parts, each rounded to a sample.
            assert!((samples.len() as f64 - change.duration(1.0) * 16_000.0).abs() <= 3.0);
            assert_eq!(samples, change.apply(waveform.clone(), "a").unwrap());
            assert!(samples.iter().all(|sample| sample.is_finite()));
        }
    }
}
