//! What the normalisations of the transformer's sites give beside hidden states in one training pass.

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::norm::{Moments, Normed, Site};

/// One site's.
#[derive(Debug)]
pub struct SiteOutcome {
    /// The block; none for the encoder's own norm.
    pub layer: Option<usize>,
    /// The site.
    pub site: Site,
    /// KL-Norm's rate: mean over real frames (channel), in nats, with its gradient.
    pub rate: Option<Tensor>,
    /// What running estimates are to follow ([`crate::Wav2Vec2::follow`]).
    pub moments: Option<Moments>,
}

/// Those of the sites that ran and had any; empty in evaluation.
#[derive(Debug, Default)]
pub struct SiteOutcomes(pub Vec<SiteOutcome>);

impl SiteOutcomes {
    /// Keeps what a norm gave beside its hidden states, which are returned.
    pub(crate) fn keep(&mut self, layer: Option<usize>, site: Site, normed: Normed) -> Tensor {
        let Normed { hidden, rate, moments } = normed;
        if rate.is_some() || moments.is_some() {
            self.0.push(SiteOutcome { layer, site, rate, moments });
        }
        hidden
    }

    /// KL-Norm's rates, in the sites' order.
    pub fn rates(&self) -> impl Iterator<Item = &Tensor> {
        self.0.iter().filter_map(|site| site.rate.as_ref())
    }

    /// KL-Norm's part of the objective, to be weighted by λ: the mean over channels and sites of each channel's rate, in
    /// nats, a scalar with its gradient; none without KL-Norm. A rate below `free` nats counts as that, and has no gradient
    /// (free bits, Kingma et al. 2016, a channel being a group).
    ///
    /// # Errors
    /// libtorch's own.
    pub fn divergence(&self, free: f64) -> Result<Option<Tensor>> {
        let rates: Vec<&Tensor> = self.rates().collect();
        if rates.is_empty() {
            return Ok(None);
        }
        let rates = Tensor::f_stack(&rates, 0)?; // (site, channel)
        let rates = if free > 0.0 { rates.f_clamp_min(free)? } else { rates };
        Ok(Some(rates.f_mean(Kind::Float)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_bits_hold_only_what_lies_above_them() {
        let rate = |values: [f32; 2]| Tensor::from_slice(&values).set_requires_grad(true);
        let rates = [rate([0.5, 2.0]), rate([1.5, 0.25])];
        let mut sites = SiteOutcomes::default();
        for (layer, rate) in rates.iter().enumerate() {
            let normed = Normed { hidden: Tensor::new(), rate: Some(rate.shallow_clone()), moments: None };
            let _ = sites.keep(Some(layer), Site::Attention, normed);
        }
        assert_eq!(sites.divergence(0.0).unwrap().unwrap().double_value(&[]), (0.5 + 2.0 + 1.5 + 0.25) / 4.0);
        let divergence = sites.divergence(1.0).unwrap().unwrap();
        assert_eq!(divergence.double_value(&[]), (1.0 + 2.0 + 1.5 + 1.0) / 4.0);
        let gradients = Tensor::run_backward(&[divergence], &rates, false, false);
        let gradients: Vec<Vec<f32>> = gradients.iter().map(|slopes| slopes.try_into().unwrap()).collect();
        assert_eq!(gradients, [[0.0, 0.25], [0.25, 0.0]]);
        assert!(SiteOutcomes::default().divergence(0.0).unwrap().is_none());
    }
}
