//! Where dropout and KL-Norm's noise come from in a training pass.

use std::cell::RefCell;
use std::sync::OnceLock;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// The random numbers of one training pass, decided by its seed.
///
/// On the CPU they come from a generator of their own: libtorch's is shared by all threads of a process, and passes that
/// run side by side would draw from it in an order that nobody knows. On a GPU they are libtorch's, drawn where they are
/// used.
#[derive(Debug)]
pub struct Noise {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Own(Box<RefCell<ChaCha8Rng>>),
    /// Its state cannot be had, but it can be seeded anew: with numbers of this one.
    Libtorch(Box<RefCell<ChaCha8Rng>>),
}

/// Random numbers of a part of a pass, which can be drawn as often as they are needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branch {
    seed: u64,
    libtorch: bool,
}

impl Branch {
    /// The branch's numbers from its beginning; on a GPU this seeds libtorch's generators.
    pub(crate) fn noise(&self) -> Noise {
        if self.libtorch { Noise::libtorch(self.seed) } else { Noise::own(self.seed) }
    }

    /// The same on the CPU as normal numbers, in rows that can be drawn in any order.
    pub(crate) fn normals(&self) -> Option<Normals> {
        (!self.libtorch).then(|| Normals { generator: ChaCha8Rng::seed_from_u64(self.seed), steps: steps() })
    }
}

impl Noise {
    /// Noise for tensors on `device`; on a GPU this seeds libtorch's generators.
    pub fn new(seed: u64, device: Device) -> Noise {
        if device == Device::Cpu { Noise::own(seed) } else { Noise::libtorch(seed) }
    }

    fn own(seed: u64) -> Noise {
        Noise { source: Source::Own(Box::new(RefCell::new(ChaCha8Rng::seed_from_u64(seed)))) }
    }

    fn libtorch(seed: u64) -> Noise {
        tch::manual_seed((seed >> 1) as i64);
        Noise { source: Source::Libtorch(Box::new(RefCell::new(ChaCha8Rng::seed_from_u64(seed)))) }
    }

    /// Draws a branch: each call gives another one.
    pub(crate) fn branch(&self) -> Branch {
        let (Source::Own(generator) | Source::Libtorch(generator)) = &self.source;
        Branch { seed: generator.borrow_mut().next_u64(), libtorch: self.is_libtorch() }
    }

    fn generator(&self) -> Option<&RefCell<ChaCha8Rng>> {
        match &self.source {
            Source::Own(generator) => Some(generator),
            Source::Libtorch(_) => None,
        }
    }

    /// Whether a fused kernel of libtorch may draw by itself.
    pub(crate) fn is_libtorch(&self) -> bool {
        self.generator().is_none()
    }

    /// Dropout (Srivastava et al. 2014): each value becomes zero with probability `chance`, 0 to 1 and kept to within
    /// 2⁻¹⁷, and what remains grows so that the mean stays.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn dropout(&self, hidden: &Tensor, chance: f64) -> Result<Tensor> {
        if chance <= 0.0 {
            return Ok(hidden.shallow_clone());
        }
        let Some(generator) = self.generator() else { return Ok(hidden.f_dropout(chance, true)?) };
        let steps = STEPS as f64;
        let dropped = (chance * steps).round().min(steps) as u32;
        let kept = if (dropped as usize) < STEPS { (steps / (steps - f64::from(dropped))) as f32 } else { 0.0 };
        let mut bytes = vec![0u8; 2 * hidden.numel()];
        generator.borrow_mut().fill_bytes(&mut bytes);
        let scales: Vec<f32> = bytes
            .chunks_exact(2)
            .map(|pair| if u32::from(u16::from_le_bytes([pair[0], pair[1]])) < dropped { 0.0 } else { kept })
            .collect();
        let scales = Tensor::f_from_slice(&scales)?.f_view(hidden.size().as_slice())?.f_to_kind(hidden.kind())?;
        Ok(hidden.f_mul(&scales)?)
    }

    /// Standard normal numbers in fp32, in the shape of `like`.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn normal_like(&self, like: &Tensor) -> Result<Tensor> {
        let Some(generator) = self.generator() else {
            return Ok(like.f_to_kind(Kind::Float)?.f_randn_like()?);
        };
        let mut values = vec![0f32; like.numel()];
        fill(&mut generator.borrow_mut(), steps(), &mut values);
        Ok(Tensor::f_from_slice(&values)?.f_view(like.size().as_slice())?)
    }

    /// Standard Gumbel numbers, −ln(−ln u), in fp32 on `device`.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn gumbel(&self, shape: &[i64], device: Device) -> Result<Tensor> {
        let Some(generator) = self.generator() else {
            let uniform = Tensor::f_rand(shape, (Kind::Float, device))?.f_clamp(1e-7, 1.0 - 1e-7)?;
            return Ok(uniform.f_log()?.f_neg()?.f_log()?.f_neg()?);
        };
        let mut generator = generator.borrow_mut();
        // The middle of one of 2³² steps: never 0 and never 1.
        let uniform = |word: u32| (f64::from(word) + 0.5) / 4_294_967_296.0;
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_: i64| -(-uniform(generator.next_u32()).ln()).ln() as f32).collect();
        Ok(Tensor::f_from_slice(&values)?.f_view(shape)?.f_to_device(device)?)
    }
}

