//! Everything that a caller can ask of a checkpoint.

use klang_pickle::{Kind, TorchFile, Value};

pub fn exercise(bytes: &[u8]) {
    let Ok(file) = TorchFile::from_bytes("fuzz.pt".as_ref(), bytes).map_err(|error| error.to_string()) else { return };
    for keys in [&[][..], &["model"]] {
        for tensor in
            file.tensors(keys).map_err(|error| error.to_string()).into_iter().flat_map(|all| all.into_values())
        {
            if let Ok(bytes) = file.read(&tensor) {
                assert_eq!(bytes.len(), tensor.shape().iter().product::<usize>() * tensor.dtype().size());
            }
        }
    }
    let mut left = 1000; // values may be shared and nested without end
    look(file.root(), &mut left, 0);
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
