//! Some utterances of dev as spectrograms, with the labels that the best model emits drawn over them.

use super::html::{escape, share};
use crate::drawing::Raster;
use crate::emissions::{EmissionPath, EmittedLabel};

/// The view box, and where in it the spectrogram begins and ends at most.
const WIDTH: f64 = 1180.0;
const FRAME: [f64; 2] = [60.0, 1130.0];
/// A second's width, at most.
const SECOND: f64 = 600.0;
/// Rows for tokens above the spectrogram, and the height of one.
const LANES: usize = 3;
const LANE: f64 = 16.0;
/// Height of the spectrogram.
const HEIGHT: f64 = 132.0;
/// Where the spectrogram begins.
const TOP: f64 = LANE * LANES as f64 + 10.0;
/// Greys that are told apart: two of the file's levels are one.
const GREYS: u8 = 8;
/// What is drawn of a file that holds more.
const MOST_BANDS: usize = 128;
const MOST_FRAMES: usize = 1024;

/// The utterances that there are; empty where there are none. `update` is the best checkpoint's.
pub(super) fn spectrograms(paths: &[EmissionPath], update: u64) -> String {
    let figures: String = paths.iter().take(3).map(figure).collect();
    if figures.is_empty() {
        return figures;
    }
    format!(
        "<h2>What is emitted where, at update {}</h2>\n<p>Utterances of dev at the quartiles of word errors: log-mel spectrum, and over it the labels of the greedy path, each at the frame in which it begins; the higher its line, the more probable it was there. Between them the blank is the likeliest. ␣ stands between words.</p>\n{figures}",
        super::html::count(update)
    )
}

fn figure(path: &EmissionPath) -> String {
    let rows: Vec<Vec<u8>> = path.spectrogram.iter().take(MOST_BANDS).rev().map(|band| levels(band)).collect();
    let frames = rows.iter().map(Vec::len).max().unwrap_or(0);
    let rate = path.frames_per_second;
    if frames == 0 || !(1.0..=1000.0).contains(&rate) {
        return String::new();
    }
    let seconds = frames as f64 / rate;
    let [left, most] = FRAME;
    let second = ((most - left) / seconds).min(SECOND);
    let (right, bottom) = (left + second * seconds, TOP + HEIGHT);
    let mut svg = format!(
        "<rect class=empty fill=#f5f7f9 x={left} y={TOP} width={:.1} height={HEIGHT} />\n<g class=raster fill=none stroke=#2362b5 shape-rendering=crispEdges transform=\"translate({left} {TOP}) scale({:.4} {:.4})\">\n{}</g>\n",
        right - left,
        second / rate,
        HEIGHT / rows.len() as f64,
        Raster { rows: &rows }.paths(|level| format!(
            "class=sound stroke=#1b1f24 stroke-opacity={:.2}",
            0.9 * f64::from(level) / f64::from(GREYS)
        ))
    );
    svg += &axes(seconds, second, [left, right]);
    let mut ends = [f64::MIN; LANES];
    let emitted = path.labels.iter().filter(|label| label.frame < frames && label.probability.is_finite());
    for EmittedLabel { token, frame, probability } in emitted {
        let time = *frame as f64 / rate;
        let probability = probability.clamp(0.0, 1.0);
        // Through the middle of its frame.
        let x = left + second * (time + 0.5 / rate);
        let y = bottom - HEIGHT * probability;
        let wide = 8.0 * token.chars().count() as f64 + 4.0;
        // The lowest row that is free there; where none is, the one that is free first.
        let start = x - wide / 2.0;
        let free = (0..LANES).find(|&lane| ends[lane] <= start);
        let lane = free.or_else(|| (0..LANES).min_by(|&a, &b| ends[a].total_cmp(&ends[b]))).unwrap_or(0);
        ends[lane] = start + wide;
        svg += &format!(
            "<g class=emitted><title>{} at {time:.2} s: {}</title><line class=halo stroke=#fff stroke-width=4 x1={x:.1} x2={x:.1} y1={bottom} y2={y:.1} /><line stroke=#c8590f stroke-width=2 x1={x:.1} x2={x:.1} y1={bottom} y2={y:.1} /><circle fill=#c8590f cx={x:.1} cy={y:.1} r=3 /><text text-anchor=middle x={x:.1} y={:.1}>{}</text></g>\n",
            escape(token),
            share(probability),
            TOP - 10.0 - LANE * lane as f64,
            escape(token)
        );
    }
    let speaker = path.speaker.as_deref().map(|speaker| format!(" · <bdi>{}</bdi>", escape(speaker)));
    format!(
        "<figure><figcaption><b><bdi>{}</bdi></b>{}<br>said: <bdi class=words>{}</bdi><br>recognised: <bdi class=words>{}</bdi></figcaption>\n<svg viewBox=\"0 0 {WIDTH} {:.0}\" font-size=11 role=img aria-label=\"Spectrogram and emitted labels\">\n{svg}</svg></figure>\n",
        escape(&path.id),
        speaker.unwrap_or_default(),
        escape(&path.reference),
        escape(&path.text),
        bottom + 22.0
    )
}

