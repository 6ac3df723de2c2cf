//! KL-Norm's training pass and its gradients on the CPU, a frame at a time.
//!
//! As operations on tensors they are some fifty passes over memory; here each number is read once on the way there and once
//! on the way back, and between the two nothing is kept but a frame's mean and scale: the noise is drawn again.
//! Padded frames give zeros and take no part.

use std::panic::resume_unwind;

use crate::frames::Frames;
use crate::noise::Normals;

/// A site's parameters, each (channel).
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub w: Vec<f32>,
    pub b: Vec<f32>,
    /// Zeros where log σ does not follow the input.
    pub a: Vec<f32>,
    pub s: Vec<f32>,
}

/// What both directions have in common. All tensors are (batch, frame, channel), as one slice.
pub(super) struct Site {
    pub parameters: Parameters,
    pub epsilon: f32,
    /// Frames of the padded tensor.
    pub padded: usize,
    /// Real frames of each row.
    pub lengths: Vec<usize>,
    /// ε, a row a frame; none where u = μ.
    pub normals: Option<Normals>,
}

/// A frame's mean and 1 / √(v + ε).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Moments {
    mean: f32,
    scale: f32,
}

/// The objective's gradients by the parameters, each (channel).
#[derive(Debug)]
pub(super) struct Slopes {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub w: Vec<f32>,
    pub b: Vec<f32>,
    pub a: Vec<f32>,
    pub s: Vec<f32>,
}

/// Frames below which another thread is not worth its start.
const FRAMES_A_THREAD: usize = 256;

impl Site {
    pub fn new(parameters: Parameters, epsilon: f64, frames: &Frames, normals: Option<Normals>) -> Site {
        let lengths = frames.lengths.iter().map(|&length| length as usize).collect();
        Site { parameters, epsilon: epsilon as f32, padded: frames.padded as usize, lengths, normals }
    }

    fn channels(&self) -> usize {
        self.parameters.w.len()
    }

    fn is_real(&self, frame: usize) -> bool {
        self.lengths.get(frame / self.padded.max(1)).is_some_and(|&length| frame % self.padded.max(1) < length)
    }

    /// One over the frames that a rate is the mean of.
    fn share(&self) -> f64 {
        1.0 / self.lengths.iter().sum::<usize>().max(1) as f64
    }

    /// Writes z into `output`, and gives each frame's moments and each channel's rate: the mean divergence over real
    /// frames, in nats.
    pub fn forward(&self, hidden: &[f32], output: &mut [f32], threads: usize) -> (Vec<Moments>, Vec<f32>) {
        let channels = self.channels();
        let mut moments = vec![Moments::default(); hidden.len() / channels];
        let frames = per_thread(moments.len(), threads);
        let pieces = (hidden.chunks(frames * channels).zip(output.chunks_mut(frames * channels)))
            .zip(moments.chunks_mut(frames))
            .enumerate();
        let work = pieces.map(|(number, ((hidden, output), moments))| {
            move || wide(|| self.forward_piece(number * frames, hidden, output, moments))
        });
        let mut rates = vec![0f64; channels];
        for piece in side_by_side(work) {
            rates.iter_mut().zip(piece).for_each(|(sum, term)| *sum += f64::from(term));
        }
        (moments, rates.into_iter().map(|rate| (rate * self.share()) as f32).collect())
    }

    /// ε from frame `first` on.
    fn normals(&self, first: usize) -> Option<Normals> {
        let mut normals = self.normals.clone();
        if let Some(normals) = &mut normals {
            normals.seek(first, self.channels());
        }
        normals
    }

