//! Regularisers that pull towards the pretrained weights: L2-SP in the loss, mixout in the weights themselves.

use std::collections::BTreeSet;

use klang_wav2vec2::Noise;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::draw;
use crate::error::Result;
use crate::model::is_of_posterior;
use crate::recipe::Recipe;

/// L2-SP (Li, Grandvalet and Davoine 2018): α/2 ‖θ − θ₀‖² + β/2 ‖ω‖² in the loss, with θ what the checkpoint holds and ω what
/// it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct L2SpRecipe {
    /// α, of the parameters that the checkpoint holds. 0: none.
    pub weight: f64,
    /// β, of those that start afresh: the head.
    pub fresh_weight: f64,
}

/// What learns, and where it started.
#[derive(Debug)]
pub struct Anchored {
    l2_sp: L2SpRecipe,
    mixout: f64,
    seed: u64,
    parameters: Vec<Parameter>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    tensor: Tensor,
    /// Its pretrained value; none where it starts afresh.
    start: Option<Tensor>,
    mixes: bool,
}

/// Weights that are mixed with the pretrained ones until [`Mixed::restore`].
#[derive(Debug)]
#[must_use = "the weights stay mixed until they are restored"]
pub struct Mixed<'a> {
    anchored: &'a Anchored,
    /// Of each parameter that is mixed: its own value, and what the difference from its start was multiplied by.
    own: Vec<Option<(Tensor, Tensor)>>,
}

impl Anchored {
    /// Keeps the present values of `learnt` as the pretrained ones, but for those of `fresh` names; none where the recipe
    /// asks for neither regulariser.
    ///
    /// # Errors
    /// Too little memory.
    pub fn new(recipe: &Recipe, learnt: &[(String, Tensor)], fresh: &BTreeSet<String>) -> Result<Option<Anchored>> {
        let (l2_sp, mixout) = (recipe.train.l2_sp, recipe.train.mixout);
        if l2_sp == L2SpRecipe::default() && mixout == 0.0 {
            return Ok(None);
        }
        let parameter = |(name, tensor): &(String, Tensor)| -> Result<Parameter> {
            // KL-Norm's posterior starts where the network is the pretrained one: there it is pulled to.
            let pretrained = !fresh.contains(name) || is_of_posterior(name);
            Ok(Parameter {
                name: name.clone(),
                tensor: tensor.shallow_clone(),
                start: if pretrained { Some(copied(tensor)?) } else { None },
                // The paper's: the linear maps' weights.
                mixes: !fresh.contains(name) && mixout > 0.0 && tensor.dim() == 2 && name.ends_with(".weight"),
            })
        };
        let parameters = learnt.iter().map(parameter).collect::<Result<_>>()?;
        Ok(Some(Anchored { l2_sp, mixout, seed: recipe.seed, parameters }))
    }

