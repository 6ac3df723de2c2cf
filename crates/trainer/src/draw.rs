//! Randomness from (seed, purpose, what it is for), never from what ran before.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A number that depends on the seed, the purpose and each part of the subject.
pub fn seed(seed: u64, purpose: &str, subject: &[&dyn std::fmt::Display]) -> u64 {
    // FNV-1a with a separator, so that ("ab", "c") and ("a", "bc") differ.
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
    // FNV leaves the high bits of names that differ in their last letters alike, and whoever ranks by this number would
    // draw neighbours together: SplitMix64's finaliser (Steele et al. 2014) spreads every bit over all.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A generator for the subject.
pub fn generator(seed_: u64, purpose: &str, subject: &[&dyn std::fmt::Display]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed(seed_, purpose, subject))
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

    #[test]
    fn names_that_differ_in_their_last_letters_are_ranked_apart() {
        // Ten clips of each of 100 words. The smallest tenth of the seeds should hold one or so of each word: a clip is in
        // it with chance 0.1, so a word has k of 10 with a binomial chance, and 7 or more with 9e-6.
        let clips: Vec<(u64, usize)> = (0..1000)
            .map(|clip| (seed(1, "dev", &[&format!("{}_george_{}", clip / 10, clip % 10)]), clip / 10))
            .collect();
        let mut ranked = clips;
        ranked.sort_unstable();
        let mut counts = [0; 100];
        ranked[..100].iter().for_each(|&(_, word)| counts[word] += 1);
        assert!(counts.iter().all(|&count| count < 7), "{counts:?}");
    }
}
