//! KL-Norm's training pass with little kept for its gradient.
//!
//! Written out, u = w ⊙ x̂ + b + σ ⊙ ε and its KL divergence make automatic differentiation keep five tensors of the hidden
//! states' size a site. But z and the rate are needed once, and their derivatives only at the point where they are taken. So
//! values and slopes are computed outside the graph (on the CPU in one pass, `fused.rs`), and the graph holds what is
//! linear in them, at the same point:
//!
//! - z = LayerNorm(h; γw, γb + β) + n ⊙ (γ + γ₀ ⊙ (ℓ − ℓ₀)), with n = σ ⊙ ε, ℓ = log σ = LayerNorm(h; a, s): the derivative of
//!   γ ⊙ σ ⊙ ε in ℓ is γ ⊙ n.
//! - rate = its value + (Σ k ⊙ x̂ less its value) + Σ over w, b, a, s of its slope × (p − p₀).
//!
//! An index 0 means the value, without a gradient: every difference is zero, and only its derivative counts. LayerNorm keeps
//! h, which a plain one keeps too; what is left to keep is n and k, in bf16. n is rounded before it is used, so that the
//! gradient is that of the value; k's rounding moves the rate's gradient by 2⁻⁹ of each term at most.

use tch::{Kind, Tensor};

use super::Normed;
use super::fused::{Measured, Parameters};
use super::kl_norm::{Folded, KlNorm, divergence};
use crate::error::Result;
use crate::frames::Frames;
use crate::noise::Noise;
use crate::slices::floats;

/// What is computed outside the graph.
struct Values {
    noise: Tensor,       // n, bf16 (batch, frame, channel)
    slope: Tensor,       // k, bf16 (batch, frame, channel), zero in padding
    rate: Tensor,        // ()
    slopes: [Tensor; 4], // of the rate in w, b, a, s, each (channel)
}

impl KlNorm {
    /// [`KlNorm::forward_noisy`] without a low-rank term.
    pub(super) fn forward_linearised(&self, hidden: &Tensor, frames: &Frames, noise: &Noise) -> Result<Normed> {
        let kind = hidden.kind();
        let hidden = hidden.f_to_kind(Kind::Float)?;
        let shape = self.gamma.size();
        let affine = |weight: Option<&Tensor>, bias: Option<&Tensor>| {
            hidden.f_layer_norm(shape.as_slice(), weight, bias, self.epsilon, true)
        };
        let standard = affine(None, None)?; // x̂
        let Values { noise, slope, rate, slopes: [in_w, in_b, in_a, in_s] } =
            tch::no_grad(|| self.values(&standard, frames, noise))?;

        let change = match &self.a {
            Some(a) => zero(&affine(Some(a), Some(&self.s))?)?, // (batch, frame, channel)
            None => zero(&self.s)?,                             // (channel)
        };
        let gain = self.gamma.f_addcmul(&self.gamma.f_detach()?, &change)?;
        let Folded { weight, bias } = self.fold()?;
        let hidden = affine(Some(&weight), Some(&bias))?.f_add(&gain.f_mul(&noise)?)?;

        let in_standard = frames.zero_padding(standard)?.f_mul(&slope)?.f_sum(Kind::Float)?;
        let mut rate = zero(&in_standard)?.f_add(&rate)?;
        let terms = [(Some(&self.w), in_w), (Some(&self.b), in_b), (self.a.as_ref(), in_a), (Some(&self.s), in_s)];
        for (parameter, slope) in terms {
            let Some(parameter) = parameter else { continue };
            rate = rate.f_add(&zero(parameter)?.f_mul(&slope)?.f_sum(Kind::Float)?)?;
        }
        Ok(Normed { hidden: hidden.f_to_kind(kind)?, rate: Some(rate) })
    }

    fn values(&self, standard: &Tensor, frames: &Frames, noise: &Noise) -> Result<Values> {
        let log_sigma = match &self.a {
            Some(a) => self.s.f_addcmul(a, standard)?,
            None => self.s.shallow_clone(),
        };
        let sigma = log_sigma.f_exp()?;
        match (noise.normals(), floats(standard), floats(&sigma)) {
            (Some(mut normals), Some(values), Some(sigma)) => {
                self.plain()?.measure(values, sigma, frames, &mut normals).into_values(&standard.size())
            }
            _ => self.tensor_values(standard, &log_sigma, &sigma, frames, noise),
        }
    }

