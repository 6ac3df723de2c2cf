//! Fresh weights, as transformers draws them for Wav2Vec2, but for convolutions that start as a filter bank.
//!
//! Each parameter has a generator of its own, seeded by (seed, name): two models that share a parameter's name and
//! shape start from the same values there, whatever else they carry.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tch::Tensor;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::lora::LORA;
use crate::norm::{NormConfig, own_part};

/// Where a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Constant(f64),
    Normal {
        deviation: f64,
    },
    Uniform {
        bound: f64,
    },
    /// Normal, and the same at every tap of a kernel: what a filter below gives is a carrier, what tells sounds apart is
    /// its envelope, and an average over the taps drops the first and keeps the second.
    Averaging {
        deviation: f64,
    },
    Unit, // uniform in [0, 1)
    /// A bank of band-pass filters.
    FilterBank,
    /// Weight norm's magnitude: the norm of the direction, which is named beside it.
    MagnitudeOf,
}

const ZERO: Start = Start::Constant(0.0);
const ONE: Start = Start::Constant(1.0);

/// Fills the given parameters of an encoder, weight norm's magnitude and direction together; `name` is its name below the encoder's root.
///
/// # Errors
/// When libtorch refuses, which a parameter registered by this crate cannot cause.
pub fn initialise(parameters: &[(String, Tensor)], config: &ModelConfig, seed: u64) -> Result<()> {
    for (name, tensor) in parameters {
        fill(name, tensor, start(name, tensor, config), seed)?;
    }
    for (name, tensor) in parameters {
        if start(name, tensor, config) == Start::MagnitudeOf {
            let direction = name.replace("original0", "original1");
            if let Some((_, direction)) = parameters.iter().find(|(name, _)| *name == direction) {
                let norm = direction.f_norm_scalaropt_dim(2.0, [0i64, 1], true)?;
                tch::no_grad(|| tensor.shallow_clone().f_copy_(&norm))?;
            }
        }
    }
    Ok(())
}

/// Fills the weight and bias of a linear layer above the encoder: weights N(0, `initializer_range`), bias 0.
///
/// # Errors
/// When libtorch refuses.
pub fn initialise_linear(name: &str, weight: &Tensor, bias: &Tensor, config: &ModelConfig, seed: u64) -> Result<()> {
    fill(&format!("{name}.weight"), weight, Start::Normal { deviation: config.initializer_range }, seed)?;
    fill(&format!("{name}.bias"), bias, Start::Constant(0.0), seed)
}

/// Fills the parameters of wav2vec 2.0's objective as transformers does: the codes uniform in [0, 1), what picks them normal,
/// the projections as PyTorch's linear layers; `name` is a parameter's name from the root of all names.
///
/// # Errors
/// When libtorch refuses.
pub fn initialise_contrastive(parameters: &[(String, Tensor)], config: &ModelConfig, seed: u64) -> Result<()> {
    for (name, tensor) in parameters {
        let input = match name.split('.').next() {
            Some("project_hid") => config.hidden_size,
            _ => config.contrastive.codevector_dim,
        };
        let start = match name.as_str() {
            "quantizer.codevectors" => Start::Unit,
            "quantizer.weight_proj.weight" => Start::Normal { deviation: 1.0 },
            "quantizer.weight_proj.bias" => ZERO,
            _ => Start::Uniform { bound: (1.0 / input as f64).sqrt() },
        };
        fill(name, tensor, start, seed)?;
    }
    Ok(())
}

/// Fills a tensor uniformly between −`bound` and `bound`.
pub(crate) fn fill_uniform(name: &str, tensor: &Tensor, bound: f64, seed: u64) -> Result<()> {
    fill(name, tensor, Start::Uniform { bound }, seed)
}

fn fill(name: &str, tensor: &Tensor, start: Start, seed: u64) -> Result<()> {
    let mut tensor = tensor.shallow_clone();
    // Neither libtorch's generator, which all threads share, nor the device's: a seed means the same weights everywhere.
    let mut random = ChaCha8Rng::seed_from_u64(seed_of(seed, name));
    let draw = |shape: &[i64], value: &mut dyn FnMut() -> f64| -> Result<Tensor> {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_: i64| value() as f32).collect();
        Ok(Tensor::f_from_slice(&values)?.f_view(shape)?)
    };
    let shape = tensor.size();
    let normal = |random: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(random) };
    let values = match start {
        Start::Constant(value) => tensor.f_full_like(value)?,
        Start::Normal { deviation } => draw(&shape, &mut || deviation * normal(&mut random))?,
        Start::Averaging { deviation } => {
            draw(&[shape[0], shape[1], 1], &mut || deviation * normal(&mut random))?.f_expand(&shape, false)?
        }
        Start::Uniform { bound } => draw(&shape, &mut || random.random_range(-bound..bound))?,
        Start::Unit => draw(&shape, &mut || random.random())?,
        Start::MagnitudeOf => tensor.f_ones_like()?,
        Start::FilterBank => filter_bank(&shape, &mut random)?,
    };
    Ok(tch::no_grad(|| tensor.f_copy_(&values))?)
}