    /// Mixout (Lee, Cho and Kang 2020): for one update each weight of a linear map takes its pretrained value with the
    /// recipe's chance, and what remains moves away from there so that the mean stays: θ₀ + dropout(θ − θ₀).
    ///
    /// # Errors
    /// libtorch's own.
    pub fn mix(&self, update: u64) -> Result<Mixed<'_>> {
        let _guard = tch::no_grad_guard();
        let mut mixed = Mixed { anchored: self, own: Vec::with_capacity(self.parameters.len()) };
        for Parameter { name, tensor, start, mixes } in &self.parameters {
            let Some(start) = start.as_ref().filter(|_| *mixes) else {
                mixed.own.push(None);
                continue;
            };
            let noise = Noise::new(draw::seed(self.seed, "mixout", &[&update, name]), tensor.device());
            let scale = noise.dropout(&tensor.f_ones_like()?, self.mixout)?;
            let own = copied(tensor)?;
            let mut target = tensor.f_detach()?;
            target.f_copy_(&start.f_addcmul(&scale, &own.f_sub(start)?)?)?;
            mixed.own.push(Some((own, scale)));
        }
        Ok(mixed)
    }

    /// Adds L2-SP's gradients, and gives its part of the loss.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn pull(&self, gradients: &mut [Tensor]) -> Result<Option<f64>> {
        let L2SpRecipe { weight, fresh_weight } = self.l2_sp;
        if weight == 0.0 && fresh_weight == 0.0 {
            return Ok(None);
        }
        let _guard = tch::no_grad_guard();
        let mut penalties = Vec::new();
        for (Parameter { tensor, start, .. }, gradient) in self.parameters.iter().zip(gradients) {
            let (away, weight) = match start {
                Some(start) => (tensor.f_sub(start)?, weight),
                None => (tensor.f_detach()?, fresh_weight),
            };
            // What took no part in this update is left alone: a frozen encoder, a block that LayerDrop skipped.
            if weight == 0.0 || !gradient.defined() {
                continue;
            }
            penalties.push(away.f_square()?.f_sum(Kind::Double)?.f_mul_scalar(0.5 * weight)?);
            *gradient = gradient.f_add(&away.f_mul_scalar(weight)?)?;
        }
        // In one sum: a GPU is waited for once.
        Ok(Some(match penalties.is_empty() {
            true => 0.0,
            false => Tensor::f_stack(&penalties, 0)?.f_sum(Kind::Double)?.f_double_value(&[])?,
        }))
    }
}

impl Mixed<'_> {
    /// Puts the weights back, and makes gradients by the mixed weights those by the weights themselves.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn restore(self, gradients: &mut [Tensor]) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (place, (Parameter { tensor, .. }, own)) in self.anchored.parameters.iter().zip(self.own).enumerate() {
            let Some((own, scale)) = own else { continue };
            tensor.f_detach()?.f_copy_(&own)?;
            if let Some(gradient) = gradients.get_mut(place).filter(|gradient| gradient.defined()) {
                *gradient = gradient.f_mul(&scale)?;
            }
        }
        Ok(())
    }
}