    /// The same in operations on tensors, for a GPU.
    fn tensor_values(
        &self,
        standard: &Tensor,
        log_sigma: &Tensor,
        sigma: &Tensor,
        frames: &Frames,
        noise: &Noise,
    ) -> Result<Values> {
        let mean = self.b.f_addcmul(&self.w, standard)?; // μ
        let drawn = noise.normal_like(&mean)?.f_mul(sigma)?.f_to_kind(Kind::BFloat16)?;
        let rate = frames.mean(&divergence(&mean, sigma, log_sigma)?.f_mean_dim(-1, false, Kind::Float)?)?;
        // The rate is the mean over real frames and channels.
        let share = 1.0 / (frames.count().max(1) as f64 * standard.size()[2] as f64);
        let standard = frames.zero_padding(standard.shallow_clone())?;
        let in_mean = frames.zero_padding(mean.f_mul_scalar(share)?)?;
        let in_log = sigma.f_square()?.f_sub_scalar(1.0)?.f_mul_scalar(share)?.f_expand(standard.size(), false)?;
        let in_log = frames.zero_padding(in_log)?;
        let sum = |terms: &Tensor| terms.f_sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float);
        let slope = match &self.a {
            Some(a) => in_mean.f_mul(&self.w)?.f_addcmul(&in_log, a)?,
            None => in_mean.f_mul(&self.w)?,
        };
        Ok(Values {
            noise: drawn,
            slope: slope.f_to_kind(Kind::BFloat16)?,
            rate,
            slopes: [sum(&in_mean.f_mul(&standard)?)?, sum(&in_mean)?, sum(&in_log.f_mul(&standard)?)?, sum(&in_log)?],
        })
    }

    fn plain(&self) -> Result<Parameters> {
        let values = |tensor: &Tensor| Ok::<_, crate::error::Error>(Vec::<f32>::try_from(tensor)?);
        let (w, b, s) = (values(&self.w)?, values(&self.b)?, values(&self.s)?);
        let a = self.a.as_ref().map_or_else(|| Ok(vec![0.0; s.len()]), values)?;
        Ok(Parameters { w, b, a, s })
    }
}

impl Measured {
    fn into_values(self, shape: &[i64]) -> Result<Values> {
        let halves = |bits: &[i16]| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(bits)?.f_view_dtype(Kind::BFloat16)?.f_view(shape)?)
        };
        let [in_w, in_b, in_a, in_s] = self.slopes.map(|slopes| Tensor::f_from_slice(&slopes));
        Ok(Values {
            noise: halves(&self.noise)?,
            slope: halves(&self.slope)?,
            rate: Tensor::f_from_slice(&[self.rate as f32])?.f_squeeze()?,
            slopes: [in_w?, in_b?, in_a?, in_s?],
        })
    }
}

/// A tensor less its value: zeros that carry its gradient.
fn zero(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_sub(&tensor.f_detach()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::{KlNormConfig, LogSigma};
    use crate::parameters::Store;
    use tch::Device;

    #[test]
    fn one_pass_gives_what_operations_on_tensors_give() {
        for log_sigma in [LogSigma::Affine, LogSigma::Channel] {
            let store = Store::new(Device::Cpu);
            let config = KlNormConfig { log_sigma, ..KlNormConfig::default() };
            let norm = KlNorm::new(&store.root(), &config, 24, 1e-5).unwrap();
            tch::no_grad(|| {
                tch::manual_seed(5);
                for (_, mut tensor) in store.named() {
                    tensor.copy_(&(tensor.rand_like() - 0.3));
                }
            });
            let standard = Tensor::randn([3, 50, 24], (Kind::Float, Device::Cpu));
            let frames = Frames::new(vec![50, 1, 33], 50, Device::Cpu).unwrap();
            let noise = || Noise::new(7, Device::Cpu);
            let given = tch::no_grad(|| norm.values(&standard, &frames, &noise())).unwrap();
            let log_sigma = match &norm.a {
                Some(a) => &norm.s + a * &standard,
                None => norm.s.shallow_clone(),
            }
            .detach();
            let exact = norm.tensor_values(&standard, &log_sigma, &log_sigma.exp(), &frames, &noise()).unwrap();
            // bf16 may round a number that two orders of operations leave on either side of a tie: 2⁻⁸. Sums in fp32 over 84
            // frames of 24 channels lose 84 × 24 × 2⁻²⁴ = 1.2e-4 of their terms at most, and these cancel by less than 8.
            let halves = [(given.noise, exact.noise), (given.slope, exact.slope)].map(|pair| (pair, 1.0 / 256.0));
            let sums = given.slopes.into_iter().zip(exact.slopes).chain([(given.rate, exact.rate)]);
            for ((given, exact), bound) in halves.into_iter().chain(sums.map(|pair| (pair, 1e-3))) {
                assert_eq!((given.kind(), given.size()), (exact.kind(), exact.size()));
                let [given, exact] = [given, exact].map(|tensor| tensor.to_kind(Kind::Double));
                let off = (given - &exact).norm().double_value(&[]) / (exact.norm().double_value(&[]) + 1e-30);
                assert!(off < bound, "{off}");
            }
        }
    }
}