fn start(name: &str, tensor: &Tensor, config: &ModelConfig) -> Start {
    let shape = tensor.size();
    if let Some((_, part)) = own_part(name) {
        let sigma = match &config.norm {
            NormConfig::KlNorm(norm) => norm.sigma_init,
            _ => 1.0,
        };
        return match part {
            "gamma" | "w" | "running_var" => ONE,
            "s" => Start::Constant(sigma.ln()),
            "v" | "sigma_v" => Start::Uniform { bound: (1.0 / shape[1] as f64).sqrt() },
            _ => ZERO, // beta, b, a, u, sigma_u, running_mean
        };
    }
    if let Some((_, factor)) = name.rsplit_once(&format!(".{LORA}.")) {
        // The factors' product is zero: the network starts as it was.
        return if factor == "down" { Start::Uniform { bound: (1.0 / shape[1] as f64).sqrt() } } else { ZERO };
    }
    if let Some((_, part)) = name.split_once("adapter_layer.") {
        return match part {
            "norm.weight" => ONE,
            "linear_1.weight" => Start::Normal { deviation: config.initializer_range },
            _ => ZERO, // what an adapter adds: the network starts as it was
        };
    }
    if let Some((_, part)) = name.split_once("batch_norm.") {
        return if matches!(part, "weight" | "running_var") { ONE } else { ZERO };
    }
    if name.ends_with("gru_rel_pos_const") {
        return ONE;
    }
    if name == "masked_spec_embed" {
        return Start::Unit;
    }
    if name.ends_with("original0") {
        return Start::MagnitudeOf;
    }
    if name.ends_with("original1") || (name.contains("pos_conv_embed") && name.ends_with("conv.weight")) {
        let fan = (shape[2] * config.hidden_size) as f64;
        return Start::Normal { deviation: 2.0 * (1.0 / fan).sqrt() };
    }
    if name.contains("layer_norm") {
        return if name.ends_with("weight") { ONE } else { ZERO };
    }
    if name.contains("pos_conv_embed") {
        return ZERO; // its bias
    }
    if let Some(layer) = conv_layer(name) {
        let input = if layer == 0 { 1 } else { config.conv_dim[layer - 1] };
        let fan = (input * config.conv_kernel[layer]) as f64;
        let kaiming = (2.0 / fan).sqrt();
        let filters = config.conv_kernel[0] >= FILTER_BANK_KERNEL;
        return match (name.ends_with("weight"), filters, layer) {
            (true, true, 0) => Start::FilterBank,
            (true, true, _) => Start::Averaging { deviation: kaiming },
            (true, false, _) => Start::Normal { deviation: kaiming },
            (false, ..) => Start::Uniform { bound: (1.0 / fan).sqrt() },
        };
    }
    if name.starts_with("feature_projection.projection") {
        let features = config.conv_dim[config.conv_dim.len() - 1];
        return Start::Uniform { bound: (1.0 / features as f64).sqrt() };
    }
    if name.ends_with("bias") { ZERO } else { Start::Normal { deviation: config.initializer_range } }
}

/// First kernels of at least this many samples (4 ms at 16 kHz) can tell pitches and formants apart, and start as filters.
const FILTER_BANK_KERNEL: i64 = 64;

/// Gabor filters evenly spaced in mel from 60 Hz to 95 % of half the rate, each as wide as the way to its neighbours or
/// as the kernel allows, of random phase and norm √2 (so that white noise keeps the variance that Kaiming's would give).
///
/// A layer that starts as a filter bank need not first learn what a spectrum is (Zeghidour et al. 2018, "Learning
/// filterbanks from raw speech"): from random filters a small model stays on the all-blank plateau several times longer.
fn filter_bank(shape: &[i64], random: &mut ChaCha8Rng) -> Result<Tensor> {
    const RATE: f64 = 16_000.0;
    let (filters, kernel) = (shape[0], shape[2]);
    let mel = |hertz: f64| (hertz / 700.0).ln_1p();
    let (low, high) = (mel(60.0), mel(0.475 * RATE));
    let edge = |number: i64| 700.0 * (low + (high - low) * number as f64 / (filters + 1) as f64).exp_m1();
    let mut values = Vec::with_capacity((filters * kernel) as usize);
    for number in 1..=filters {
        let phase: f64 = random.random();
        let (centre, width) = (edge(number), (edge(number + 1) - edge(number - 1)) / 2.0);
        // Deviation of the Gaussian window, in seconds: a fifth of the kernel at most, so that it dies out inside.
        let window = (kernel as f64 / RATE / 5.0).min(0.5 / width);
        let filter: Vec<f64> = (0..kernel)
            .map(|tap| {
                let time = (tap as f64 - (kernel - 1) as f64 / 2.0) / RATE;
                let carrier = (std::f64::consts::TAU * (centre * time + phase)).cos();
                carrier * (-0.5 * (time / window).powi(2)).exp()
            })
            .collect();
        let norm = filter.iter().map(|value| value * value).sum::<f64>().sqrt();
        values.extend(filter.iter().map(|value| (value / norm * std::f64::consts::SQRT_2) as f32));
    }
    Ok(Tensor::f_from_slice(&values)?.f_view([filters, 1, kernel])?)
}

