//! KL-Norm's training pass as one function with a backward pass of its own.
//!
//! Written out, u = w ⊙ x̂ + b + σ ⊙ ε and its KL divergence make automatic differentiation keep five tensors of the hidden
//! states' size a site. Here the hidden states are kept, as LayerNorm keeps them, with two numbers a frame; x̂ follows from
//! them, and ε is drawn again from its seed. With g the objective's gradient by a channel's rate over the number of real frames:
//!
//! - by u: γ ⊙ ∂z; by μ: that + g μ; by log σ: that ⊙ σ ⊙ ε + g (σ² − 1);
//! - by x̂: w ⊙ (by μ) + a ⊙ (by log σ), and from there to h as in LayerNorm;
//! - by the parameters: sums over real frames of γ: ∂z ⊙ u, β: ∂z, w: (by μ) ⊙ x̂, b: by μ, a: (by log σ) ⊙ x̂, s: by log σ.

use klang_autograd::{Arriving, function};
use tch::{Device, Kind, Tensor};

use super::Normed;
use super::fused::{self, Moments, Slopes};
use super::kl_norm::{KlNorm, divergence};
use crate::error::Result;
use crate::frames::Frames;
use crate::noise::{Branch, Noise};
use crate::slices::{filled, floats};

impl KlNorm {
    /// [`KlNorm::forward_noisy`] without a low-rank term.
    pub(super) fn forward_function(&self, hidden: &Tensor, frames: &Frames, noise: &Noise) -> Result<Normed> {
        let (kept, output, rate) = tch::no_grad(|| Kept::forward(self, hidden, frames, noise.branch()))?;
        let mut inputs = vec![hidden, &self.gamma, &self.beta, &self.w, &self.s];
        inputs.extend(self.b.iter().chain(&self.a));
        let present = [true, true, true, true, true, self.b.is_some(), self.a.is_some()];
        let [hidden, rate] = function(&inputs, [output, rate], move |arriving| {
            let gradients = kept.backward(&arriving)?.into_iter().zip(present);
            Ok(gradients.filter_map(|(gradient, present)| present.then_some(Some(gradient))).collect())
        })
        .map_err(tch::TchError::from)?;
        Ok(Normed { hidden, rate: Some(rate), moments: None })
    }

    fn plain(&self) -> Result<fused::Parameters> {
        let values = |tensor: &Tensor| Ok::<_, crate::error::Error>(Vec::<f32>::try_from(tensor)?);
        let or_zeros = |tensor: &Option<Tensor>| match tensor {
            Some(tensor) => values(tensor),
            None => Ok(vec![0.0; self.s.numel()]),
        };
        Ok(fused::Parameters {
            gamma: values(&self.gamma)?,
            beta: values(&self.beta)?,
            w: values(&self.w)?,
            b: or_zeros(&self.b)?,
            a: or_zeros(&self.a)?,
            s: values(&self.s)?,
        })
    }
}

/// What a pass keeps for its gradients.
enum Kept {
    /// On the CPU: h in its own kind.
    Frames { site: Box<fused::Site>, hidden: Tensor, moments: Vec<Moments> },
    /// Elsewhere, in operations on tensors.
    Tensors(Tensors),
}

impl Kept {
    fn forward(norm: &KlNorm, hidden: &Tensor, frames: &Frames, noise: Branch) -> Result<(Kept, Tensor, Tensor)> {
        let expected = [frames.lengths.len() as i64, frames.padded, norm.gamma.numel() as i64];
        if hidden.size() != expected {
            let message = format!("hidden states of {:?} where {expected:?} are expected", hidden.size());
            return Err(tch::TchError::Shape(message).into());
        }
        let Some(normals) = noise.normals().filter(|_| hidden.device() == Device::Cpu) else {
            let (tensors, output, rate) = Tensors::forward(norm, hidden, frames, noise)?;
            return Ok((Kept::Tensors(tensors), output, rate));
        };
        let normals = norm.noise.then_some(normals);
        let site = Box::new(fused::Site::new(norm.plain()?, norm.epsilon(), frames, normals));
        let values = hidden.f_to_kind(Kind::Float)?.f_contiguous()?;
        let given = floats(&values)?;
        let (output, (moments, rate)) = filled(&values, |output| site.forward(given, output, threads()))?;
        let rate = Tensor::f_from_slice(&rate)?;
        let output = output.f_to_kind(hidden.kind())?;
        Ok((Kept::Frames { site, hidden: hidden.f_detach()?, moments }, output, rate))
    }