    /// The piece's divergences, summed by channel.
    #[inline(always)]
    fn forward_piece(&self, first: usize, hidden: &[f32], output: &mut [f32], moments: &mut [Moments]) -> Vec<f32> {
        let channels = self.channels();
        let mut normals = self.normals(first);
        let (mut rate, mut drawn) = (vec![0f32; channels], vec![0f32; channels]);
        let rows = hidden.chunks_exact(channels).zip(output.chunks_exact_mut(channels)).zip(moments);
        for (number, ((hidden, output), moments)) in rows.enumerate() {
            if let Some(normals) = &mut normals {
                normals.fill(&mut drawn);
            }
            if self.is_real(first + number) {
                *moments = Moments::of(hidden, self.epsilon);
                self.parameters.forward(hidden, *moments, &drawn, output, &mut rate);
            } else {
                output.fill(0.0);
            }
        }
        rate
    }

    /// Writes the gradient by the hidden states into `output`, from the one that `arrives` by z, if any, and the one by each
    /// channel's rate.
    pub fn backward(
        &self,
        hidden: &[f32],
        moments: &[Moments],
        arrives: Option<&[f32]>,
        by_rate: &[f32],
        output: &mut [f32],
        threads: usize,
    ) -> Slopes {
        let channels = self.channels();
        let share: Vec<f32> = by_rate.iter().map(|&slope| (f64::from(slope) * self.share()) as f32).collect();
        let share = share.as_slice();
        let frames = per_thread(moments.len(), threads);
        let pieces = (hidden.chunks(frames * channels).zip(output.chunks_mut(frames * channels)))
            .zip(moments.chunks(frames))
            .enumerate();
        let work = pieces.map(|(number, ((hidden, output), moments))| {
            let arrives = arrives.map(|arrives| &arrives[number * frames * channels..][..hidden.len()]);
            move || wide(|| self.backward_piece(number * frames, hidden, moments, (arrives, share), output))
        });
        let mut sums = Slopes::new(channels);
        side_by_side(work).iter().for_each(|piece| sums.add(piece));
        sums
    }

    #[inline(always)]
    fn backward_piece(
        &self,
        first: usize,
        hidden: &[f32],
        moments: &[Moments],
        (arrives, share): (Option<&[f32]>, &[f32]),
        output: &mut [f32],
    ) -> Slopes {
        let channels = self.channels();
        let mut normals = self.normals(first);
        let nothing = vec![0f32; channels];
        let mut scratch = Scratch { drawn: nothing.clone(), standard: nothing.clone(), by_standard: nothing.clone() };
        let mut slopes = Slopes::new(channels);
        let rows = hidden.chunks_exact(channels).zip(output.chunks_exact_mut(channels)).zip(moments);
        for (number, ((hidden, output), &moments)) in rows.enumerate() {
            if let Some(normals) = &mut normals {
                normals.fill(&mut scratch.drawn);
            }
            if self.is_real(first + number) {
                let arrives = arrives.map_or(nothing.as_slice(), |arrives| &arrives[number * channels..][..channels]);
                self.parameters.backward(hidden, moments, (arrives, share), &mut scratch, &mut slopes);
                scratch.finish(moments, output);
            } else {
                output.fill(0.0);
            }
        }
        slopes
    }
}

impl Moments {
    #[inline(always)]
    fn of(hidden: &[f32], epsilon: f32) -> Moments {
        let count = hidden.len() as f32;
        let mean = sum(hidden, |value| value) / count;
        let variance = sum(hidden, |value| (value - mean) * (value - mean)) / count;
        Moments { mean, scale: 1.0 / (variance + epsilon).sqrt() }
    }
}

impl Parameters {
    /// One frame: z, and its divergences added to `rate`.
    #[inline(always)]
    fn forward(&self, hidden: &[f32], moments: Moments, drawn: &[f32], output: &mut [f32], rate: &mut [f32]) {
        let count = self.w.len();
        // Slices of one length spare every bounds check below, and let the compiler take several channels at once.
        let (hidden, drawn, output, rate) =
            (&hidden[..count], &drawn[..count], &mut output[..count], &mut rate[..count]);
        let [gamma, beta, w, b, a, s] = self.slices(count);
        for c in 0..count {
            let standard = (hidden[c] - moments.mean) * moments.scale;
            let mean = w[c] * standard + b[c];
            let log_sigma = a[c] * standard + s[c];
            let sigma = exp(log_sigma);
            output[c] = gamma[c] * (mean + sigma * drawn[c]) + beta[c];
            rate[c] += 0.5 * (mean * mean + sigma * sigma - 1.0) - log_sigma;
        }
    }

