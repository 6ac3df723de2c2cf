//! What the sites of an update's parts gave, added up: KL-Norm's rates, and what running estimates follow.

use std::collections::BTreeMap;

use klang_wav2vec2::{Moments, Site, SiteOutcome, SiteOutcomes, Wav2Vec2};
use tch::{Kind, Tensor};

use crate::error::Result;

/// Below this rate, in nats, a channel carries so little that it counts as switched off: a mean square of 0.02 at σ = 1.
pub const SWITCHED_OFF: f32 = 0.01;

/// KL-Norm's rate at one site.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteRate {
    /// The block; none for the encoder's own norm.
    pub layer: Option<usize>,
    /// The site.
    pub site: Site,
    /// Nats of each channel, over the frames for which the site ran.
    pub channels: Vec<f32>,
}

impl SiteRate {
    /// The site's name in metrics: `3.attention`, `encoder`.
    pub fn name(&self) -> String {
        let site = format!("{:?}", self.site).to_lowercase();
        self.layer.map_or(site.clone(), |layer| format!("{layer}.{site}"))
    }

    /// Mean over channels, in nats.
    pub fn nats(&self) -> f64 {
        self.channels.iter().map(|&nats| f64::from(nats)).sum::<f64>() / self.channels.len().max(1) as f64
    }
}

/// Sums by site.
#[derive(Debug, Default)]
pub struct SiteSums(BTreeMap<(Option<usize>, Site), Sum>);

#[derive(Debug, Default)]
struct Sum {
    /// Each channel's rate (channel), weighted by `share`.
    rate: Option<Tensor>,
    /// Of the update, for which the site ran.
    share: f64,
    moments: Option<Moments>,
}

impl SiteSums {
    /// Takes what a part's sites gave; `share` is what the part is of the whole, in any unit. Gives the mean rate over sites
    /// and channels, in nats; none without KL-Norm.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn take(&mut self, outcomes: SiteOutcomes, share: f64) -> Result<Option<f64>> {
        let _guard = tch::no_grad_guard();
        let mean = outcomes.divergence(0.0)?.map(|mean| mean.f_double_value(&[])).transpose()?;
        for SiteOutcome { layer, site, rate, moments } in outcomes.0 {
            let rate = rate.map(|rate| rate.f_detach()?.f_mul_scalar(share)).transpose()?;
            self.add_one((layer, site), Sum { rate, share, moments })?;
        }
        Ok(mean)
    }

    /// Adds another part's.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn add(&mut self, other: SiteSums) -> Result<()> {
        other.0.into_iter().try_for_each(|(place, sum)| self.add_one(place, sum))
    }

    fn add_one(&mut self, place: (Option<usize>, Site), other: Sum) -> Result<()> {
        let sum = self.0.entry(place).or_default();
        sum.share += other.share;
        sum.rate = match (sum.rate.take(), other.rate) {
            (Some(one), Some(other)) => Some(one.f_add(&other)?),
            (one, other) => one.or(other),
        };
        match (&mut sum.moments, other.moments) {
            (Some(one), Some(other)) => one.add(&other)?,
            (none, other) => *none = none.take().or(other),
        }
        Ok(())
    }

    /// KL-Norm's rates by site.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn rates(&self) -> Result<Vec<SiteRate>> {
        let (mut places, mut rates) = (Vec::new(), Vec::new());
        for (&place, sum) in &self.0 {
            if let Some(rate) = &sum.rate {
                places.push(place);
                rates.push(rate.f_div_scalar(sum.share)?);
            }
        }
        if rates.is_empty() {
            return Ok(Vec::new());
        }
        // All in one: a GPU is waited for once.
        let channels: Vec<f32> = Tensor::f_stack(&rates, 0)?.f_to_kind(Kind::Float)?.f_flatten(0, 1)?.try_into()?;
        let sites = places.into_iter().zip(channels.chunks(channels.len() / rates.len()));
        Ok(sites.map(|((layer, site), channels)| SiteRate { layer, site, channels: channels.into() }).collect())
    }

    /// Has the running estimates of `encoder` follow what its sites saw.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn follow(&self, encoder: &Wav2Vec2) -> Result<()> {
        for (&(layer, site), sum) in &self.0 {
            if let Some(moments) = &sum.moments {
                encoder.follow(layer, site, moments)?;
            }
        }
        Ok(())
    }
}
