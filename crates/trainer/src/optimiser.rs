//! AdamW (Loshchilov and Hutter 2019), with its state in the open so that a resumed run goes on exactly.

use std::collections::BTreeMap;

use tch::{Device, Tensor};

use crate::error::{Error, Result};

/// AdamW's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// β₁ and β₂.
    pub betas: [f64; 2],
    /// ε.
    pub epsilon: f64,
    /// Decoupled weight decay, on tensors of two dimensions or more.
    pub weight_decay: f64,
}

/// Elements that are stepped at a time on a CPU: these loops are bound by memory, not by arithmetic, and between the first
/// and the last of them so many stay in the caches.
const PIECE: i64 = 1 << 16;

/// The optimiser over named parameters. A parameter waits until it first has a gradient; from then on every step counts
/// for it, with a gradient of zero where it took no part.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    parameters: Vec<(String, Tensor)>,
    /// Of each parameter's learning rate; empty: 1 for all.
    scales: Vec<f64>,
    states: BTreeMap<String, Moments>,
}

#[derive(Debug)]
struct Moments {
    steps: i64,
    first: Tensor,
    second: Tensor,
}

impl AdamW {
    /// An optimiser that has not stepped.
    pub fn new(parameters: Vec<(String, Tensor)>, config: AdamWConfig) -> AdamW {
        AdamW { config, parameters, scales: Vec::new(), states: BTreeMap::new() }
    }

    /// The same, with each parameter's learning rate multiplied by what `scale` gives for its name.
    pub fn scaled(self, scale: impl Fn(&str) -> f64) -> AdamW {
        AdamW { scales: self.parameters.iter().map(|(name, _)| scale(name)).collect(), ..self }
    }

    /// What it steps.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }

    /// One step with the given learning rate. `gradients` stand in the parameters' order, undefined where a parameter took
    /// no part, and are first multiplied by `gradient_scale`.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn step(&mut self, gradients: &[Tensor], learning_rate: f64, gradient_scale: f64) -> Result<()> {
        let AdamWConfig { betas: [beta1, beta2], epsilon, weight_decay } = self.config;
        let _guard = tch::no_grad_guard();
        let scales = self.scales.iter().copied().chain(std::iter::repeat(1.0));
        for (((name, parameter), gradient), scale) in self.parameters.iter_mut().zip(gradients).zip(scales) {
            let learning_rate = learning_rate * scale;
            if !gradient.defined() && !self.states.contains_key(name) {
                continue;
            }
            if !self.states.contains_key(name) {
                let fresh = Moments { steps: 0, first: parameter.f_zeros_like()?, second: parameter.f_zeros_like()? };
                self.states.insert(name.clone(), fresh);
            }
            let Some(moments) = self.states.get_mut(name) else { continue };
            moments.steps += 1;
            let correction1 = 1.0 - beta1.powi(moments.steps as i32);
            let correction2 = 1.0 - beta2.powi(moments.steps as i32);
            let root = correction2.sqrt();
            // The positional convolution's magnitude has the shape of a kernel, but is a gain.
            let decays = weight_decay > 0.0 && parameter.dim() >= 2 && !name.ends_with("original0");
            let flat = |tensor: &Tensor| tensor.f_view([-1]);
            let (parameter, first, second) = (flat(parameter)?, flat(&moments.first)?, flat(&moments.second)?);
            let gradient = if gradient.defined() { Some(flat(&gradient.f_contiguous()?)?) } else { None };
            let count = parameter.numel() as i64;
            let piece = if parameter.device() == Device::Cpu { PIECE } else { count.max(1) };
            for start in (0..count).step_by(piece as usize) {
                let cut = |tensor: &Tensor| tensor.f_narrow(0, start, piece.min(count - start));
                let (mut parameter, mut first, mut second) = (cut(&parameter)?, cut(&first)?, cut(&second)?);
                // A tensor of its own, for what follows overwrites it.
                let mut scratch = match &gradient {
                    Some(gradient) => cut(gradient)?.f_mul_scalar(gradient_scale)?,
                    None => parameter.f_zeros_like()?,
                };
                let _ = first.f_lerp_(&scratch, 1.0 - beta1)?;
                let _ = second.f_lerp_(&scratch.f_square_()?, 1.0 - beta2)?;
                // −(√v̂ + ε) / (α / c₁), so that what is left of the step is one division and one sum.
                let mut divisor = second.f_sqrt_out(&scratch)?;
                let _ = divisor.f_add_scalar_(epsilon * root)?.f_mul_scalar_(-correction1 / (learning_rate * root))?;
                if decays {
                    let _ = parameter.f_mul_scalar_(1.0 - learning_rate * weight_decay)?;
                }
                let _ = parameter.f_addcdiv_(&first, &divisor)?;
            }
        }
        Ok(())
    }

    /// The state as tensors: for each parameter that has stepped `NAME.first`, `NAME.second`, `NAME.steps`.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = Vec::new();
        for (name, moments) in &self.states {
            tensors.push((format!("{name}.first"), moments.first.shallow_clone()));
            tensors.push((format!("{name}.second"), moments.second.shallow_clone()));
            tensors.push((format!("{name}.steps"), Tensor::f_from_slice(&[moments.steps])?));
        }
        Ok(tensors)
    }

    /// Takes a state back.
    ///
    /// # Errors
    /// A message naming the tensor that is missing, unknown, or of another shape.
    pub fn restore(&mut self, mut tensors: BTreeMap<String, Tensor>) -> std::result::Result<(), String> {
        let mut states = BTreeMap::new();
        for (name, parameter) in &self.parameters {
            let mut take = |part: &str| tensors.remove(&format!("{name}.{part}"));
            let (first, second, steps) = match (take("first"), take("second"), take("steps")) {
                (Some(first), Some(second), Some(steps)) => (first, second, steps),
                (None, None, None) => continue,
                _ => return Err(format!("{name}: one of its saved moments is missing")),
            };
            if first.size() != parameter.size() || second.size() != parameter.size() || steps.numel() != 1 {
                return Err(format!("{name}: the saved moments have another shape"));
            }
            let steps = steps.f_int64_value(&[0]).map_err(|error| format!("{name}: {error}"))?;
            let device = parameter.device();
            states.insert(
                name.clone(),
                Moments {
                    steps,
                    first: first.f_to_device(device).map_err(|error| format!("{name}: {error}"))?,
                    second: second.f_to_device(device).map_err(|error| format!("{name}: {error}"))?,
                },
            );
        }
        if let Some(name) = tensors.keys().next() {
            return Err(format!("{name}: no such parameter in this model"));
        }
        self.states = states;
        Ok(())
    }
}