    /// One frame: the gradients by x̂ into `scratch`, those by the parameters added to `slopes`.
    #[inline(always)]
    fn backward(
        &self,
        hidden: &[f32],
        moments: Moments,
        (arrives, share): (&[f32], &[f32]),
        scratch: &mut Scratch,
        slopes: &mut Slopes,
    ) {
        let count = self.w.len();
        let (hidden, arrives, drawn) = (&hidden[..count], &arrives[..count], &scratch.drawn[..count]);
        let share = &share[..count];
        let (x, by_x) = (&mut scratch.standard[..count], &mut scratch.by_standard[..count]);
        let [gamma, _, w, b, a, s] = self.slices(count);
        let (by_gamma, by_beta) = (&mut slopes.gamma[..count], &mut slopes.beta[..count]);
        let (by_w, by_b) = (&mut slopes.w[..count], &mut slopes.b[..count]);
        let (by_a, by_s) = (&mut slopes.a[..count], &mut slopes.s[..count]);
        for c in 0..count {
            let standard = (hidden[c] - moments.mean) * moments.scale;
            let mean = w[c] * standard + b[c];
            let sigma = exp(a[c] * standard + s[c]);
            let noise = sigma * drawn[c];
            let by_sample = arrives[c] * gamma[c];
            let by_mean = by_sample + share[c] * mean;
            let by_log = by_sample * noise + share[c] * (sigma * sigma - 1.0);
            by_gamma[c] += arrives[c] * (mean + noise);
            by_beta[c] += arrives[c];
            by_w[c] += by_mean * standard;
            by_b[c] += by_mean;
            by_a[c] += by_log * standard;
            by_s[c] += by_log;
            x[c] = standard;
            by_x[c] = by_mean * w[c] + by_log * a[c];
        }
    }

    #[inline(always)]
    fn slices(&self, count: usize) -> [&[f32]; 6] {
        [&self.gamma, &self.beta, &self.w, &self.b, &self.a, &self.s].map(|values| &values[..count])
    }
}

/// A frame's numbers on the way back.
struct Scratch {
    drawn: Vec<f32>,
    standard: Vec<f32>,
    by_standard: Vec<f32>,
}

impl Scratch {
    /// The gradient by the hidden states from that by x̂: what lies along the mean and along x̂ does not pass.
    #[inline(always)]
    fn finish(&self, moments: Moments, output: &mut [f32]) {
        let count = output.len();
        let (x, by_x) = (&self.standard[..count], &self.by_standard[..count]);
        let along_mean = sum(by_x, |value| value) / count as f32;
        let along_x = dot(by_x, x) / count as f32;
        for c in 0..count {
            output[c] = moments.scale * (by_x[c] - along_mean - x[c] * along_x);
        }
    }
}

impl Slopes {
    fn new(channels: usize) -> Slopes {
        let [gamma, beta, w, b, a, s] = [(); 6].map(|()| vec![0f32; channels]);
        Slopes { gamma, beta, w, b, a, s }
    }

