//! A variational information bottleneck before the head (Alemi et al. 2017; Mahabadi et al. 2021 for fine-tuning with little
//! data): what the head sees is drawn from N(μ, diag σ²), whose divergence from N(0, I) is part of the loss.

use klang_wav2vec2::{Frames, Linear, Noise, Path, gaussian_divergence};
use tch::{Kind, Tensor};

use crate::Result;

/// μ = Wₘ h + bₘ and log σ = Wₛ h + bₛ. Both are linear, so that in evaluation, where the draw is μ, bottleneck and head
/// are one linear map.
#[derive(Debug)]
pub struct Bottleneck {
    mean: Linear,
    log_sigma: Linear,
}

/// What the head sees.
#[derive(Debug)]
pub struct Drawn {
    /// (batch, frame, width), in the input's kind.
    pub hidden: Tensor,
    /// In training: the mean divergence over real frames (width), in nats, with its gradient.
    pub rate: Option<Tensor>,
}

impl Bottleneck {
    /// σ before the first update.
    pub const SIGMA_INIT: f64 = 0.1;

    /// Registers `mean` and `log_sigma` under `path`, each with `weight` (width, channel) and `bias` (width).
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, channels: i64, width: i64) -> Result<Bottleneck> {
        Ok(Bottleneck {
            mean: Linear::new(&(path / "mean"), channels, width)?,
            log_sigma: Linear::new(&(path / "log_sigma"), channels, width)?,
        })
    }

    /// Draws from hidden states (batch, frame, channel); no noise means evaluation, which takes the mean.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, frames: &Frames, noise: Option<&Noise>) -> Result<Drawn> {
        let mean = self.mean.forward(hidden)?;
        let Some(noise) = noise else { return Ok(Drawn { hidden: mean, rate: None }) };
        let kind = mean.kind();
        let mean = mean.f_to_kind(Kind::Float)?;
        let log_sigma = self.log_sigma.forward(hidden)?.f_to_kind(Kind::Float)?;
        let sigma = log_sigma.f_exp()?;
        let rate = frames.mean_of_channels(&gaussian_divergence(&mean, &sigma, &log_sigma)?)?;
        let sample = mean.f_addcmul(&sigma, &noise.normal_like(&mean)?)?;
        Ok(Drawn { hidden: sample.f_to_kind(kind)?, rate: Some(rate) })
    }

    /// The mean's weight (width, channel) and bias (width).
    pub(crate) fn mean(&self) -> (&Tensor, &Tensor) {
        self.mean.parts()
    }
}
