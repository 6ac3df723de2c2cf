//! Where a long recording can be cut without cutting a word.

use crate::Waveform;

/// Step in which loudness is looked at, in seconds.
const STEP: f64 = 0.01;
/// What must be quiet around a cut, in seconds: shorter than most pauses between words, longer than a plosive's closure.
const QUIET: f64 = 0.2;

/// Seconds at which to cut a recording into pieces of at most `longest` seconds, ascending, without start and end; none where
/// it is short enough.
///
/// Each cut falls into the quietest 0.2 s of the second half of what a piece may take: pieces are between half of `longest`
/// and all of it, but the last, which may be short. Nothing is left out.
pub fn pauses(waveform: &Waveform, longest: f64) -> Vec<f64> {
    let rate = f64::from(waveform.sample_rate());
    let step = (STEP * rate).round().max(1.0) as usize;
    // Magnitudes and not squares: a click is not to outweigh a vowel.
    let levels: Vec<f64> = waveform
        .samples()
        .chunks(step)
        .map(|chunk| chunk.iter().map(|sample| f64::from(sample.abs())).sum::<f64>() / chunk.len() as f64)
        .collect();
    let seconds = |place: usize| (place * step) as f64 / rate;
    let width = ((QUIET / STEP) as usize).max(1);
    let most = (longest * rate / step as f64) as usize; // steps of a piece
    let mut cuts = Vec::new();
    if most < 2 * width {
        return cuts;
    }
    let mut start = 0;
    while levels.len() - start > most {
        // The middle of a quiet stretch, from half a piece on; the first of equals, so that silence goes on in the next.
        let places = start + most / 2..start + most - width / 2;
        let loudness = |&middle: &usize| levels[middle - width / 2..middle + width / 2].iter().sum::<f64>();
        let quietest = places.min_by(|a, b| loudness(a).total_cmp(&loudness(b)));
        let Some(cut) = quietest else { break };
        cuts.push(seconds(cut));
        start = cut;
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Speech as a tone, with silence at the given seconds.
    fn recording(length: f64, quiet: &[[f64; 2]]) -> Waveform {
        let samples = (0..(length * 16_000.0) as usize).map(|place| {
            let time = place as f64 / 16_000.0;
            let silent = quiet.iter().any(|&[start, end]| (start..end).contains(&time));
            if silent { 0.0 } else { (time * 900.0).sin() as f32 * 0.5 }
        });
        Waveform::new(samples.collect(), 16_000).unwrap()
    }

    #[test]
    fn cuts_fall_into_the_pauses() {
        let quiet = [[3.0, 3.3], [7.0, 7.4], [13.0, 13.25], [18.0, 18.5], [25.5, 26.0]];
        let cuts = pauses(&recording(30.0, &quiet), 10.0);
        // Of 0 to 10 the pause at 7, of 7.2 to 17 the one at 13, of 13 to 23 that at 18, of 18 to 28 that at 25.5.
        assert_eq!(cuts.len(), 4, "{cuts:?}");
        for (cut, [start, end]) in cuts.iter().zip([quiet[1], quiet[2], quiet[3], quiet[4]]) {
            assert!(start < *cut && *cut < end, "{cut} in {start} to {end}");
        }
    }

    #[test]
    fn no_piece_is_too_long_whatever_is_recorded() {
        for (length, longest) in [(61.0, 10.0), (60.0, 7.0), (10.02, 10.0), (100.0, 1.0)] {
            for quiet in [vec![], vec![[0.0, length]], vec![[20.0, 40.0]]] {
                let mut ends = pauses(&recording(length, &quiet), longest);
                ends.push(length);
                let mut start = 0.0;
                for end in ends {
                    assert!(end > start && end - start <= longest + 1e-9, "{start} to {end} of {length}");
                    start = end;
                }
            }
        }
        assert!(pauses(&recording(5.0, &[]), 10.0).is_empty());
    }
}