/// Standard normal numbers in rows, each of which can be gone to.
#[derive(Clone)]
pub(crate) struct Normals {
    generator: ChaCha8Rng,
    steps: &'static [f32; STEPS],
}

/// What two random bytes tell apart.
const STEPS: usize = 1 << 16;

impl Normals {
    /// Goes to the start of row `row`, where every row before it has `width` numbers, filled at once.
    pub(crate) fn seek(&mut self, row: usize, width: usize) {
        // Two numbers to the generator's word; a row ends with a whole one.
        self.generator.set_word_pos(row as u128 * width.div_ceil(2) as u128);
    }

    pub(crate) fn fill(&mut self, values: &mut [f32]) {
        fill(&mut self.generator, self.steps, values);
    }
}

/// Draws standard normal numbers in 65,536 steps of equal probability: a table and two random bytes make one, where an exact
/// draw takes eight bytes and a branch. Mean and variance are those of the normal distribution, its tails end near 4.4.
fn fill(generator: &mut ChaCha8Rng, steps: &[f32; STEPS], values: &mut [f32]) {
    let mut bytes = [0u8; 2048];
    for values in values.chunks_mut(bytes.len() / 2) {
        let bytes = &mut bytes[..2 * values.len()];
        generator.fill_bytes(bytes);
        for (value, pair) in values.iter_mut().zip(bytes.chunks_exact(2)) {
            *value = steps[usize::from(u16::from_le_bytes([pair[0], pair[1]]))];
        }
    }
}

/// The mean of the normal distribution within each step, and all of them stretched to a variance of 1.
fn steps() -> &'static [f32; STEPS] {
    static TABLE: OnceLock<Box<[f32; STEPS]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let count = STEPS as f64;
        // The density at each step's ends: between two of them it falls by the mean times the probability.
        let ends = Tensor::linspace(0.0, 1.0, STEPS as i64 + 1, (Kind::Double, Device::Cpu)).special_ndtri();
        let density = (ends.square() * -0.5).exp() / std::f64::consts::TAU.sqrt();
        let means = (density.narrow(0, 0, STEPS as i64) - density.narrow(0, 1, STEPS as i64)) * count;
        let deviation = means.square().mean(Kind::Double).sqrt();
        let mut table = Box::new([0f32; STEPS]);
        (means / deviation).to_kind(Kind::Float).copy_data(table.as_mut_slice(), STEPS);
        table
    })
}

