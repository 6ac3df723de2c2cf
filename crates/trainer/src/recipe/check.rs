//! What a recipe's values may be. Everything here is found before any work starts.

use std::fmt::Display;

use klang_wav2vec2::{ModelConfig, Spans};

use super::{BottleneckRecipe, NormKind, Recipe};
use crate::decode::{DecodeMethod, DecodeSettings};
use crate::device::PrecisionChoice;
use crate::error::{Error, Result};
use crate::hypotheses::{LONGEST_STEM, beside_search, file_stem};
use crate::model::TuneKind;

impl Recipe {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// The first key outside its range, what was given and what is allowed.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, given: &dyn Display, allowed: &str| {
            Err(Error::RecipeValue { key: key.into(), given: given.to_string(), allowed: allowed.into() })
        };
        let positive = |key: &str, value: f64, most: f64| {
            if value > 0.0 && value <= most { Ok(()) } else { refuse(key, &value, &format!("above 0, at most {most}")) }
        };
        let share = |key: &str, value: f64| {
            if (0.0..=1.0).contains(&value) { Ok(()) } else { refuse(key, &value, "0 to 1") }
        };
        let range = |key: &str, [low, high]: [f64; 2], least: f64, most: f64| {
            if least <= low && low <= high && high <= most {
                return Ok(());
            }
            refuse(key, &format!("[{low}, {high}]"), &format!("[low, high] with {least} ≤ low ≤ high ≤ {most}"))
        };

        self.check_decode()?;
        let (data, train, norm) = (&self.data, &self.train, &self.model.norm);
        if data.train.is_empty() {
            return refuse("data.train", &"empty", "a list of at least one manifest");
        }
        if data.dev.is_none() {
            positive("data.dev_share", data.dev_share, 0.5)?;
        }
        range("data.duration", data.duration, 0.0, 600.0)?;
        share("data.bad_audio_limit", data.bad_audio_limit)?;
        if let Some(minutes) = data.minutes {
            positive("data.minutes", minutes, 1e7)?;
            if self.pretrain.is_some() {
                return refuse("data.minutes", &minutes, "absent in pretraining");
            }
        }
        for (name, source) in &data.test {
            if let Some((key, given, allowed)) = source.condition().fault() {
                return refuse(&format!("data.test.{name}.condition.{key}"), &given, allowed);
            }
        }
        let mut stems = std::collections::BTreeMap::new();
        for name in data.test.keys() {
            let bytes = file_stem(name).len();
            if !(1..=LONGEST_STEM).contains(&bytes) {
                let shown: String = name.chars().take(40).collect();
                let given = format!("a name of {bytes} bytes, `{shown}`");
                return refuse("data.test", &given, &format!("names of 1 to {LONGEST_STEM} bytes: files are named so"));
            }
            if let Some(other) = stems.insert(file_stem(name), name) {
                let allowed = format!("names that differ in letters or digits: `{other}` would have the same file");
                return refuse("data.test", name, &allowed);
            }
        }
        // Where a search reads the tests, the greedy reading of each has a file too.
        let searched = (self.decode.method == DecodeMethod::Beam).then_some(&data.test);
        for name in searched.into_iter().flatten().map(|(name, _)| name) {
            if let Some(other) = stems.get(&file_stem(&beside_search(name))) {
                let allowed = format!("another name: the greedy reading of `{name}` would have its file");
                return refuse("data.test", other, &allowed);
            }
        }
        let learnt = data.train.iter().map(|source| ("data.train", source));
        for (key, source) in learnt.chain(data.dev.as_ref().map(|source| ("data.dev", source))) {
            if !source.condition().is_none() {
                let given = source.path().display();
                return refuse(
                    &format!("{key}.condition"),
                    &given,
                    "none: only tests are put under conditions; to learn from changed audio, data.augment",
                );
            }
        }
        if let Some(speed) = data.augment.speed {
            range("data.augment.speed", speed, 0.5, 2.0)?;
        }
        if let Some(noise) = data.augment.noise_db {
            range("data.augment.noise_db", noise, -20.0, 100.0)?;
        }
        share("data.augment.noise_chance", data.augment.noise_chance)?;
        positive("data.augment.colour_db", data.augment.colour_db.unwrap_or(1.0), 40.0)?;
        share("data.augment.colour_chance", data.augment.colour_chance)?;
        positive("data.augment.silence", data.augment.silence.unwrap_or(1.0), 10.0)?;
        share("data.augment.join_chance", data.augment.join_chance)?;
        if !(2..=100).contains(&data.augment.join_most) {
            return refuse("data.augment.join_most", &data.augment.join_most, "2 to 100");
        }
        if !(1..=64).contains(&data.workers) {
            return refuse("data.workers", &data.workers, "1 to 64");
        }
        if self.threads.is_some_and(|threads| !(1..=1024).contains(&threads)) {
            return refuse("threads", &self.threads.unwrap_or(0), "1 to 1024");
        }

        if self.precision == PrecisionChoice::Int8 {
            return refuse("precision", &"int8", "auto, fp32, bf16; int8 is for transcribing and scoring");
        }
        if self.model.init == "random" && ModelConfig::of_size(&self.model.size).is_none() {
            return refuse("model.size", &self.model.size, &ModelConfig::SIZES.join(", "));
        }
        let tune = &self.model.tune;
        if self.model.init == "random" {
            if tune.kind != TuneKind::All {
                let allowed = "all: with init: random nothing has been learnt that the rest could rest on";
                return refuse("model.tune.kind", &tune.kind.name(), allowed);
            }
            for (key, given) in [
                ("model.keep_head", self.model.keep_head.map(|keep| keep.to_string())),
                ("model.language", self.model.language.clone()),
            ] {
                if let Some(given) = given {
                    return refuse(key, &given, "absent: with init: random there is no checkpoint to take it from");
                }
            }
        }
        if !(1..=1 << 14).contains(&tune.width) {
            return refuse("model.tune.width", &tune.width, "1 to 16384");
        }
        if tune.rank < 1 {
            return refuse("model.tune.rank", &tune.rank, "at least 1, at most the model's width");
        }
        positive("model.tune.alpha", tune.alpha, 1e6)?;
        if tune.projections.is_empty() {
            return refuse("model.tune.projections", &"empty", "at least one of query, key, value, output");
        }
        if tune.layers == 0 {
            return refuse("model.tune.layers", &0, "at least 1; for the head alone, kind: head");
        }
        if norm.kind == NormKind::KlNorm {
            if !(0.0..=1000.0).contains(&norm.weight) {
                return refuse("model.norm.weight", &norm.weight, "0 to 1000");
            }
            range("model.norm.warmup", norm.warmup, 0.0, 1.0)?;
            if !(1..=1000).contains(&norm.cycles) {
                return refuse("model.norm.cycles", &norm.cycles, "1 (λ rises once) to 1000");
            }
            if !(0.0..=100.0).contains(&norm.free_bits) {
                return refuse("model.norm.free_bits", &norm.free_bits, "0 (none) to 100 nats");
            }
            positive("model.norm.learning_rate_scale", norm.learning_rate_scale, 1e4)?;
        }

        if train.updates == 0 {
            return refuse("train.updates", &0, "at least 1");
        }
        positive("train.batch_seconds", train.batch_seconds, 1e5)?;
        if !(1..=4096).contains(&train.accumulate) {
            return refuse("train.accumulate", &train.accumulate, "1 to 4096");
        }
        positive("train.learning_rate", train.learning_rate, 10.0)?;
        let phases = train.phases;
        if phases.iter().any(|phase| !(0.0..=1.0).contains(phase)) || (phases.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
            return refuse("train.phases", &format!("{phases:?}"), "three shares from 0 to 1 whose sum is 1");
        }
        share("train.final_scale", train.final_scale)?;
        for (key, beta) in [("train.betas[0]", train.betas[0]), ("train.betas[1]", train.betas[1])] {
            if !(0.0..1.0).contains(&beta) {
                return refuse(key, &beta, "0 to below 1");
            }
        }
        positive("train.epsilon", train.epsilon, 1.0)?;
        if !(0.0..=10.0).contains(&train.weight_decay) {
            return refuse("train.weight_decay", &train.weight_decay, "0 to 10");
        }
        if !(0.0..=1e6).contains(&train.clip) {
            return refuse("train.clip", &train.clip, "0 (never) to 1e6");
        }
        let pulls = [
            ("train.l2_sp.weight", train.l2_sp.weight, 1e6, "0 (none) to 1e6"),
            ("train.l2_sp.fresh_weight", train.l2_sp.fresh_weight, 1e6, "0 (none) to 1e6"),
            ("train.mixout", train.mixout, 0.95, "0 (none) to 0.95"),
            ("train.r_drop", train.r_drop, 1e6, "0 (one pass) to 1e6"),
        ];
        for (key, given, most, allowed) in pulls {
            if !(0.0..=most).contains(&given) {
                return refuse(key, &given, allowed);
            }
            let needs_start = matches!(key, "train.mixout" | "train.l2_sp.weight") && self.model.init == "random";
            if given > 0.0 && key != "train.r_drop" && (needs_start || self.pretrain.is_some()) {
                return refuse(
                    key,
                    &given,
                    "0: there are pretrained weights to return to only in fine-tuning a checkpoint",
                );
            }
        }
        if train.r_drop > 0.0 && (train.gradient_checkpointing || self.pretrain.is_some()) {
            return refuse("train.r_drop", &train.r_drop, "0 with train.gradient_checkpointing, and in pretraining");
        }
        if let Some(BottleneckRecipe { width, weight }) = self.model.bottleneck {
            if self.pretrain.is_some() {
                return refuse("model.bottleneck", &"given", "absent in pretraining: there is no head");
            }
            if self.model.keep_head == Some(true) {
                return refuse(
                    "model.keep_head",
                    &true,
                    "false, or absent: with model.bottleneck the head starts afresh",
                );
            }
            if !(1..=1 << 14).contains(&width) {
                return refuse("model.bottleneck.width", &width, "1 to 16384");
            }
            if !(0.0..=1000.0).contains(&weight) {
                return refuse("model.bottleneck.weight", &weight, "0 to 1000");
            }
        }
        for (key, Spans { share: part, length }) in
            [("train.mask.time", train.mask.time), ("train.mask.channel", train.mask.channel)]
        {
            share(&format!("{key}.share"), part)?;
            if !(1..=10_000).contains(&length) {
                return refuse(&format!("{key}.length"), &length, "1 to 10000");
            }
        }
        for (key, every) in [("train.evaluate_every", train.evaluate_every), ("train.log_every", train.log_every)] {
            if every == 0 {
                return refuse(key, &0, "at least 1");
            }
        }
        if let Some(pretrain) = &self.pretrain {
            pretrain.check()?;
        }
        if train.patience == Some(0) {
            return refuse("train.patience", &0, "at least 1, or absent for never");
        }
        Ok(())
    }

    fn check_decode(&self) -> Result<()> {
        let decode = &self.decode;
        let refuse = |key: &str, given: &str, allowed: &str| {
            Err(Error::RecipeValue { key: format!("decode.{key}"), given: given.into(), allowed: allowed.into() })
        };
        decode.check().map_err(Error::in_recipe)?;
        let greedy = decode.method == DecodeMethod::Greedy;
        if !greedy && self.pretrain.is_some() {
            return refuse("method", "beam", "greedy in pretraining: nothing is read");
        }
        for (key, given) in [("lm", decode.lm.is_some()), ("hot_words", !decode.hot_words.is_empty())] {
            if greedy && given {
                return refuse(key, "given, for a greedy reading", "absent, or with decode.method: beam");
            }
        }
        for (key, given) in [("confidence", decode.confidence.is_some()), ("language", decode.language.is_some())] {
            if given {
                return refuse(key, "given", "absent: klang tune finds it for a trained model");
            }
        }
        if greedy && *decode != DecodeSettings::default() {
            return refuse("method", "greedy, with settings of a search beside it", "beam; or nothing else in decode");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Condition, Source, SourcePart};

    #[test]
    fn each_value_outside_its_range_is_refused_by_its_key() {
        let good = || {
            let mut recipe = Recipe::default();
            recipe.data.train = vec![Source::Whole("train.jsonl".into())];
            recipe
        };
        good().check().unwrap();
        type Spoil = fn(&mut Recipe);
        let cases: [(&str, Spoil); 34] = [
            ("decode.method", |recipe| recipe.decode.lm_weight = 2.0),
            ("data.test", |recipe| {
                recipe.decode.method = DecodeMethod::Beam;
                recipe.data.test = ["new", "new: greedy"].map(|name| (name.into(), Source::Whole("a".into()))).into();
            }),
            ("data.train", |recipe| recipe.data.train.clear()),
            ("decode.lm", |recipe| recipe.decode.lm = Some("lm.arpa".into())),
            ("decode.width", |recipe| recipe.decode.width = 0),
            ("decode.hot_words", |recipe| recipe.decode.hot_words = [("ann".into(), 90.0)].into()),
            ("decode.language", |recipe| recipe.decode.language = Some("tur".into())),
            ("data.dev_share", |recipe| recipe.data.dev_share = 0.0),
            ("data.duration", |recipe| recipe.data.duration = [3.0, 1.0]),
            ("data.augment.speed", |recipe| recipe.data.augment.speed = Some([0.1, 1.0])),
            ("data.augment.noise_db", |recipe| recipe.data.augment.noise_db = Some([f64::NAN, 1.0])),
            ("data.workers", |recipe| recipe.data.workers = 0),
            ("data.minutes", |recipe| recipe.data.minutes = Some(0.0)),
            ("data.test.new.condition.speed", |recipe| {
                let condition = Condition { speed: Some(9.0), ..Condition::default() };
                let part = SourcePart { manifest: "t.jsonl".into(), select: Default::default(), condition };
                recipe.data.test = [("new".to_string(), Source::Part(part))].into();
            }),
            ("data.test", |recipe| {
                let test = |name: &str| (name.to_string(), Source::Whole("t.jsonl".into()));
                recipe.data.test = [test("a b"), test("a-b")].into();
            }),
            ("model.size", |recipe| recipe.model.size = "huge".into()),
            ("model.norm.warmup", |recipe| {
                recipe.model.norm.kind = NormKind::KlNorm;
                recipe.model.norm.warmup = [0.6, 0.3];
            }),
            ("model.norm.cycles", |recipe| {
                recipe.model.norm.kind = NormKind::KlNorm;
                recipe.model.norm.cycles = 0;
            }),
            ("train.mixout", |recipe| recipe.train.mixout = 0.1),
            ("train.l2_sp.weight", |recipe| recipe.train.l2_sp.weight = 0.1),
            ("train.r_drop", |recipe| {
                recipe.train.r_drop = 1.0;
                recipe.train.gradient_checkpointing = true;
            }),
            ("model.bottleneck.width", |recipe| {
                recipe.model.bottleneck = Some(BottleneckRecipe { width: 0, ..BottleneckRecipe::default() });
            }),
            ("model.tune.kind", |recipe| recipe.model.tune.kind = TuneKind::Lora),
            ("model.keep_head", |recipe| recipe.model.keep_head = Some(true)),
            ("model.tune.rank", |recipe| recipe.model.tune.rank = 0),
            ("model.tune.layers", |recipe| recipe.model.tune.layers = 0),
            ("train.updates", |recipe| recipe.train.updates = 0),
            ("train.learning_rate", |recipe| recipe.train.learning_rate = f64::NAN),
            ("train.learning_rate", |recipe| recipe.train.learning_rate = -1.0),
            ("train.phases", |recipe| recipe.train.phases = [0.1, 0.4, 0.4]),
            ("train.betas[1]", |recipe| recipe.train.betas[1] = 1.0),
            ("train.mask.time.share", |recipe| recipe.train.mask.time.share = 1.5),
            ("train.mask.channel.length", |recipe| recipe.train.mask.channel.length = 0),
            ("train.evaluate_every", |recipe| recipe.train.evaluate_every = 0),
        ];
        for (key, spoil) in cases {
            let mut recipe = good();
            spoil(&mut recipe);
            let message = recipe.check().expect_err(key).to_string();
            assert!(message.contains(key), "{key}: {message}");
        }
    }
}
