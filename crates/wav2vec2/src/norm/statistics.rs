//! Standardisation: over what a site's mean and variance are taken. Always over real frames, always in fp32.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::Result;
use crate::frames::Frames;
use crate::parameters::Path;

/// Over what mean and variance are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistics {
    /// The channels of a frame (layer normalisation, Ba et al. 2016).
    #[default]
    Layer,
    /// Each channel over the real frames of the batch, by running estimates in evaluation (batch normalisation, Ioffe and
    /// Szegedy 2015). Where threads share a batch, each takes its own part's, as GPUs do.
    Batch,
    /// Each channel over the real frames of the utterance (instance normalisation, Ulyanov et al. 2016).
    Instance,
    /// Groups of channels over the real frames of the utterance (group normalisation, Wu and He 2018).
    Group,
    /// The channels of a frame, by their mean square and without their mean (RMSNorm, Zhang and Sennrich 2019).
    Rms,
}

impl Statistics {
    /// Every choice.
    pub const ALL: [Statistics; 5] =
        [Statistics::Layer, Statistics::Batch, Statistics::Instance, Statistics::Group, Statistics::Rms];
}

/// Running estimates of one channel each, which evaluation standardises by.
#[derive(Debug)]
struct Running {
    mean: Tensor,     // (channel)
    variance: Tensor, // (channel)
}

/// What a site standardises by.
#[derive(Debug)]
pub struct Standardiser {
    statistics: Statistics,
    channels: i64,
    groups: i64,
    epsilon: f64,
    running: Option<Running>,
}

/// A standardised site.
#[derive(Debug)]
pub(super) struct Standardised {
    /// x̂ (batch, frame, channel), fp32; padded frames hold anything.
    pub standard: Tensor,
    /// In training, what the running estimates are to follow.
    pub moments: Option<Moments>,
}

/// Sums over real frames, in fp64: those of an update's parts add up.
#[derive(Debug)]
pub struct Moments {
    /// Real frames.
    pub count: f64,
    /// Their sum (channel).
    pub sum: Tensor,
    /// The sum of their squares (channel).
    pub squares: Tensor,
}

impl Moments {
    /// Adds another part's.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn add(&mut self, other: &Moments) -> Result<()> {
        self.count += other.count;
        self.sum = self.sum.f_add(&other.sum)?;
        self.squares = self.squares.f_add(&other.squares)?;
        Ok(())
    }
}