    fn add(&mut self, other: &Slopes) {
        let pairs = [
            (&mut self.gamma, &other.gamma),
            (&mut self.beta, &other.beta),
            (&mut self.w, &other.w),
            (&mut self.b, &other.b),
            (&mut self.a, &other.a),
            (&mut self.s, &other.s),
        ];
        for (sums, terms) in pairs {
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }
}

fn per_thread(frames: usize, threads: usize) -> usize {
    frames.div_ceil(threads.clamp(1, (frames / FRAMES_A_THREAD).max(1))).max(1)
}

/// Runs pieces of work each on a thread, the first on this one, and gives their results in order.
fn side_by_side<R: Send>(mut work: impl Iterator<Item = impl FnOnce() -> R + Send>) -> Vec<R> {
    let Some(own) = work.next() else { return Vec::new() };
    std::thread::scope(|scope| {
        let others: Vec<_> = work.map(|work| scope.spawn(work)).collect();
        let own = own();
        let join = |other: std::thread::ScopedJoinHandle<R>| other.join().unwrap_or_else(|panic| resume_unwind(panic));
        std::iter::once(own).chain(others.into_iter().map(join)).collect()
    })
}

/// Runs `work` compiled for 256-bit vectors, where the processor has them: the same operations on the same numbers.
#[inline(always)]
fn wide<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn inner<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: the processor has what the function is compiled for.
        #[allow(unsafe_code)]
        return unsafe { inner(work) };
    }
    work()
}

const LANES: usize = 16;

/// Σ f(value), in lanes of their own.
#[inline(always)]
fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|&value| term(value)).sum();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += term(value);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (left, right) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(left, right)| left * right).sum();
    for (left, right) in left.zip(right) {
        for lane in 0..LANES {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// eˣ, to within 2⁻²² of itself from e⁻⁸⁷ to e⁸⁸ and held to that range: the standard library's is not computed for several
/// numbers at once. x = n ln 2 + r with |r| ≤ ½ ln 2; the rest of the series from r⁸ / 8! on is below 2⁻²⁷.
//
// What is rounded, below 0.36 by 2⁻²⁶ each: r, and two terms of r (1 + …); the sum with 1 by 2⁻²⁴, or by 2⁻²⁵ where it is below
// 1, 0.7 at least. Together below 2⁻²³ of the result, and the factors of the series' end add less.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Added, it leaves no place for fractions: the last bits are n.
    const ROUND: f32 = 12_582_912.0; // 1.5 × 2²³
    // ln 2 in two parts, of which n times the first is exact.
    const HIGH: f32 = 355.0 / 512.0;
    const LOW: f32 = -2.121_944_4e-4;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x }; // a NaN stays one
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * HIGH - n * LOW;
    let series = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let series = 1.0 / 120.0 + r * series;
    let series = 1.0 / 24.0 + r * series;
    let series = 1.0 / 6.0 + r * series;
    let series = 0.5 + r * series;
    let series = 1.0 + r * (1.0 + r * series);
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    series * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_the_standard_librarys() {
        for step in -8_700..8_800 {
            let x = step as f32 / 100.0 + 0.003;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2f64.powi(-22), "{x}: {} for {exact}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!((exp(1e30), exp(-1e30)), (exp(88.0), exp(-87.0)));
        assert!(exp(88.0).is_finite() && exp(-87.0) > 0.0);
    }

    #[test]
    fn sums_leave_nothing_out() {
        for count in [1usize, 15, 16, 17, 100] {
            let values: Vec<f32> = (1..=count).map(|value| value as f32).collect();
            assert_eq!(sum(&values, |value| value), (count * (count + 1) / 2) as f32);
            assert_eq!(dot(&values, &values), (count * (count + 1) * (2 * count + 1) / 6) as f32);
        }
    }

    #[test]
    fn pieces_cover_all_frames() {
        for (frames, threads) in [(0, 4), (1, 4), (255, 2), (512, 2), (513, 2), (10_000, 3)] {
            let piece = per_thread(frames, threads);
            assert!(piece >= 1 && piece * threads >= frames, "{frames} on {threads}: {piece}");
            assert!(frames < 2 * FRAMES_A_THREAD || piece < frames);
            assert!(frames.div_ceil(piece) <= threads.max(1));
        }
    }
}
