//! KL-Norm's rate channel by channel, of each arm that has it.

use super::block::{Block, Figure, section, slug};
use crate::compare::Results;
use crate::drawing::picture;
use crate::sites::SWITCHED_OFF;

/// The section.
pub(super) fn rates(results: &Results) -> Vec<Block> {
    let figures = results.rates.iter().filter_map(|rates| {
        let title = format!("{}, {}", rates.arm, rates.budget);
        Some(Block::Wide(Figure {
            name: slug(&["rates", &rates.arm, &rates.budget]),
            caption: format!(
                "Nats of each channel at the last evaluation of the run {}. Grey: switched off, below {SWITCHED_OFF} nats.",
                rates.run
            ),
            svg: picture(&format!("KL-Norm’s rate by site and channel: {title}"), &rates.sites)?,
            title,
        }))
    });
    section("KL-Norm’s rates", figures.collect())
}