/// Dropout with probability `chance`, 0 to 1, where a pass draws noise; nothing in evaluation, which has none.
///
/// # Errors
/// libtorch's own.
pub fn dropout(hidden: Tensor, chance: f64, noise: Option<&Noise>) -> Result<Tensor> {
    match noise {
        Some(noise) => noise.dropout(&hidden, chance),
        None => Ok(hidden),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64) -> Noise {
        Noise::new(seed, Device::Cpu)
    }

    #[test]
    fn dropout_drops_its_share_and_keeps_the_mean() {
        let ones = Tensor::ones([1000, 1000], (Kind::Float, Device::Cpu));
        for chance in [0.05, 0.5, 0.9] {
            let dropped = noise(1).dropout(&ones, chance).unwrap();
            let zeros = 1.0 - dropped.count_nonzero(None::<i64>).double_value(&[]) / 1e6;
            // Binomial(10⁶, p): six deviations are at most 6 × ½ × 10⁻³; the chance itself is exact to 2⁻¹⁷.
            assert!((zeros - chance).abs() < 0.003 + 1.0 / 131_072.0, "{zeros} of {chance}");
            let kept = dropped.max().double_value(&[]);
            assert!((kept * (1.0 - chance) - 1.0).abs() < 1e-4, "{kept}"); // (1 − p) to 2⁻¹⁷, of 0.1 at least
        }
        assert_eq!(noise(1).dropout(&ones, 1.0).unwrap().count_nonzero(None::<i64>).int64_value(&[]), 0);
    }

    #[test]
    fn the_seed_decides_and_one_draw_follows_another() {
        let like = Tensor::zeros([3, 40], (Kind::Float, Device::Cpu));
        let (first, again, other) = (noise(1), noise(1), noise(2));
        let drawn = first.normal_like(&like).unwrap();
        assert!(drawn.equal(&again.normal_like(&like).unwrap()));
        assert!(!drawn.equal(&first.normal_like(&like).unwrap()));
        assert!(!drawn.equal(&other.normal_like(&like).unwrap()));
    }

    #[test]
    fn a_branch_is_drawn_again_and_every_branch_is_another() {
        let like = Tensor::ones([5, 40], (Kind::Float, Device::Cpu));
        let draw = |branch: Branch| {
            let noise = branch.noise();
            [noise.normal_like(&like).unwrap(), noise.dropout(&like, 0.5).unwrap()]
        };
        let noise = noise(1);
        let branches = [noise.branch(), noise.branch()];
        let [first, other] = branches.map(draw);
        let same = |a: &[Tensor; 2], b: &[Tensor; 2]| a.iter().zip(b).all(|(a, b)| a.equal(b));
        assert!(!same(&first, &other));
        assert!(same(&other, &draw(branches[1])));
        assert!(same(&first, &draw(branches[0])));
    }

    #[test]
    fn branches_of_libtorchs_numbers_have_seeds_of_their_own() {
        // Their numbers are the process's, which other tests draw from meanwhile; what they follow from is theirs.
        let seeds = |noise: Noise| (0..4).map(|_| noise.branch().seed).collect::<std::collections::BTreeSet<u64>>();
        let once = seeds(Noise::libtorch(1));
        assert_eq!(once.len(), 4);
        assert_eq!(once, seeds(Noise::libtorch(1)));
        assert!(once.is_disjoint(&seeds(Noise::libtorch(2))));
        assert!(Noise::libtorch(1).branch().normals().is_none());
    }

    #[test]
    fn rows_are_drawn_in_any_order() {
        let mut normals = noise(1).branch().normals().unwrap();
        for width in [1, 7, 768, 1024, 1025, 3001] {
            normals.seek(0, width);
            let rows = |_| {
                let mut row = vec![0f32; width];
                normals.fill(&mut row);
                row
            };
            let in_order: Vec<Vec<f32>> = (0..5).map(rows).collect();
            for row in [3, 0, 4, 1] {
                let mut drawn = vec![0f32; width];
                normals.seek(row, width);
                normals.fill(&mut drawn);
                assert_eq!(drawn, in_order[row], "row {row} of {width}");
            }
        }
    }

    #[test]
    fn normal_numbers_have_the_moments_and_the_quantiles_of_the_normal_distribution() {
        let table: Vec<f64> = steps().iter().copied().map(f64::from).collect();
        let moment = |power: i32| table.iter().map(|value| value.powi(power)).sum::<f64>() / STEPS as f64;
        // Each value is rounded to fp32, 4.4 × 2⁻²⁴ at most.
        assert!(moment(1).abs() < 3e-7 && (moment(2) - 1.0).abs() < 3e-6, "{} {}", moment(1), moment(2));
        // The fourth moment is 3; cutting tails off at z takes about 2 z³ φ(z) of it, which is 4e-3 at 4.4.
        assert!((moment(4) - 3.0).abs() < 8e-3, "{}", moment(4));
        assert!(table.is_sorted());
        // Φ(−1.959964) = 0.025, Φ(1) = 0.8413447: within a step's width, 2⁻¹⁶ over the density there.
        for (share, quantile, density) in [(0.025, -1.959_964, 0.0584), (0.841_344_7, 1.0, 0.242)] {
            let given = table[(share * STEPS as f64) as usize];
            assert!((given - quantile).abs() < 2.0 / (STEPS as f64 * density), "{given} for {quantile}");
        }
    }

    #[test]
    fn gumbel_numbers_have_the_moments_of_their_distribution() {
        let drawn = noise(1).gumbel(&[1000, 1000], Device::Cpu).unwrap().to_kind(Kind::Double);
        // Mean γ = 0.5772, variance π²/6 = 1.6449; deviations of their estimates from 10⁶ draws: 1.3e-3, and, with a kurtosis
        // of 5.4, √(4.4 × 1.6449² × 10⁻⁶) = 3.4e-3; six of each.
        let (mean, variance) = (drawn.mean(Kind::Double).double_value(&[]), drawn.var(true).double_value(&[]));
        assert!((mean - 0.577_216).abs() < 8e-3 && (variance - 1.644_934).abs() < 2.1e-2, "{mean} {variance}");
        assert!(noise(2).gumbel(&[3], Device::Cpu).unwrap().equal(&noise(2).gumbel(&[3], Device::Cpu).unwrap()));
    }

    #[test]
    fn gradients_go_through_what_was_kept() {
        let hidden = Tensor::ones([64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let dropped = noise(3).dropout(&hidden, 0.5).unwrap();
        dropped.sum(Kind::Float).backward();
        assert!(hidden.grad().equal(&dropped.detach()));
    }
}