/// How an update's gradients are applied.
#[derive(Clone, Copy, Debug)]
pub struct Applied {
    /// Its number, from 1.
    pub update: u64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Largest norm of the gradient; larger ones are scaled down to it. 0: never.
    pub clip: f64,
    /// What the gradients are to be divided by first.
    pub divisor: f64,
}

impl Applied {
    /// Applies gradients in the order of the optimiser's parameters, and gives their norm before clipping.
    ///
    /// # Errors
    /// A norm that is not finite, with the utterances `ids`; nothing has been applied then.
    pub fn apply(&self, gradients: &[Tensor], ids: Vec<String>, optimiser: &mut AdamW) -> Result<f64> {
        let norm = gradient_norm(gradients)? / self.divisor;
        if !norm.is_finite() {
            let what = "the gradient's norm";
            return Err(Error::NonFinite { update: self.update, what, value: norm, ids });
        }
        let clip = if self.clip > 0.0 && norm > self.clip { self.clip / norm } else { 1.0 };
        optimiser.step(gradients, self.learning_rate, clip / self.divisor)?;
        Ok(norm)
    }
}

/// Norm of all gradients together; undefined ones count as zero.
///
/// # Errors
/// libtorch's own.
pub(crate) fn gradient_norm(gradients: &[Tensor]) -> Result<f64> {
    let defined = gradients.iter().filter(|gradient| gradient.defined());
    let norms = defined.map(Tensor::f_norm).collect::<std::result::Result<Vec<_>, _>>()?;
    if norms.is_empty() {
        return Ok(0.0);
    }
    Ok(Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn gradients<const N: usize>(objective: &Tensor, parameters: [&Tensor; N]) -> Vec<Tensor> {
        Tensor::run_backward(&[objective], &parameters, false, false)
    }

    fn parameter(values: &[f64], shape: &[i64]) -> Tensor {
        Tensor::from_slice(values).view(shape).set_requires_grad(true)
    }

    fn config(weight_decay: f64) -> AdamWConfig {
        AdamWConfig { betas: [0.9, 0.98], epsilon: 1e-8, weight_decay }
    }

    #[test]
    fn steps_follow_the_papers_algorithm() {
        // Written out for one number: f = 3x, so that the gradient is always 3.
        let x = parameter(&[2.0], &[1, 1]);
        let mut optimiser = AdamW::new(vec![("x".into(), x.shallow_clone())], config(0.1));
        let (mut expected, mut first, mut second) = (2.0f64, 0.0, 0.0);
        for step in 1..=3 {
            let gradients = gradients(&(&x * 3.0).sum(Kind::Double), [&x]);
            optimiser.step(&gradients, 0.01, 0.5).unwrap();
            let gradient: f64 = 3.0 * 0.5;
            first = 0.9 * first + 0.1 * gradient;
            second = 0.98 * second + 0.02 * gradient * gradient;
            let (c1, c2) = (1.0 - 0.9f64.powi(step), 1.0 - 0.98f64.powi(step));
            expected -= 0.01 * 0.1 * expected;
            expected -= 0.01 * (first / c1) / ((second / c2).sqrt() + 1e-8);
            assert!((x.double_value(&[0, 0]) - expected).abs() < 1e-12, "step {step}");
        }
    }

    #[test]
    fn what_took_no_part_steps_as_with_a_gradient_of_zero() {
        let run = |second: Tensor| {
            let x = parameter(&[1.0, -2.0], &[1, 2]);
            let mut optimiser = AdamW::new(vec![("x".into(), x.shallow_clone())], config(0.1));
            optimiser.step(&gradients(&(&x * &x).sum(Kind::Double), [&x]), 0.1, 1.0).unwrap();
            optimiser.step(&[second], 0.1, 1.0).unwrap();
            x
        };
        assert!(run(Tensor::zeros([1, 2], (Kind::Double, Device::Cpu))).equal(&run(Tensor::new())));
    }

    #[test]
    fn vectors_do_not_decay_and_what_has_no_gradient_stays() {
        let (vector, idle) = (parameter(&[1.0], &[1]), parameter(&[5.0], &[1, 1]));
        let parameters = vec![("vector".into(), vector.shallow_clone()), ("idle".into(), idle.shallow_clone())];
        let mut optimiser = AdamW::new(parameters, config(0.5));
        let gradients = gradients(&(&vector * 0.0).sum(Kind::Double), [&vector, &idle]);
        optimiser.step(&gradients, 0.1, 1.0).unwrap();
        assert_eq!((vector.double_value(&[0]), idle.double_value(&[0, 0])), (1.0, 5.0));
    }

    #[test]
    fn a_restored_optimiser_steps_as_the_one_that_went_on() {
        let step = |optimiser: &mut AdamW, x: &Tensor| {
            optimiser.step(&gradients(&(x * x).sum(Kind::Double), [x]), 0.1, 1.0).unwrap();
        };
        let x = parameter(&[1.0, -2.0, 3.0, 0.5], &[2, 2]);
        let mut optimiser = AdamW::new(vec![("x".into(), x.shallow_clone())], config(0.1));
        step(&mut optimiser, &x);
        let y = x.detach().copy().set_requires_grad(true);
        let mut restored = AdamW::new(vec![("x".into(), y.shallow_clone())], config(0.1));
        let saved = optimiser.state().unwrap().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect();
        restored.restore(saved).unwrap();
        step(&mut optimiser, &x);
        step(&mut restored, &y);
        assert!(x.equal(&y));
        let stranger = BTreeMap::from([("z.first".to_string(), Tensor::zeros([1], (Kind::Float, Device::Cpu)))]);
        assert!(restored.restore(stranger).unwrap_err().contains("z.first"));
    }

    #[test]
    fn a_parameters_own_rate_scales_its_step() {
        let (one, ten) = (parameter(&[1.0], &[1]), parameter(&[1.0], &[1]));
        let parameters = vec![("one".into(), one.shallow_clone()), ("ten".into(), ten.shallow_clone())];
        let mut optimiser = AdamW::new(parameters, config(0.0)).scaled(|name| if name == "ten" { 10.0 } else { 1.0 });
        let gradients = gradients(&((&one + &ten) * 3.0).sum(Kind::Double), [&one, &ten]);
        optimiser.step(&gradients, 0.01, 1.0).unwrap();
        let steps = [&one, &ten].map(|x| 1.0 - x.double_value(&[0]));
        assert!(steps[0] > 0.009 && (steps[1] / steps[0] - 10.0).abs() < 1e-9, "{steps:?}");
    }

    #[test]
    fn the_gradient_norm_is_over_all_parameters() {
        let (a, b) = (parameter(&[1.0], &[1]), parameter(&[1.0], &[1]));
        let idle = parameter(&[1.0], &[1]);
        let gradients = gradients(&(&a * 3.0 + &b * 4.0).sum(Kind::Double), [&a, &idle, &b]);
        assert!((gradient_norm(&gradients).unwrap() - 5.0).abs() < 1e-12);
    }
}
