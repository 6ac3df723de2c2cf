//! Charts in SVG, both axes logarithmic, so that a power of the size is a straight line and its slope the power.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::table::{Chart, Growth};

const SIZE: (u32, u32) = (760, 480);
/// Readable on white and told apart by those who see no red or green (Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// The chart as an SVG; none where there is nothing to draw.
pub fn draw(growth: &Growth, chart: &Chart) -> Result<Option<String>> {
    let series: Vec<(&str, Vec<(f64, f64)>)> = chart
        .keys
        .iter()
        .filter_map(|key| {
            let name = growth.columns.iter().find(|column| column.key == *key)?.name;
            let point = |point: &super::table::Point| Some((point.size, *point.figures.get(key)?));
            // A logarithm needs numbers above 0.
            let drawable = |&(x, y): &(f64, f64)| x > 0.0 && y > 0.0 && y.is_finite();
            let points: Vec<(f64, f64)> = growth.points.iter().filter_map(point).filter(drawable).collect();
            (!points.is_empty()).then_some((name, points))
        })
        .collect();
    let all = || series.iter().flat_map(|(_, points)| points);
    let (Some(x), Some(y)) = (range(all().map(|point| point.0)), range(all().map(|point| point.1))) else {
        return Ok(None);
    };
    let mut svg = String::new();
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: cannot draw: {error}", chart.name);
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let mut axes = ChartBuilder::on(&root)
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale())
            .map_err(|error| failed(&error))?;
        let mut mesh = axes.configure_mesh();
        mesh.x_desc(growth.size).y_desc(chart.unit).x_label_formatter(&number).y_label_formatter(&number);
        mesh.label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 15))
            .light_line_style(RGBColor(235, 235, 235));
        mesh.draw().map_err(|error| failed(&error))?;
        for ((name, points), colour) in series.into_iter().zip(COLOURS.into_iter().cycle()) {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            axes.draw_series(line)
                .map_err(|error| failed(&error))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            let dots = points.iter().map(|&point| Circle::new(point, 4, colour.filled()));
            axes.draw_series(dots).map_err(|error| failed(&error))?;
        }
        let mut labels = axes.configure_series_labels();
        labels.position(SeriesLabelPosition::UpperLeft).label_font(("sans-serif", 14));
        labels.background_style(WHITE.mix(0.9)).border_style(RGBColor(200, 200, 200));
        labels.draw().map_err(|error| failed(&error))?;
        root.present().map_err(|error| failed(&error))?;
    }
    Ok(Some(svg))
}

/// A little more than the numbers reach over.
fn range(numbers: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let low = numbers.clone().reduce(f64::min)?;
    let high = numbers.reduce(f64::max)?;
    Some((low / 1.3, high * 1.6))
}

/// As short as it can be read.
fn number(value: &f64) -> String {
    if *value >= 1e4 { format!("{}k", value / 1e3) } else { format!("{}", (value * 1e6).round() / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::growth;
    use super::*;

    #[test]
    fn what_was_measured_is_drawn_and_named() {
        let growth = growth();
        let svg = draw(&growth, &growth.charts[0]).unwrap().unwrap();
        // Three sizes have a figure.
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        for word in ["check, s", "audio", "seconds"] {
            assert!(svg.contains(word), "{word}");
        }
        let nothing = Chart { keys: vec!["other"], ..growth.charts[0].clone() };
        assert_eq!(draw(&growth, &nothing).unwrap(), None);
    }

    #[test]
    fn numbers_are_short() {
        let said: Vec<String> = [0.01, 0.30000000000000004, 100.0, 20000.0, 1e6].iter().map(number).collect();
        assert_eq!(said, ["0.01", "0.3", "100", "20k", "1000k"]);
    }
}