    /// By h, γ, β, w, s, b, a.
    fn backward(&self, arriving: &Arriving) -> Result<Vec<Tensor>> {
        let [by_output, by_rate] = arriving.gradients.as_slice() else { return Ok(Vec::new()) };
        let (site, hidden, moments) = match self {
            Kept::Tensors(tensors) => return tensors.backward(by_output, by_rate),
            Kept::Frames { site, hidden, moments } => (site, hidden, moments),
        };
        let by_rate: Vec<f32> =
            if by_rate.defined() { by_rate.try_into()? } else { vec![0.0; site.parameters.w.len()] };
        let plain = |tensor: &Tensor| tensor.f_to_kind(Kind::Float)?.f_contiguous();
        let by_output = if by_output.defined() { Some(plain(by_output)?) } else { None };
        let values = plain(hidden)?;
        let (given, arrives) = (floats(&values)?, by_output.as_ref().map(floats).transpose()?);
        let (by_hidden, Slopes { gamma, beta, w, b, a, s }) =
            filled(&values, |into| site.backward(given, moments, arrives, &by_rate, into, threads()))?;
        let slopes = [gamma, beta, w, s, b, a].into_iter().map(|slopes| Ok(Tensor::f_from_slice(&slopes)?));
        std::iter::once(Ok(by_hidden.f_to_kind(hidden.kind())?)).chain(slopes).collect()
    }
}

/// libtorch's threads at this place: those that a LayerNorm would take.
fn threads() -> usize {
    tch::get_num_threads().max(1) as usize
}

/// The same in operations on tensors.
struct Tensors {
    norm: [Tensor; 5], // γ, w, b, a, s; zero where there is no b or a
    hidden: Tensor,
    mean: Tensor,  // (batch, frame, 1)
    scale: Tensor, // (batch, frame, 1)
    frames: Frames,
    noise: Option<Branch>, // none where u = μ
}

impl Tensors {
    fn forward(norm: &KlNorm, hidden: &Tensor, frames: &Frames, noise: Branch) -> Result<(Tensors, Tensor, Tensor)> {
        let values = frames.zero_padding(hidden.f_to_kind(Kind::Float)?)?;
        let shape = norm.gamma.size();
        let (_, mean, scale) = values.f_native_layer_norm(shape, None::<&Tensor>, None::<&Tensor>, norm.epsilon())?;
        let or_zeros = |tensor: &Option<Tensor>| match tensor {
            Some(tensor) => tensor.f_detach(),
            None => norm.s.f_zeros_like(),
        };
        let [gamma, w, s] = [&norm.gamma, &norm.w, &norm.s].map(Tensor::f_detach);
        let [b, a] = [&norm.b, &norm.a].map(or_zeros);
        let tensors = Tensors {
            norm: [gamma?, w?, b?, a?, s?],
            hidden: hidden.f_detach()?,
            mean,
            scale,
            frames: frames.shallow_clone(),
            noise: norm.noise.then_some(noise),
        };
        let Sampled { mean, log_sigma, sigma, sample, .. } = tensors.sample()?;
        let divergence = divergence(&mean, &sigma, &log_sigma)?;
        let rate = frames.mean_of_channels(&divergence)?;
        let output = norm.beta.f_addcmul(&tensors.norm[0], &sample)?.f_to_kind(hidden.kind())?;
        Ok((tensors, output, rate))
    }

    fn sample(&self) -> Result<Sampled> {
        let [_, w, b, a, s] = &self.norm;
        let hidden = self.frames.zero_padding(self.hidden.f_to_kind(Kind::Float)?)?;
        let standard = hidden.f_sub(&self.mean)?.f_mul(&self.scale)?;
        let mean = b.f_addcmul(w, &standard)?;
        let log_sigma = s.f_addcmul(a, &standard)?;
        let sigma = log_sigma.f_exp()?;
        let noise = match &self.noise {
            Some(noise) => noise.noise().normal_like(&mean)?.f_mul(&sigma)?,
            None => mean.f_zeros_like()?,
        };
        let sample = mean.f_add(&noise)?;
        Ok(Sampled { standard, mean, log_sigma, sigma, noise, sample })
    }

