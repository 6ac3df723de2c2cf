//! What names an utterance and a model's convolutions: digests whose definition stays.

use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use crate::error::Result;
use crate::model::Recogniser;

use super::record::FORMAT;

/// The first half of a SHA-256.
///
/// What is on disk outlives this build, and the standard library's hasher is another one from release to release. SHA-256
/// is a dependency already and never changes. At the 1 GB/s that it was measured to have with the processor's own SHA
/// instructions it takes 2 ms for the 1.6 MB of samples and features that ten seconds of Base are, and a few times that
/// without them; the convolutions take a second on the same core.
pub(super) type Hash = [u8; 16];

/// The hash of some bytes.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    half(Sha256::new_with_prefix(bytes))
}

fn half(digest: Sha256) -> Hash {
    let whole: [u8; 32] = digest.finalize().into();
    std::array::from_fn(|index| whole[index])
}

/// The samples of an utterance, by 128 bits of hash and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Heard {
    pub samples: u64,
    pub hash: Hash,
}

impl Heard {
    /// By the bits of the samples, as the model hears them.
    pub(super) fn new(samples: &[f32]) -> Heard {
        let mut digest = Sha256::new();
        let mut bytes = [0u8; 4096];
        for piece in samples.chunks(bytes.len() / size_of::<f32>()) {
            for (place, sample) in bytes.chunks_exact_mut(size_of::<f32>()).zip(piece) {
                place.copy_from_slice(&sample.to_le_bytes());
            }
            digest.update(&bytes[..size_of_val(piece)]);
        }
        Heard { samples: samples.len() as u64, hash: half(digest) }
    }
}

/// A digest of everything about a model that decides its features: the convolutions' weights, the configuration that says
/// how they are applied, the kind they compute in, klang's version, and [`FORMAT`].
pub(super) fn of_convolutions(model: &Recogniser) -> Result<[u8; 32]> {
    let config = &model.spec.config;
    let applied = serde_json::json!({
        "format": FORMAT,
        // Another version may compute other bits.
        "klang": env!("CARGO_PKG_VERSION"),
        "kind": format!("{:?}", model.compute.kind),
        "little_endian": cfg!(target_endian = "little"),
        "feat_extract_norm": config.feat_extract_norm,
        "feat_extract_activation": config.feat_extract_activation,
        "conv_dim": config.conv_dim,
        "conv_kernel": config.conv_kernel,
        "conv_stride": config.conv_stride,
        "conv_bias": config.conv_bias,
    });
    let mut digest = Sha256::new_with_prefix(applied.to_string());
    for (name, weight) in model.parameters() {
        // The family's prefix changes nothing.
        let Some((_, name)) = name.split_once("feature_extractor.") else { continue };
        digest.update(format!("\n{name} {:?} {:?}\n", weight.kind(), weight.size()));
        digest.update(bytes_of(&weight.f_to_device(Device::Cpu)?)?);
    }
    Ok(digest.finalize().into())
}

/// A tensor's elements as they lie in memory, in row-major order.
pub(super) fn bytes_of(tensor: &Tensor) -> Result<Vec<u8>> {
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_contiguous()?.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_samples_is_the_one_that_is_on_disk_already() {
        // printf '\0\0\200\77\0\0\0\300' | sha256sum: 1 and -2 in fp32, lowest byte first.
        let heard = Heard::new(&[1.0, -2.0]);
        assert_eq!(heard.samples, 2);
        assert_eq!(hex(&heard.hash), "ee4ac73c2bd27756ab82780f27c73a7b");
        assert_eq!(heard.hash, hash(&[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]));
    }

    #[test]
    fn every_sample_counts_wherever_it_stands() {
        let silence = vec![0.0f32; 3000];
        let hashes = [0, 1023, 1024, 2047, 2999].map(|place| {
            let mut samples = silence.clone();
            samples[place] = -0.0;
            Heard::new(&samples)
        });
        for (index, heard) in hashes.iter().enumerate() {
            assert!(*heard != Heard::new(&silence) && !hashes[..index].contains(heard), "{index}");
        }
        assert_ne!(Heard::new(&silence), Heard::new(&silence[1..]));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
