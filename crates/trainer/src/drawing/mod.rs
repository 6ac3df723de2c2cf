//! What reports draw with: SVG that carries its own colours.

mod canvas;
mod look;
mod raster;
mod rates;

pub(crate) use canvas::{Anchor, GRID, INK, SOFT, Svg, width};
pub(crate) use look::Look;
pub(crate) use raster::Raster;
pub(crate) use rates::picture;