    fn backward(&self, by_output: &Tensor, by_rate: &Tensor) -> Result<Vec<Tensor>> {
        let [gamma, w, _, a, _] = &self.norm;
        let Sampled { standard, mean, sigma, noise, sample, .. } = self.sample()?;
        let by_output = if by_output.defined() {
            self.frames.zero_padding(by_output.f_to_kind(Kind::Float)?)?
        } else {
            mean.f_zeros_like()?
        };
        let by_sample = by_output.f_mul(gamma)?;
        let (mut by_mean, mut by_log) = (by_sample.shallow_clone(), by_sample.f_mul(&noise)?);
        if by_rate.defined() {
            let share = by_rate.f_div_scalar(self.frames.count().max(1) as f64)?; // (channel)
            let of_rate = |slope: Tensor| self.frames.zero_padding(slope.f_mul(&share)?);
            by_mean = by_mean.f_add(&of_rate(mean)?)?;
            by_log = by_log.f_add(&of_rate(sigma.f_square()?.f_sub_scalar(1.0)?)?)?;
        }
        let sum = |terms: Tensor| terms.f_sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float);
        let by_standard = by_mean.f_mul(w)?.f_addcmul(&by_log, a)?;
        let average = |terms: &Tensor| terms.f_mean_dim(-1, true, Kind::Float);
        let along = standard.f_mul(&average(&by_standard.f_mul(&standard)?)?)?;
        let by_hidden = by_standard.f_sub(&average(&by_standard)?)?.f_sub(&along)?.f_mul(&self.scale)?;
        Ok(vec![
            self.frames.zero_padding(by_hidden)?.f_to_kind(self.hidden.kind())?,
            sum(by_output.f_mul(&sample)?)?,
            sum(by_output)?,
            sum(by_mean.f_mul(&standard)?)?,
            sum(by_log.shallow_clone())?,
            sum(by_mean)?,
            sum(by_log.f_mul(&standard)?)?,
        ])
    }
}

/// A pass's numbers, each (batch, frame, channel).
struct Sampled {
    standard: Tensor,
    mean: Tensor,
    log_sigma: Tensor,
    sigma: Tensor,
    noise: Tensor, // σ ⊙ ε
    sample: Tensor,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::{KlNormConfig, LogSigma, Mean};
    use crate::parameters::Store;

    struct Fixture {
        norm: KlNorm,
        hidden: Tensor,
        frames: Frames,
        arriving: [Tensor; 2],
    }

    /// Rows of 600, 1 and 433 of 600 frames, some of whose padding is not a number.
    fn fixture(log_sigma: LogSigma) -> Fixture {
        fixture_of(KlNormConfig { log_sigma, ..KlNormConfig::default() })
    }

    fn fixture_of(config: KlNormConfig) -> Fixture {
        let store = Store::new(Device::Cpu);
        let norm = KlNorm::new(&store.root(), &config, 24, 1e-5).unwrap();
        let noise = Noise::new(5, Device::Cpu);
        tch::no_grad(|| {
            for (_, mut tensor) in store.named() {
                tensor.copy_(&(noise.normal_like(&tensor).unwrap() * 0.3 + 0.2));
            }
        });
        let drawn = || noise.normal_like(&Tensor::zeros([3, 600, 24], (Kind::Float, Device::Cpu))).unwrap();
        let hidden = drawn() * 2.0 + 0.5;
        // Frames in which ε counts: of a variance of 4e-6 and of 4e-4.
        let _ = hidden.get(0).narrow(0, 7, 1).multiply_(&Tensor::from(1e-3f32));
        let _ = hidden.get(0).narrow(0, 9, 1).multiply_(&Tensor::from(1e-2f32));
        let _ = hidden.get(1).narrow(0, 100, 20).fill_(f64::NAN);
        let frames = Frames::new(vec![600, 1, 433], 600, Device::Cpu).unwrap();
        // Channels' rates weigh differently, one not at all.
        let by_rate = Tensor::arange(24, (Kind::Float, Device::Cpu)) * 3.0;
        let arriving = [frames.zero_padding(drawn()).unwrap(), by_rate];
        Fixture { norm, hidden, frames, arriving }
    }

    /// Of a frame: sums of 24 channels and a dozen roundings on either side, an exponential to 2⁻²², and a cancellation of 8:
    /// 8 × ((24 + 24) × 2⁻²⁴ + 2⁻²²).
    const FRAME: f64 = 2.5e-5;

    /// Of a sum over 1034 frames in another order: 1034 × 2⁻²⁴ = 6e-5 of its terms, which cancel by less than 8.
    const SUM: f64 = 5e-4;

    fn off(given: &Tensor, exact: &Tensor) -> f64 {
        assert_eq!((given.kind(), given.size()), (exact.kind(), exact.size()));
        let [given, exact] = [given, exact].map(|tensor| tensor.to_kind(Kind::Double));
        (given - &exact).norm().double_value(&[]) / (exact.norm().double_value(&[]) + 1e-30)
    }

    fn gradients(kept: &Kept, arriving: &[Tensor]) -> Vec<Tensor> {
        let gradients = arriving.iter().map(Tensor::shallow_clone).collect();
        tch::no_grad(|| kept.backward(&Arriving { gradients, wanted: &[true; 7] })).unwrap()
    }

