//! Gradient checkpointing (Chen et al. 2016): of each block only what goes in is kept, and what happens inside is computed
//! again when its gradient is wanted.

use tch::{Kind, Tensor};

use crate::attention::AttentionContext;
use crate::block::{Block, BlockOutput};
use crate::error::Result;
use crate::frames::Frames;
use crate::noise::Branch;

/// What a training pass keeps of its blocks for [`crate::Wav2Vec2::backward`].
///
/// Their outputs begin a graph of their own: a plain backward pass ends there, and finds none of what lies below.
#[derive(Debug)]
pub struct Recomputed {
    frames: Frames,
    context: AttentionContext,
    passes: Vec<BlockPass>,
}

/// One block's part of the pass.
#[derive(Debug)]
pub(crate) struct BlockPass {
    block: usize,
    input: Tensor,
    noise: Branch,
    outputs: Vec<Tensor>, // hidden states and rates, each a leaf
}

impl BlockPass {
    /// Runs `block`, number `index`, and keeps nothing of what it computes in between.
    pub(crate) fn forward(
        (index, block): (usize, &Block),
        input: Tensor,
        frames: &Frames,
        context: &AttentionContext,
        noise: Branch,
    ) -> Result<(BlockPass, BlockOutput)> {
        let output = tch::no_grad(|| block.forward(&input, frames, context, Some(&noise.noise())))?;
        let leaf = |tensor: &Tensor| tensor.f_detach()?.f_set_requires_grad(true);
        let hidden = leaf(&output.hidden)?;
        let mut sites = output.sites;
        for rate in sites.0.iter_mut().filter_map(|site| site.rate.as_mut()) {
            *rate = leaf(rate)?;
        }
        let outputs = std::iter::once(&hidden).chain(sites.rates()).map(Tensor::shallow_clone).collect();
        Ok((BlockPass { block: index, input, noise, outputs }, BlockOutput { hidden, sites }))
    }
}

impl Recomputed {
    pub(crate) fn new(frames: &Frames, context: AttentionContext, passes: Vec<BlockPass>) -> Recomputed {
        Recomputed { frames: frames.shallow_clone(), context, passes }
    }

    /// Blocks of which the input alone was kept.
    pub fn blocks(&self) -> usize {
        self.passes.len()
    }

    /// Gradients of a scalar by `learnt`, each undefined where it took no part, block by block from the last to the first.
    pub(crate) fn backward(self, blocks: &[Block], objective: Tensor, learnt: &[Tensor]) -> Result<Vec<Tensor>> {
        let Recomputed { frames, context, passes } = self;
        let outputs = passes.iter().flat_map(|pass| &pass.outputs);
        let wanted: Vec<Tensor> = learnt.iter().chain(outputs).map(Tensor::shallow_clone).collect();
        let mut sums = Sums { gradients: wanted.iter().map(|_| Tensor::new()).collect(), wanted };
        sums.add(&objective)?;
        drop(objective);
        for BlockPass { block, input, noise, outputs } in passes.into_iter().rev() {
            let arriving = sums.take(outputs.len());
            drop(outputs);
            let again = blocks[block].forward(&input, &frames, &context, Some(&noise.noise()))?;
            let again = std::iter::once(&again.hidden).chain(again.sites.rates());
            // Σ ⟨output, gradient⟩ has the gradients that the outputs would hand on.
            let mut objective: Option<Tensor> = None;
            for (output, gradient) in again.zip(arriving).filter(|(_, gradient)| gradient.defined()) {
                let product = output.f_mul(&gradient)?.f_sum(Kind::Float)?;
                objective = Some(match objective {
                    Some(sum) => sum.f_add(&product)?,
                    None => product,
                });
            }
            // Below the lowest thing that learns there is nothing to find.
            if let Some(objective) = objective.filter(Tensor::requires_grad) {
                sums.add(&objective)?;
            }
        }
        Ok(sums.gradients)
    }
}

/// Gradients by tensors, summed over several backward passes.
struct Sums {
    wanted: Vec<Tensor>,
    gradients: Vec<Tensor>, // one for each, undefined where there was none
}

impl Sums {
    fn add(&mut self, objective: &Tensor) -> Result<()> {
        // The graph stays: WavLM's position bias stands above all blocks.
        let found = Tensor::f_run_backward(&[objective], &self.wanted, true, false)?;
        add_gradients(&mut self.gradients, found)
    }

    /// Takes the last `count` out.
    fn take(&mut self, count: usize) -> Vec<Tensor> {
        let rest = self.wanted.len().saturating_sub(count);
        self.wanted.truncate(rest);
        self.gradients.split_off(rest)
    }
}

/// Adds gradients to sums, either of which may be undefined.
///
/// # Errors
/// libtorch's own.
pub fn add_gradients(sums: &mut [Tensor], gradients: Vec<Tensor>) -> Result<()> {
    let _guard = tch::no_grad_guard();
    for (sum, gradient) in sums.iter_mut().zip(gradients) {
        match (sum.defined(), gradient.defined()) {
            // A new tensor: one that backward handed over may be seen by others.
            (true, true) => *sum = sum.f_add(&gradient)?,
            (false, true) => *sum = gradient,
            _ => {}
        }
    }
    Ok(())
}
