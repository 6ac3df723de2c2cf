//! Randomness from (seed, purpose, what it is for), never from what ran before.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A number that depends on the seed, the purpose and each part of the subject.
pub fn seed(seed: u64, purpose: &str, subject: &[&dyn std::fmt::Display]) -> u64 {
    // FNV-1a with a separator, so that ("ab", "c") and ("a", "bc") differ; ChaCha or libtorch does the mixing.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    feed(&seed.to_le_bytes());
    feed(purpose.as_bytes());
    for part in subject {
        feed(part.to_string().as_bytes());
    }
    hash
}

/// A generator for the subject.
pub fn generator(seed_: u64, purpose: &str, subject: &[&dyn std::fmt::Display]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed(seed_, purpose, subject))
}

/// Seeds libtorch's generators for what is drawn inside a forward: dropout and KL-Norm's noise.
pub fn seed_torch(seed_: u64, purpose: &str, subject: &[&dyn std::fmt::Display]) {
    tch::manual_seed((seed(seed_, purpose, subject) >> 1) as i64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_changes_the_seed() {
        let seeds = [
            seed(1, "mask", &[&1, &"a"]),
            seed(2, "mask", &[&1, &"a"]),
            seed(1, "noise", &[&1, &"a"]),
            seed(1, "mask", &[&2, &"a"]),
            seed(1, "mask", &[&1, &"b"]),
            seed(1, "mask", &[&11, &""]),
            seed(1, "mask", &[&1, &"1"]),
        ];
        let distinct: std::collections::BTreeSet<u64> = seeds.into();
        assert_eq!(distinct.len(), seeds.len());
        assert_eq!(seed(1, "mask", &[&1, &"a"]), seeds[0]);
    }
}
