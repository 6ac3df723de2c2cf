//! Weights: safetensors and torch's pickles.

use std::fs;

use klang_pickle::{Kind, TorchFile, Value};
use klang_wav2vec2::checkpoint::{Checkpoint, read_safetensors, write_safetensors};

use crate::{file, folder, memory::bounded};

/// A safetensors file, as weights and as a saved state.
pub fn safetensors(bytes: &[u8]) {
    let path = file("fuzz.safetensors", bytes);
    bounded(64 << 20, || {
        open(&path);
        let Ok(tensors) = read_safetensors(&path).map_err(|error| error.to_string()) else { return };
        let tensors: Vec<_> = tensors.into_iter().collect();
        let again = folder().join("again.safetensors");
        write_safetensors(&again, &tensors, &[]).expect("what was read can be written");
        let first = fs::read(&again).expect("what was written");
        let read: Vec<_> = read_safetensors(&again).expect("what was written can be read").into_iter().collect();
        assert_eq!(read.len(), tensors.len());
        write_safetensors(&again, &read, &[]).expect("what was read can be written");
        assert_eq!(fs::read(&again).expect("what was written"), first, "a second time it is the same");
    });
}

/// A file of torch's, by the reader alone and as weights, fairseq's settings among them.
pub fn torch(bytes: &[u8]) {
    pickle(bytes);
    let path = file("fuzz.pt", bytes);
    bounded(256 << 20, || open(&path));
}

/// Pickles behind a legacy file's head, so that the fuzzer need not find the magic number.
pub fn headless(bytes: &[u8]) {
    const HEAD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    pickle(&[HEAD, bytes].concat());
}

fn open(path: &std::path::Path) {
    let Ok(checkpoint) = Checkpoint::open(path).map_err(|error| error.to_string()) else { return };
    let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
    let _ = (checkpoint.head_rows(), checkpoint.fairseq());
    for name in names {
        let shape = checkpoint.shape(&name).expect("a tensor that is listed").to_vec();
        // Views of one storage may be larger than the file together, so only small ones are copied.
        if shape.iter().try_fold(1i64, |all, &size| all.checked_mul(size)).is_some_and(|count| count < 1 << 20)
            && let Ok(tensor) = checkpoint.tensor(&name).map_err(|error| error.to_string())
        {
            assert_eq!(tensor.size(), shape);
        }
    }
}

/// Everything that a caller can ask of a file of torch's.
fn pickle(bytes: &[u8]) {
    bounded(256 << 20, || {
        let Ok(file) = TorchFile::from_bytes("fuzz.pt".as_ref(), bytes).map_err(|error| error.to_string()) else {
            return;
        };
        for keys in [&[][..], &["model"]] {
            let tensors = file.tensors(keys).map_err(|error| error.to_string());
            for tensor in tensors.into_iter().flat_map(|all| all.into_values()) {
                if let Ok(bytes) = file.read(&tensor) {
                    assert_eq!(bytes.len(), tensor.shape().iter().product::<usize>() * tensor.dtype().size());
                }
            }
        }
        let mut left = 1000; // values may be shared and nested without end
        look(file.root(), &mut left, 0);
    });
}

fn look(value: Value, left: &mut usize, depth: usize) {
    if *left == 0 || depth > 50 {
        return;
    }
    *left -= 1;
    let _ = (value.describe(), value.as_str(), value.as_i64(), value.as_f64(), value.as_bool(), value.get("arch"));
    if let Kind::Object { arguments, state, .. } = value.kind() {
        look(arguments, left, depth + 1);
        state.into_iter().for_each(|state| look(state, left, depth + 1));
    }
    let pairs = value.pairs().flat_map(|(key, value)| [key, value]);
    value.items().chain(pairs).for_each(|part| look(part, left, depth + 1));
}