/// Hexadecimal digits as greys; what is no digit is silence.
fn levels(band: &str) -> Vec<u8> {
    let digit = |digit: char| digit.to_digit(16).unwrap_or(0) as u8;
    band.chars().take(MOST_FRAMES).map(|character| digit(character).div_ceil(2)).collect()
}

/// Seconds below, frequency and probability beside.
fn axes(seconds: f64, second: f64, [left, right]: [f64; 2]) -> String {
    let bottom = TOP + HEIGHT;
    let step = if seconds > 5.0 { 1.0 } else { 0.5 };
    let mut svg = format!(
        "<text class=end text-anchor=end x={x:.1} y={:.1}>high</text><text class=end text-anchor=end x={x:.1} y={bottom:.1}>low</text>\n<text x={:.1} y={:.1}>100 %</text><text x={:.1} y={bottom:.1}>0</text>\n",
        TOP + 9.0,
        right + 6.0,
        TOP + 9.0,
        right + 6.0,
        x = left - 6.0
    );
    for tick in 0..=(seconds / step) as u32 {
        let time = f64::from(tick) * step;
        let x = left + time * second;
        svg += &format!(
            "<line class=axis stroke=#5f6772 x1={x:.1} x2={x:.1} y1={bottom} y2={:.1} /><text class=middle text-anchor=middle x={x:.1} y={:.1}>{time} s</text>\n",
            bottom + 4.0,
            bottom + 17.0
        );
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(token: &str, frame: usize, probability: f64) -> EmittedLabel {
        EmittedLabel { token: token.into(), frame, probability }
    }

    fn path(labels: Vec<EmittedLabel>) -> EmissionPath {
        EmissionPath {
            id: "u1".into(),
            speaker: Some("anna".into()),
            reference: "ab".into(),
            text: "a".into(),
            frames_per_second: 100.0,
            labels,
            spectrogram: vec!["0".repeat(50) + &"f".repeat(50), "1".repeat(100)],
        }
    }

    #[test]
    fn labels_stand_at_their_frames_as_high_as_they_were_probable() {
        let page = spectrograms(&[path(vec![label("a", 0, 1.0), label("b", 50, 0.25), label("c", 51, 0.5)])], 60);
        // 1 s is 600 units from 60; the middle of frame 0 lies at 0.005 s, of frame 50 at 0.505 s.
        // 132 units of height up from 190: 1 is at 58, 0.25 at 157.
        assert!(page.contains("<circle fill=#c8590f cx=63.0 cy=58.0 r=3 />"), "{page}");
        assert!(page.contains("<circle fill=#c8590f cx=363.0 cy=157.0 r=3 />"), "{page}");
        assert!(page.contains("<title>b at 0.50 s: 25.0\u{a0}%</title>"), "{page}");
        // Frame 51 lies 6 units on, too near for a token in the same row.
        assert!(page.contains("x=363.0 y=48.0>b<") && page.contains("x=369.0 y=32.0>c<"), "{page}");
        // The low band is below: 50 silent frames, then 50 of the loudest. Above it, all are of the faintest grey.
        assert!(page.contains("stroke-opacity=0.90 d=\"M50 1.5h50\""), "{page}");
        assert!(page.contains("stroke-opacity=0.11 d=\"M0 0.5h100\""), "{page}");
        assert!(page.contains("at update 60"), "{page}");
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        let page =
            spectrograms(&[path(vec![label("x", 100, 0.5), label("y", usize::MAX, 0.5), label("z", 5, f64::NAN)])], 1);
        assert!(page.contains("<figure>") && !page.contains("class=emitted"), "{page}");
        let wild = |change: fn(&mut EmissionPath)| {
            let mut path = path(Vec::new());
            change(&mut path);
            spectrograms(&[path], 1)
        };
        for change in [
            (|path| path.frames_per_second = f64::NAN) as fn(&mut EmissionPath),
            |path| path.frames_per_second = 0.0,
            |path| path.spectrogram.clear(),
            |path| path.spectrogram = vec![String::new(); 3],
        ] {
            assert_eq!(wild(change), "");
        }
        let page = wild(|path| path.spectrogram = vec!["é<zz".into(), "x".repeat(1 << 20)]);
        assert!(page.len() < 4000 && !page.contains("<zz"), "{page}");
        assert_eq!(spectrograms(&[], 1), "");
    }

    #[test]
    fn names_and_tokens_are_text_never_markup() {
        let evil = "<script>&\"";
        let mut hostile = path(vec![label(evil, 3, 0.5)]);
        (hostile.id, hostile.speaker) = (evil.into(), Some(evil.into()));
        (hostile.reference, hostile.text) = (evil.into(), evil.into());
        let page = spectrograms(&[hostile], 1);
        assert_eq!(page.matches("&lt;script&gt;&amp;&quot;").count(), 6, "{page}");
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn three_of_ten_seconds_stay_small() {
        let band = |number: usize| (0..500).map(|frame| format!("{:x}", (frame * 7919 + number * 31) % 16)).collect();
        let mut long = path((0..150).map(|number| label("e", number * 3, 0.9)).collect());
        long.spectrogram = (0..40).map(band).collect();
        let page = spectrograms(&[long.clone(), long.clone(), long.clone(), long], 1);
        assert_eq!(page.matches("<figure>").count(), 3);
        assert!(page.len() < 750_000, "{}", page.len());
    }
}