/// The same numbers in memory of their own, without gradient.
fn copied(tensor: &Tensor) -> Result<Tensor> {
    let tensor = tensor.f_detach()?;
    let mut copy = tensor.f_empty_like()?;
    copy.f_copy_(&tensor)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn weight(values: &[f32], shape: &[i64]) -> Tensor {
        Tensor::from_slice(values).view(shape).set_requires_grad(true)
    }

    fn anchored(l2_sp: L2SpRecipe, mixout: f64, learnt: &[(String, Tensor)]) -> Anchored {
        let mut recipe = Recipe::default();
        (recipe.train.l2_sp, recipe.train.mixout) = (l2_sp, mixout);
        Anchored::new(&recipe, learnt, &BTreeSet::from(["head.weight".to_string()])).unwrap().unwrap()
    }

    #[test]
    fn without_either_nothing_is_kept() {
        assert!(Anchored::new(&Recipe::default(), &[], &BTreeSet::new()).unwrap().is_none());
    }

    #[test]
    fn l2_sp_pulls_to_the_start_and_the_head_to_zero() {
        let (body, head) = (weight(&[1.0, -2.0], &[1, 2]), weight(&[3.0], &[1, 1]));
        let learnt =
            [("body.weight".to_string(), body.shallow_clone()), ("head.weight".to_string(), head.shallow_clone())];
        let anchored = anchored(L2SpRecipe { weight: 0.5, fresh_weight: 0.1 }, 0.0, &learnt);
        // Away by (0.5, 0) from where it started.
        tch::no_grad(|| body.shallow_clone().copy_(&Tensor::from_slice(&[1.5f32, -2.0]).view([1, 2])));
        let mut gradients = vec![Tensor::from_slice(&[1.0f32, 1.0]).view([1, 2]), Tensor::zeros_like(&head)];
        let penalty = anchored.pull(&mut gradients).unwrap().unwrap();
        // ½ · 0.5 · 0.5² + ½ · 0.1 · 3²
        assert!((penalty - (0.0625 + 0.45)).abs() < 1e-7, "{penalty}");
        assert!(gradients[0].equal(&Tensor::from_slice(&[1.25f32, 1.0]).view([1, 2])));
        assert!((gradients[1].double_value(&[0, 0]) - 0.3).abs() < 1e-7);
    }

    #[test]
    fn a_posterior_is_pulled_to_its_start_and_not_to_zero() {
        let name = "wav2vec2.encoder.layers.0.layer_norm.kl_norm.w".to_string();
        let w = weight(&[1.0, 1.0], &[2]);
        let mut recipe = Recipe::default();
        recipe.train.l2_sp = L2SpRecipe { weight: 0.5, fresh_weight: 0.5 };
        let learnt = [(name.clone(), w.shallow_clone())];
        let anchored = Anchored::new(&recipe, &learnt, &BTreeSet::from([name])).unwrap().unwrap();
        let mut gradients = vec![Tensor::zeros_like(&w)];
        assert_eq!(anchored.pull(&mut gradients).unwrap(), Some(0.0));
        assert!(gradients[0].equal(&Tensor::zeros_like(&w)));
    }

    #[test]
    fn mixout_is_the_papers_mixture_and_its_gradient() {
        let start: Vec<f32> = (0..2000).map(|number| number as f32 / 500.0 - 2.0).collect();
        let (body, bias) = (weight(&start, &[40, 50]), weight(&[1.0; 50], &[50]));
        let head = weight(&[1.0, 2.0], &[1, 2]);
        let learnt = [("body.weight", &body), ("body.bias", &bias), ("head.weight", &head)];
        let learnt = learnt.map(|(name, tensor)| (name.to_string(), tensor.shallow_clone()));
        let chance = 0.25;
        let anchored = anchored(L2SpRecipe::default(), chance, &learnt);
        let moved = body.detach() * 1.5 + 0.1;
        tch::no_grad(|| body.shallow_clone().copy_(&moved));
        let start = Tensor::from_slice(&start).view([40, 50]);

        let mixed = anchored.mix(3).unwrap();
        let seen = body.detach().copy();
        let replaced = seen.eq_tensor(&start);
        // The paper's: (mask θ₀ + (1 − mask) θ − p θ₀) / (1 − p).
        let mask = replaced.to_kind(Kind::Float);
        let exact: Tensor = (&mask * &start + (1.0 - &mask) * &moved - &start * chance) / (1.0 - chance);
        // Values below 4 and three roundings more on one side.
        assert!((&seen - exact).abs().max().double_value(&[]) < 4.0 * 4.0 * 2f64.powi(-24) * 4.0);
        let share = mask.mean(Kind::Double).double_value(&[]);
        // 2000 draws: six standard deviations of √(0.25 · 0.75 / 2000).
        assert!((share - chance).abs() < 0.058, "{share}");
        assert!(bias.equal(&Tensor::ones_like(&bias)) && head.double_value(&[0, 1]) == 2.0, "only linear maps mix");

        let mut gradients = vec![Tensor::ones_like(&body), Tensor::ones_like(&bias), Tensor::ones_like(&head)];
        mixed.restore(&mut gradients).unwrap();
        assert!(body.equal(&moved), "the weights are back");
        let expected: Tensor = (1.0 - mask) / (1.0 - chance);
        assert!((&gradients[0] - expected).abs().max().double_value(&[]) < 1e-6);
        assert!(gradients[1].equal(&Tensor::ones_like(&bias)));

        let again = |update: u64| {
            let mixed = anchored.mix(update).unwrap();
            let seen = body.detach().copy();
            mixed.restore(&mut []).unwrap();
            seen
        };
        assert!(again(3).equal(&seen) && !again(4).equal(&seen), "drawn from (seed, update)");
        assert_eq!(body.device(), Device::Cpu);
    }
}