    #[test]
    fn frame_by_frame_is_what_operations_on_tensors_give() {
        let kinds = [
            (Mean::Affine, LogSigma::Affine, true),
            (Mean::Affine, LogSigma::Channel, true),
            (Mean::Affine, LogSigma::Affine, false),
            (Mean::Scale, LogSigma::Channel, true),
        ];
        for (mean, log_sigma, noise) in kinds {
            let config = KlNormConfig { mean, log_sigma, noise, ..KlNormConfig::default() };
            let Fixture { norm, hidden, frames, arriving } = fixture_of(config);
            let branch = Noise::new(7, Device::Cpu).branch();
            tch::no_grad(|| {
                let (kept, output, rate) = Kept::forward(&norm, &hidden, &frames, branch).unwrap();
                let (tensors, exact, exact_rate) = Tensors::forward(&norm, &hidden, &frames, branch).unwrap();
                let exact = frames.zero_padding(exact).unwrap();
                assert!(off(&output, &exact) < FRAME, "{mean:?}, {log_sigma:?}: {}", off(&output, &exact));
                // The two frames in which ε counts, alone: others would drown them.
                for frame in [7, 9] {
                    let alone = |tensor: &Tensor| tensor.get(0).get(frame);
                    assert!(off(&alone(&output), &alone(&exact)) < FRAME, "{mean:?}, {log_sigma:?}, frame {frame}");
                }
                assert!(off(&rate, &exact_rate) < SUM);
                let tensors = Kept::Tensors(tensors);
                // Where λ is 0, or z takes no part, nothing arrives.
                let [z, rate] = &arriving;
                for arriving in [
                    [z.shallow_clone(), rate.shallow_clone()],
                    [z.shallow_clone(), Tensor::new()],
                    [Tensor::new(), rate.shallow_clone()],
                ] {
                    let exact = gradients(&tensors, &arriving);
                    for (place, (given, exact)) in gradients(&kept, &arriving).iter().zip(&exact).enumerate() {
                        let bound = if place == 0 { FRAME } else { SUM };
                        assert!(
                            off(given, exact) < bound,
                            "{mean:?}, {log_sigma:?}, gradient {place}: {}",
                            off(given, exact)
                        );
                    }
                }
            });
        }
    }

    #[test]
    fn threads_change_no_frame() {
        let Fixture { norm, hidden, frames, arriving } = fixture(LogSigma::Affine);
        let branch = Noise::new(7, Device::Cpu).branch();
        let before = tch::get_num_threads();
        let run = |threads: i32| {
            tch::set_num_threads(threads);
            let (kept, output, rate) = tch::no_grad(|| Kept::forward(&norm, &hidden, &frames, branch)).unwrap();
            let gradients = gradients(&kept, &arriving);
            tch::set_num_threads(before);
            (output, rate, gradients)
        };
        let (one, three) = (run(1), run(3));
        assert!(one.0.equal(&three.0) && one.2[0].equal(&three.2[0]));
        let sums = [(&one.1, &three.1)].into_iter().chain(one.2[1..].iter().zip(&three.2[1..]));
        sums.for_each(|(one, three)| assert!(off(one, three) < SUM, "{}", off(one, three)));
    }

    #[test]
    fn other_shapes_are_refused() {
        let Fixture { norm, hidden, frames, .. } = fixture(LogSigma::Affine);
        let branch = Noise::new(7, Device::Cpu).branch();
        for hidden in [hidden.narrow(1, 0, 599), hidden.narrow(2, 0, 12), hidden.narrow(0, 0, 2)] {
            let refused = tch::no_grad(|| Kept::forward(&norm, &hidden, &frames, branch)).err().unwrap();
            assert!(refused.to_string().contains("[3, 600, 24]"), "{refused}");
        }
    }

    #[test]
    fn bf16_goes_in_and_comes_out() {
        let Fixture { norm, hidden, frames, arriving } = fixture(LogSigma::Affine);
        let branch = Noise::new(7, Device::Cpu).branch();
        let (hidden, arriving) =
            (hidden.to_kind(Kind::BFloat16), [arriving[0].to_kind(Kind::BFloat16), arriving[1].copy()]);
        let exact = tch::no_grad(|| Kept::forward(&norm, &hidden.to_kind(Kind::Float), &frames, branch)).unwrap();
        let (kept, output, _) = tch::no_grad(|| Kept::forward(&norm, &hidden, &frames, branch)).unwrap();
        // Computed in fp32 from the same numbers, and rounded once at the end: 2⁻⁹.
        assert!(off(&output.to_kind(Kind::Float), &exact.1) < 1.0 / 512.0);
        let (given, exact) = (gradients(&kept, &arriving), gradients(&exact.0, &arriving));
        assert_eq!((given[0].kind(), given[1].kind()), (Kind::BFloat16, Kind::Float));
        assert!(off(&given[0].to_kind(Kind::Float), &exact[0]) < 1.0 / 512.0);
        assert!(given[1..].iter().zip(&exact[1..]).all(|(given, exact)| given.equal(exact)));
    }
}