/// The number in `feature_extractor.conv_layers.N.conv.…`.
fn conv_layer(name: &str) -> Option<usize> {
    name.strip_prefix("feature_extractor.conv_layers.")?.split('.').next()?.parse().ok()
}

/// A generator's seed from (seed, name): FNV-1a, whose only duty here is to differ between names.
pub(crate) fn seed_of(seed: u64, name: &str) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Wav2Vec2;
    use crate::norm::KlNormConfig;
    use crate::parameters::Store;
    use tch::Device;

    fn fresh(config: &ModelConfig, seed: u64) -> Vec<(String, Tensor)> {
        let store = Store::new(Device::Cpu);
        Wav2Vec2::new(&store.root(), config).unwrap();
        let parameters = store.named();
        initialise(&parameters, config, seed).unwrap();
        parameters
    }

    #[test]
    fn both_norms_start_from_the_same_weights_and_seeds_differ() {
        let plain = ModelConfig::of_size("tiny").unwrap();
        let kl = ModelConfig { norm: NormConfig::KlNorm(KlNormConfig::default()), ..plain.clone() };
        let (plain_weights, kl_weights, other) = (fresh(&plain, 1), fresh(&kl, 1), fresh(&plain, 2));
        for (name, tensor) in plain_weights.iter().filter(|(name, _)| !name.contains("layers.0.layer_norm")) {
            if let Some((_, same)) = kl_weights.iter().find(|(other, _)| other == name) {
                assert!(tensor.equal(same), "{name}");
            }
        }
        let key = "encoder.layers.0.attention.q_proj.weight";
        let find = |weights: &[(String, Tensor)]| weights.iter().find(|(name, _)| name == key).unwrap().1.copy();
        assert!(!find(&plain_weights).equal(&find(&other)));
    }

    #[test]
    fn convolutions_keep_the_variance_of_their_input() {
        let config = ModelConfig::default();
        let weights = fresh(&config, 1);
        let (_, weight) =
            weights.iter().find(|(name, _)| name == "feature_extractor.conv_layers.3.conv.weight").unwrap();
        // Kaiming: fan-in 512 × 3. 786,432 draws give the deviation to 1/√(2n) = 0.08 %; six of those.
        let ratio = weight.std(true).double_value(&[]) / (2.0f64 / 1536.0).sqrt();
        assert!((ratio - 1.0).abs() < 0.005, "{ratio}");
    }

    #[test]
    fn above_a_filter_bank_convolutions_start_as_averages() {
        let find = |config: &ModelConfig, layer: usize| {
            let name = format!("feature_extractor.conv_layers.{layer}.conv.weight");
            fresh(config, 1).into_iter().find(|(other, _)| *other == name).unwrap().1
        };
        let spread =
            |weight: &Tensor| (weight.amax([2], false) - weight.amin([2], false)).abs().max().double_value(&[]);
        let tiny = ModelConfig::of_size("tiny").unwrap();
        let weight = find(&tiny, 2);
        assert_eq!(spread(&weight), 0.0);
        // Kaiming: fan-in 96 × 3. 128 × 96 draws give the deviation to 1/√(2n) = 0.6 %; six of those.
        let ratio = weight.std(true).double_value(&[]) / (2.0f64 / 288.0).sqrt();
        assert!((ratio - 1.0).abs() < 0.04, "{ratio}");
        assert!(spread(&find(&ModelConfig::default(), 2)) > 0.0);
    }

    #[test]
    fn each_filter_answers_most_to_its_own_frequency() {
        let bank = filter_bank(&[40, 1, 200], &mut ChaCha8Rng::seed_from_u64(1)).unwrap().squeeze_dim(1);
        // Peak of each filter's spectrum, in bins of 16000 / 2000 = 8 Hz.
        let spectrum = bank.fft_rfft(2000, -1, "backward").abs();
        let peaks = Vec::<i64>::try_from(spectrum.argmax(-1, false)).unwrap();
        assert!(peaks.windows(2).all(|pair| pair[0] <= pair[1]), "{peaks:?}");
        assert!(peaks[0] * 8 < 200 && peaks[39] * 8 > 6500, "{peaks:?}");
        let norms = bank.norm_scalaropt_dim(2.0, [1i64], false);
        assert!((norms - std::f64::consts::SQRT_2).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn weight_norm_starts_with_the_direction_as_the_weight() {
        let weights = fresh(&ModelConfig::of_size("tiny").unwrap(), 1);
        let part = |part: &str| weights.iter().find(|(name, _)| name.ends_with(part)).unwrap().1.copy();
        let (magnitude, direction) = (part("original0"), part("original1"));
        let weight = Tensor::internal_weight_norm(&direction, &magnitude, 2);
        assert!((weight - &direction).abs().max().double_value(&[]) < 1e-6);
        assert!(magnitude.min().double_value(&[]) > 0.0);
    }
}
