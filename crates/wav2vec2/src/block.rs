//! One transformer block, in either order.

use tch::Tensor;

use crate::adapter::Adapter;
use crate::attention::{AttentionContext, SelfAttention};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::feed_forward::FeedForward;
use crate::frames::Frames;
use crate::noise::{Noise, dropout};
use crate::norm::{Moments, Norm, Site};
use crate::parameters::Path;
use crate::sites::SiteOutcomes;

/// Where a block normalises (`do_stable_layer_norm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOrder {
    /// After each residual sum (Base).
    PostNorm,
    /// Before each branch (Large-LV60, XLSR, XLS-R).
    PreNorm,
}

/// Attention and feed-forward network with their residuals and norms (`encoder.layers.N`).
#[derive(Debug)]
pub struct Block {
    index: usize,
    attention: SelfAttention,
    feed_forward: FeedForward,
    attention_norm: Norm,
    feed_forward_norm: Norm,
    adapter: Option<Adapter>,
    order: BlockOrder,
    dropout: f64,
}

/// What a block gives.
#[derive(Debug)]
pub struct BlockOutput {
    /// (batch, frame, channel).
    pub hidden: Tensor,
    /// What its norms give beside, in training.
    pub sites: SiteOutcomes,
}

impl Block {
    /// Registers block number `index` under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn new(path: &Path, config: &ModelConfig, index: usize) -> Result<Block> {
        let norm =
            |name, site| config.norm.build(&(path / name), site, index, config.hidden_size, config.layer_norm_eps);
        Ok(Block {
            index,
            attention: SelfAttention::new(&(path / "attention"), config)?,
            feed_forward: FeedForward::new(&(path / "feed_forward"), config)?,
            attention_norm: norm("layer_norm", Site::Attention)?,
            feed_forward_norm: norm("final_layer_norm", Site::FeedForward)?,
            adapter: config
                .adapter_attn_dim
                .map(|width| Adapter::new(&(path / "adapter_layer"), config.hidden_size, width))
                .transpose()?,
            order: config.block_order(),
            dropout: config.hidden_dropout,
        })
    }

    /// (batch, frame, channel) to the same; no noise means evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes or cannot allocate.
    pub fn forward(
        &self,
        hidden: &Tensor,
        frames: &Frames,
        context: &AttentionContext,
        noise: Option<&Noise>,
    ) -> Result<BlockOutput> {
        let mut sites = SiteOutcomes::default();
        let mut normalise = |norm: &Norm, site, hidden: &Tensor| -> Result<Tensor> {
            Ok(sites.keep(Some(self.index), site, norm.forward(hidden, frames, noise)?))
        };
        let attend = |input: &Tensor| -> Result<Tensor> {
            dropout(self.attention.forward(input, context, noise)?, self.dropout, noise)
        };
        let hidden = match self.order {
            BlockOrder::PostNorm => {
                let hidden = normalise(&self.attention_norm, Site::Attention, &hidden.f_add(&attend(hidden)?)?)?;
                let branch = self.feed_forward.forward(&hidden, noise)?;
                normalise(&self.feed_forward_norm, Site::FeedForward, &hidden.f_add(&branch)?)?
            }
            BlockOrder::PreNorm => {
                let hidden = hidden.f_add(&attend(&normalise(&self.attention_norm, Site::Attention, hidden)?)?)?;
                let branch = self
                    .feed_forward
                    .forward(&normalise(&self.feed_forward_norm, Site::FeedForward, &hidden)?, noise)?;
                hidden.f_add(&branch)?
            }
        };
        let hidden = match &self.adapter {
            Some(adapter) => hidden.f_add(&adapter.forward(&hidden)?)?,
            None => hidden,
        };
        Ok(BlockOutput { hidden, sites })
    }

    /// Has running estimates of one of its norms follow what an update saw.
    pub(crate) fn follow(&self, site: Site, moments: &Moments, momentum: f64) -> Result<()> {
        match site {
            Site::Attention => self.attention_norm.follow(moments, momentum),
            Site::FeedForward => self.feed_forward_norm.follow(moments, momentum),
            Site::Encoder => Ok(()),
        }
    }
}

impl ModelConfig {
    /// The order of the blocks.
    pub fn block_order(&self) -> BlockOrder {
        if self.do_stable_layer_norm { BlockOrder::PreNorm } else { BlockOrder::PostNorm }
    }
}
