//! A line chart of arms, with its legend in it.

use crate::drawing::{Anchor, GRID, Look, SOFT, Svg, width};
use crate::run::report::{Axis, Unit, drawable};

const WIDTH: f64 = 560.0;
/// Left and right of the drawing.
pub(super) const ENDS: [f64; 2] = [58.0, 544.0];
/// Bottom and top of it.
const HEIGHTS: [f64; 2] = [222.0, 24.0];
/// Markers of a curve beyond which only some are drawn.
const MARKERS: usize = 10;
/// Points of a curve beyond which only some are drawn.
const POINTS: usize = 400;

/// A point, where it is finite.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) ci95: Option<[f64; 2]>,
}

/// An arm's curve.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) look: Look,
    pub(super) points: Vec<Point>,
}

/// What the vertical axis spans.
#[derive(Clone, Copy)]
pub(super) enum Span {
    /// From 0, or logarithmic where values lie far apart.
    Whole,
    /// No more than the values, and 0 where it is asked for.
    Near { zero: bool },
}

/// The chart.
pub(super) struct Chart<'a> {
    /// What it shows, in plain text.
    pub(super) label: String,
    /// What the vertical axis measures.
    pub(super) y: &'static str,
    pub(super) span: Span,
    /// The horizontal axis, from `ENDS`, and what it measures.
    pub(super) x: Axis,
    pub(super) along: &'static str,
    /// How far the curves are moved apart, so that intervals do not lie on one another.
    pub(super) dodge: f64,
    pub(super) series: Vec<Series<'a>>,
}

impl Chart<'_> {
    /// The drawing; none without a point.
    pub(super) fn draw(mut self) -> Option<Svg> {
        self.series.iter_mut().for_each(|series| series.points.retain(|point| drawable(&point.y)));
        self.series.retain(|series| !series.points.is_empty());
        let y = self.vertical()?;
        let bottom = HEIGHTS[0];
        let (legend, height) = legend(&self.series, bottom + 52.0);
        let mut svg = Svg::new(WIDTH, height, self.label);
        for &(tick, ref label) in &y.ticks {
            let place = y.place(tick);
            svg.line([ENDS[0], place], [ENDS[1], place], GRID, 1.0);
            svg.text([ENDS[0] - 6.0, place + 4.0], Anchor::End, SOFT, label);
        }
        let logarithmic = if y.logarithmic { ", logarithmic" } else { "" };
        svg.text([8.0, 12.0], Anchor::Start, SOFT, &format!("{}{logarithmic}", self.y));
        for &(tick, ref label) in &self.x.ticks {
            let place = self.x.place(tick);
            svg.line([place, bottom], [place, bottom + 4.0], SOFT, 1.0);
            svg.text([place, bottom + 17.0], Anchor::Middle, SOFT, label);
        }
        svg.line([ENDS[0], bottom], [ENDS[1], bottom], SOFT, 1.0);
        svg.text([ENDS[1], bottom + 33.0], Anchor::End, SOFT, self.along);
        if matches!(self.span, Span::Near { zero: true }) {
            svg.line([ENDS[0], y.place(0.0)], [ENDS[1], y.place(0.0)], SOFT, 1.0);
        }
        let middle = (self.series.len() as f64 - 1.0) / 2.0;
        for (number, series) in self.series.iter().enumerate() {
            let shift = (number as f64 - middle) * self.dodge;
            series.draw(&mut svg, |point| [self.x.place(point.x) + shift, y.place(point.y)], |end| y.place(end));
        }
        for (series, at) in self.series.iter().zip(legend) {
            svg.curve(&[at, [at[0] + 26.0, at[1]]], &series.look);
            svg.marker([at[0] + 13.0, at[1]], &series.look, true);
            svg.fitted([at[0] + 33.0, at[1] + 4.0], Anchor::Start, SOFT, series.name, ENDS[1] - at[0] - 33.0);
        }
        Some(svg)
    }

    fn vertical(&self) -> Option<Axis> {
        let points = self.series.iter().flat_map(|series| &series.points);
        let zero = matches!(self.span, Span::Near { zero: true }).then_some(0.0);
        let values: Vec<f64> = points
            .flat_map(|point| point.ci95.into_iter().flatten().chain([point.y]))
            .filter(drawable)
            .chain(zero)
            .collect();
        let lowest = values.iter().copied().reduce(f64::min).filter(|_| !self.series.is_empty())?;
        let highest = values.iter().copied().fold(lowest, f64::max);
        Some(match self.span {
            Span::Whole => Axis::values(&values, Unit::Magnitude, HEIGHTS),
            Span::Near { .. } => Axis::around(lowest, highest, HEIGHTS),
        })
    }
}

impl Series<'_> {
    fn draw(&self, svg: &mut Svg, place: impl Fn(&Point) -> [f64; 2], height: impl Fn(f64) -> f64) {
        let every = self.points.len().div_ceil(POINTS).max(1);
        // The last point is what a curve came to.
        let last = (self.points.len() - 1) % every;
        let points: Vec<&Point> = self.points.iter().skip(last).step_by(every).collect();
        let places: Vec<[f64; 2]> = points.iter().map(|point| place(point)).collect();
        for (point, [x, _]) in points.iter().zip(&places) {
            if let Some([low, high]) = point.ci95 {
                let [low, high] = [height(low), height(high)];
                svg.line([*x, low], [*x, high], self.look.colour, 1.3);
                for end in [low, high] {
                    svg.line([x - 3.0, end], [x + 3.0, end], self.look.colour, 1.3);
                }
            }
        }
        svg.curve(&places, &self.look);
        let every = places.len().div_ceil(MARKERS).max(1);
        for at in places.iter().rev().step_by(every) {
            svg.marker(*at, &self.look, true);
        }
    }
}

/// Where each arm's entry begins, in lines from `top`, and the height of all.
fn legend(series: &[Series], top: f64) -> (Vec<[f64; 2]>, f64) {
    let [mut x, mut y] = [ENDS[0], top];
    let places = series.iter().map(|series| {
        let wide = 50.0 + width(series.name);
        if x > ENDS[0] && x + wide > WIDTH {
            [x, y] = [ENDS[0], y + 18.0];
        }
        let at = [x, y];
        x += wide;
        at
    });
    (places.collect(), y + 14.0)
}