impl Standardiser {
    /// Registers `running_mean` and `running_var` under `path`, where the statistics have running estimates.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, statistics: Statistics, groups: i64, channels: i64, epsilon: f64) -> Result<Standardiser> {
        let running = match statistics {
            Statistics::Batch => Some(Running {
                mean: path.buffer("running_mean", &[channels], Kind::Float)?,
                variance: path.buffer("running_var", &[channels], Kind::Float)?,
            }),
            Statistics::Layer | Statistics::Instance | Statistics::Group | Statistics::Rms => None,
        };
        Ok(Standardiser { statistics, channels, groups, epsilon, running })
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.statistics
    }

    pub(super) fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// x̂ of `hidden` (batch, frame, channel).
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub(super) fn forward(&self, hidden: &Tensor, frames: &Frames, training: bool) -> Result<Standardised> {
        let hidden = hidden.f_to_kind(Kind::Float)?;
        let standard = match self.statistics {
            Statistics::Layer => {
                hidden.f_layer_norm([self.channels], None::<&Tensor>, None::<&Tensor>, self.epsilon, true)?
            }
            Statistics::Rms => {
                let power = hidden.f_square()?.f_mean_dim(-1, true, Kind::Float)?; // (batch, frame, 1)
                hidden.f_mul(&power.f_add_scalar(self.epsilon)?.f_rsqrt()?)?
            }
            Statistics::Instance => self.over_frames(&hidden, frames, 1)?,
            Statistics::Group => self.over_frames(&hidden, frames, self.channels / self.groups.max(1))?,
            Statistics::Batch => return self.batch(hidden, frames, training),
        };
        Ok(Standardised { standard, moments: None })
    }

    /// Groups of `width` channels over the real frames of each utterance.
    fn over_frames(&self, hidden: &Tensor, frames: &Frames, width: i64) -> Result<Tensor> {
        let (batch, length, channels) = hidden.size3()?;
        let hidden = frames.zero_padding(hidden.shallow_clone())?;
        let lengths = Tensor::f_from_slice(&frames.lengths)?.f_to_device(hidden.device())?;
        let counts = lengths.f_to_kind(Kind::Float)?.f_mul_scalar(width as f64)?.f_clamp_min(1.0)?;
        let counts = counts.f_view([batch, 1, 1, 1])?;
        let grouped = |tensor: &Tensor| tensor.f_view([batch, length, channels / width, width]);
        let sum = |tensor: &Tensor| tensor.f_sum_dim_intlist([1i64, 3].as_slice(), true, Kind::Float);
        let grouped_hidden = grouped(&hidden)?; // (batch, frame, group, channel of the group)
        let mean = sum(&grouped_hidden)?.f_div(&counts)?; // (batch, 1, group, 1)
        let centred = grouped_hidden.f_sub(&mean)?.f_view([batch, length, channels])?;
        let centred = grouped(&frames.zero_padding(centred)?)?;
        let variance = sum(&centred.f_square()?)?.f_div(&counts)?;
        let standard = centred.f_mul(&variance.f_add_scalar(self.epsilon)?.f_rsqrt()?)?;
        Ok(standard.f_view([batch, length, channels])?)
    }

    fn batch(&self, hidden: Tensor, frames: &Frames, training: bool) -> Result<Standardised> {
        let scaled = |centred: Tensor, variance: &Tensor| -> Result<Tensor> {
            Ok(centred.f_mul(&variance.f_add_scalar(self.epsilon)?.f_rsqrt()?)?)
        };
        if let (Some(Running { mean, variance }), false) = (&self.running, training) {
            return Ok(Standardised { standard: scaled(hidden.f_sub(mean)?, variance)?, moments: None });
        }
        let count = frames.count().max(1) as f64;
        let hidden = frames.zero_padding(hidden)?;
        let sum = |tensor: &Tensor| tensor.f_sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float);
        let mean = sum(&hidden)?.f_div_scalar(count)?; // (channel)
        let centred = frames.zero_padding(hidden.f_sub(&mean)?)?;
        let variance = sum(&centred.f_square()?)?.f_div_scalar(count)?;
        let moments = tch::no_grad(|| -> Result<Moments> {
            let double = |tensor: &Tensor| tensor.f_detach()?.f_to_kind(Kind::Double);
            let (mean, variance) = (double(&mean)?, double(&variance)?);
            let squares = variance.f_add(&mean.f_square()?)?.f_mul_scalar(count)?;
            Ok(Moments { count, sum: mean.f_mul_scalar(count)?, squares })
        })?;
        Ok(Standardised { standard: scaled(centred, &variance)?, moments: Some(moments) })
    }

    /// Has the running estimates follow what an update saw: `momentum` is the new one's share, 0 to 1. The variance is the
    /// unbiased one, as PyTorch's.
    ///
    /// # Errors
    /// libtorch's own.
    pub(super) fn follow(&self, moments: &Moments, momentum: f64) -> Result<()> {
        let Some(Running { mean, variance }) = &self.running else { return Ok(()) };
        let _guard = tch::no_grad_guard();
        let seen = moments.sum.f_div_scalar(moments.count)?;
        let spread = moments.squares.f_div_scalar(moments.count)?.f_sub(&seen.f_square()?)?.f_clamp_min(0.0)?;
        let spread = spread.f_mul_scalar(moments.count / (moments.count - 1.0).max(1.0))?;
        let lerp = |running: &Tensor, seen: &Tensor| {
            running.shallow_clone().f_lerp_(&seen.f_to_kind(Kind::Float)?, momentum).map(|_| ())
        };
        lerp(mean, &seen)?;
        Ok(lerp(variance, &spread)?)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::parameters::Store;

    const EPSILON: f64 = 1e-5;

    fn standardiser(statistics: Statistics) -> (Store, Standardiser) {
        let store = Store::new(Device::Cpu);
        let standardiser = Standardiser::new(&store.root(), statistics, 4, 24, EPSILON).unwrap();
        for (name, tensor) in store.named().iter_mut() {
            let _ = tch::no_grad(|| tensor.fill_(if name == "running_var" { 1.0 } else { 0.0 }));
        }
        (store, standardiser)
    }

    /// Rows of 9, 1 and 6 of 9 frames; padding is not a number.
    fn padded() -> (Tensor, Frames) {
        tch::manual_seed(3);
        let hidden = Tensor::randn([3, 9, 24], (Kind::Float, Device::Cpu)) * 3.0 + 1.5;
        let frames = Frames::new(vec![9, 1, 6], 9, Device::Cpu).unwrap();
        let _ = hidden.get(1).narrow(0, 1, 8).fill_(f64::NAN);
        let _ = hidden.get(2).narrow(0, 6, 3).fill_(f64::NAN);
        (hidden, frames)
    }

    fn rows(tensor: &Tensor, frames: &Frames) -> Vec<Tensor> {
        frames.lengths.iter().enumerate().map(|(row, &length)| tensor.get(row as i64).narrow(0, 0, length)).collect()
    }

    /// Sums of at most 54 terms in another order, a cancellation of 4 where the mean is taken off, and a few roundings more:
    /// (54 × 4 + 8) × 2⁻²⁴ = 1.3e-5 of values below 5.
    fn same(given: &Tensor, exact: &Tensor, what: &str) {
        let off = (given - exact).abs().max().double_value(&[]);
        assert!(off < 5.0 * 1.3e-5, "{what}: {off}");
    }

    #[test]
    fn each_row_is_what_libtorch_makes_of_it_alone() {
        let (hidden, frames) = padded();
        for statistics in [Statistics::Layer, Statistics::Instance, Statistics::Group, Statistics::Rms] {
            let (_, standardiser) = standardiser(statistics);
            for training in [true, false] {
                let standard = standardiser.forward(&hidden, &frames, training).unwrap().standard;
                for (row, given) in rows(&hidden, &frames).iter().zip(rows(&standard, &frames)) {
                    let channels_first = row.transpose(0, 1).unsqueeze(0); // (1, channel, frame)
                    let frames_first = |tensor: Tensor| tensor.squeeze_dim(0).transpose(0, 1);
                    let none = None::<&Tensor>;
                    let exact = match statistics {
                        Statistics::Layer => row.layer_norm([24], none, none, EPSILON, false),
                        Statistics::Group => frames_first(channels_first.group_norm(4, none, none, EPSILON, false)),
                        // One frame is its own mean; libtorch's rounds it by other operations, times 1/√ε.
                        Statistics::Instance if row.size()[0] == 1 => row.zeros_like(),
                        Statistics::Instance => frames_first(
                            channels_first.instance_norm(none, none, none, none, true, 0.0, EPSILON, false),
                        ),
                        Statistics::Rms => row / (row.square().mean_dim(-1, true, Kind::Float) + EPSILON).sqrt(),
                        Statistics::Batch => unreachable!(),
                    };
                    same(&given, &exact, &format!("{statistics:?}, {} frames", row.size()[0]));
                }
            }
        }
    }

    #[test]
    fn the_batchs_statistics_and_running_estimates_are_libtorchs_over_real_frames() {
        let (hidden, frames) = padded();
        let (store, standardiser) = standardiser(Statistics::Batch);
        let together = Tensor::cat(&rows(&hidden, &frames), 0); // (frame, channel)
        let options = (Kind::Float, Device::Cpu);
        let (mean, variance) = (Tensor::zeros([24], options), Tensor::ones([24], options));
        let theirs = |training: bool| {
            let none = None::<&Tensor>;
            together.batch_norm(none, none, Some(&mean), Some(&variance), training, 0.1, EPSILON, false)
        };
        let ours = |training: bool| {
            let Standardised { standard, moments } = standardiser.forward(&hidden, &frames, training).unwrap();
            (Tensor::cat(&rows(&standard, &frames), 0), moments)
        };
        for _ in 0..2 {
            let (standard, moments) = ours(true);
            same(&standard, &theirs(true), "training");
            standardiser.follow(&moments.unwrap(), 0.1).unwrap();
            let running = store.named();
            same(&running[0].1, &mean, "running mean");
            same(&running[1].1, &variance, "running variance");
        }
        let (standard, moments) = ours(false);
        assert!(moments.is_none());
        same(&standard, &theirs(false), "evaluation");
    }

    #[test]
    fn moments_of_parts_add_up_to_the_whole() {
        let (hidden, _) = padded();
        let (_, standardiser) = standardiser(Statistics::Batch);
        let moments = |lengths: &[i64], first: i64| {
            let frames = Frames::new(lengths.to_vec(), 9, Device::Cpu).unwrap();
            let part = hidden.narrow(0, first, lengths.len() as i64);
            standardiser.forward(&part, &frames, true).unwrap().moments.unwrap()
        };
        let mut parts = moments(&[9], 0);
        parts.add(&moments(&[1, 6], 1)).unwrap();
        let whole = moments(&[9, 1, 6], 0);
        assert_eq!(parts.count, 16.0);
        // Means of 16 values below 12 in fp32, each multiplied back: 16 × 12 × 16 × 2⁻²⁴ = 1.9e-4; squares 12 times as much.
        assert!((&parts.sum - &whole.sum).abs().max().double_value(&[]) < 1.9e-4);
        assert!((&parts.squares - &whole.squares).abs().max().double_value(&[]) < 2.3e-3);
    }

    #[test]
    fn what_padding_holds_changes_no_gradient_either() {
        for statistics in Statistics::ALL {
            let (_, standardiser) = standardiser(statistics);
            let (hidden, frames) = padded();
            let clean = hidden.nan_to_num(0.0, 0.0, 0.0);
            let gradient = |hidden: &Tensor| {
                let hidden = hidden.detach().set_requires_grad(true);
                let standard = standardiser.forward(&hidden, &frames, true).unwrap().standard;
                let objective = frames.zero_padding(standard).unwrap().pow_tensor_scalar(3).sum(Kind::Float);
                let gradient = Tensor::run_backward(&[objective], &[&hidden], false, false).remove(0);
                Tensor::cat(&rows(&gradient, &frames), 0)
            };
            let (noisy, clean) = (gradient(&hidden), gradient(&clean));
            assert!(noisy.equal(&clean), "{statistics:?}");
        }
    }
}
