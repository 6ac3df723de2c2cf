//! The transformer: positional convolution, blocks, and the encoder's own norm.

use tch::Tensor;

use crate::attention::AttentionContext;
use crate::block::{Block, BlockOrder};
use crate::config::{Family, ModelConfig};
use crate::error::Result;
use crate::frames::Frames;
use crate::model::TrainingPass;
use crate::noise::{Noise, dropout};
use crate::norm::{Moments, Norm, Site};
use crate::parameters::Path;
use crate::positional::PositionalEmbedding;
use crate::recomputed::{BlockPass, Recomputed};
use crate::relative_position::RelativePosition;
use crate::sites::SiteOutcomes;

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

/// What the transformer gives.
#[derive(Debug)]
pub struct TransformerOutput {
    /// (batch, frame, channel).
    pub hidden: Tensor,
    /// What the norms give beside, in training.
    pub sites: SiteOutcomes,
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
        let mut sites = SiteOutcomes::default();
        let normalise = |hidden: &Tensor, sites: &mut SiteOutcomes| -> Result<Tensor> {
            Ok(sites.keep(None, Site::Encoder, self.norm.forward(hidden, frames, noise)?))
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
            sites.0.extend(output.sites.0);
        }
        if self.order == BlockOrder::PreNorm {
            hidden = normalise(&hidden, &mut sites)?;
        }
        let recomputed = recompute.then(|| Recomputed::new(frames, context, passes));
        Ok(TransformerOutput { hidden, sites, recomputed })
    }

    /// As [`crate::Wav2Vec2::follow`], with the share that the newest update has.
    pub(crate) fn follow(&self, layer: Option<usize>, site: Site, moments: &Moments, momentum: f64) -> Result<()> {
        match layer {
            None => self.norm.follow(moments, momentum),
            Some(layer) => self.blocks.get(layer).map_or(Ok(()), |block| block.follow(site, moments, momentum)),
        }
    }

    /// As [`crate::Wav2Vec2::backward`].
    pub(crate) fn backward(&self, objective: Tensor, recomputed: Recomputed, learnt: &[Tensor]) -> Result<Vec<Tensor>> {
        recomputed.backward(&self.blocks, objective, learnt)
    }
}
