//! The transformer: positional convolution, blocks, and the encoder's own norm.

use tch::Tensor;

use crate::attention::AttentionContext;
use crate::block::{Block, BlockOrder};
use crate::config::{Family, ModelConfig};
use crate::error::Result;
use crate::frames::Frames;
use crate::model::TrainingPass;
use crate::noise::{Noise, dropout};
use crate::norm::{Norm, Site};
use crate::parameters::Path;
use crate::positional::PositionalEmbedding;
use crate::recomputed::{BlockPass, Recomputed};
use crate::relative_position::RelativePosition;

/// The transformer (`encoder`).
#[derive(Debug)]
pub struct Encoder {
    position: PositionalEmbedding,
    relative: Option<RelativePosition>,
    norm: Norm,
    blocks: Vec<Block>,
    order: BlockOrder,
    dropout: f64,
}

/// KL-Norm's rate at one site in one training pass.
#[derive(Debug)]
pub struct SiteRate {
    /// The block; none for the encoder's own norm.
    pub layer: Option<usize>,
    /// The site.
    pub site: Site,
    /// Mean over channels and real frames, in nats per channel: a scalar with its gradient.
    pub rate: Tensor,
}

/// KL-Norm's rates over the sites that ran in one training pass.
#[derive(Debug)]
pub struct KlRates {
    /// Mean over sites, in nats per channel: a scalar with its gradient, to be weighted by λ.
    pub mean: Tensor,
    /// Each site's own.
    pub sites: Vec<SiteRate>,
}

/// What the transformer gives.
#[derive(Debug)]
pub struct TransformerOutput {
    /// (batch, frame, channel).
    pub hidden: Tensor,
    /// KL-Norm's rates; none in evaluation or without KL-Norm.
    pub kl: Option<KlRates>,
    /// The blocks, where their activations were not kept.
    pub recomputed: Option<Recomputed>,
}

impl Encoder {
    /// Registers the transformer under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<Encoder> {
        let layers = path / "layers";
        Ok(Encoder {
            position: PositionalEmbedding::new(&(path / "pos_conv_embed"), config)?,
            relative: match config.model_type {
                Family::WavLm => Some(RelativePosition::new(&(&layers / 0 / "attention"), config)?),
                Family::Wav2Vec2 | Family::Hubert | Family::Data2VecAudio => None,
            },
            norm: config.norm.build(
                &(path / "layer_norm"),
                Site::Encoder,
                0,
                config.hidden_size,
                config.layer_norm_eps,
            )?,
            blocks: (0..config.num_hidden_layers)
                .map(|index| Block::new(&(&layers / index), config, index))
                .collect::<Result<_>>()?,
            order: config.block_order(),
            dropout: config.hidden_dropout,
        })
    }

    /// (batch, frame, channel) to the same; in evaluation there is no training pass.
    ///
    /// # Errors
    /// When libtorch refuses the shapes or cannot allocate.
    pub fn forward(
        &self,
        hidden: Tensor,
        frames: &Frames,
        training: Option<&TrainingPass>,
    ) -> Result<TransformerOutput> {
        let noise = training.map(|drawn| &drawn.noise);
        let dropped = training.map(|drawn| drawn.dropped_blocks.as_slice()).unwrap_or_default();
        let mut sites = Vec::new();
        let normalise = |hidden: &Tensor, sites: &mut Vec<SiteRate>| -> Result<Tensor> {
            let normed = self.norm.forward(hidden, frames, noise)?;
            sites.extend(normed.rate.map(|rate| SiteRate { layer: None, site: Site::Encoder, rate }));
            Ok(normed.hidden)
        };

        let hidden = frames.zero_padding(hidden)?;
        let relative = self.relative.as_ref().map(|relative| relative.bias(frames)).transpose()?;
        let context = AttentionContext::new(frames, hidden.kind(), relative)?;
        let recompute = training.is_some_and(|drawn| drawn.recompute && drawn.encoder_learns);
        let mut passes = Vec::new();
        let mut hidden = hidden.f_add(&self.position.forward(&hidden, frames)?)?;
        if self.order == BlockOrder::PostNorm {
            hidden = normalise(&hidden, &mut sites)?;
        }
        hidden = dropout(hidden, self.dropout, noise)?;
        for (index, block) in self.blocks.iter().enumerate() {
            if dropped.get(index).copied().unwrap_or(false) {
                continue;
            }
            // Each block draws from a branch, so that it can be computed again without the others.
            let output = match noise.map(Noise::branch) {
                // Below the lowest thing that learns there is nothing to compute again.
                Some(branch) if recompute && hidden.requires_grad() => {
                    let (pass, output) = BlockPass::forward((index, block), hidden, frames, &context, branch)?;
                    passes.push(pass);
                    output
                }
                branch => block.forward(&hidden, frames, &context, branch.map(|branch| branch.noise()).as_ref())?,
            };
            hidden = output.hidden;
            sites.extend(output.rates.into_iter().map(|(site, rate)| SiteRate { layer: Some(index), site, rate }));
        }
        if self.order == BlockOrder::PreNorm {
            hidden = normalise(&hidden, &mut sites)?;
        }
        let recomputed = recompute.then(|| Recomputed::new(frames, context, passes));
        Ok(TransformerOutput { hidden, kl: KlRates::new(sites)?, recomputed })
    }

    /// As [`crate::Wav2Vec2::backward`].
    pub(crate) fn backward(&self, objective: Tensor, recomputed: Recomputed, learnt: &[Tensor]) -> Result<Vec<Tensor>> {
        recomputed.backward(&self.blocks, objective, learnt)
    }
}

impl KlRates {
    fn new(sites: Vec<SiteRate>) -> Result<Option<KlRates>> {
        if sites.is_empty() {
            return Ok(None);
        }
        let rates: Vec<&Tensor> = sites.iter().map(|site| &site.rate).collect();
        let mean = Tensor::f_stack(&rates, 0)?.f_mean(tch::Kind::Float)?;
        Ok(Some(KlRates { mean, sites }))
    }
}
