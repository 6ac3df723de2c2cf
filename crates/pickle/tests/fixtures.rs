//! Files that PyTorch wrote, against what PyTorch reads from them (fixtures/make.py), and damaged in thousands of ways.

mod common;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use common::{fixture, legacy, open};
use klang_pickle::{Error, Kind, TorchFile, Value};

const FILES: [&str; 5] = ["zip.pt", "legacy.pt", "deflated.pt", "fairseq.pt", "old.pt"];

fn json(name: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn tensors_are_what_pytorch_reads() {
    let expected = json("expected.json");
    for name in FILES {
        let file = TorchFile::open(&fixture(name)).unwrap();
        let keys: Vec<&str> =
            expected[name]["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
        let found: BTreeMap<String, serde_json::Value> = file
            .tensors(&keys)
            .unwrap()
            .into_iter()
            .map(|(name, tensor)| {
                let bytes = hex(&file.read(&tensor).unwrap());
                (name, serde_json::json!([tensor.dtype().to_string(), tensor.shape(), bytes]))
            })
            .collect();
        let tensors = expected[name]["tensors"].as_object().unwrap();
        assert_eq!(found.len(), tensors.len(), "{name}");
        for (tensor, value) in tensors {
            assert_eq!(&found[tensor], value, "{name}: {tensor}");
        }
    }
}

#[test]
fn stored_and_contiguous_tensors_are_not_copied() {
    let file = TorchFile::open(&fixture("zip.pt")).unwrap();
    let tensors = file.tensors(&[]).unwrap();
    assert!(matches!(file.read(&tensors["f32"]).unwrap(), Cow::Borrowed(_)));
    assert!(matches!(file.read(&tensors["tail"]).unwrap(), Cow::Borrowed(_)));
    assert!(matches!(file.read(&tensors["transposed"]).unwrap(), Cow::Owned(_)));
    assert_eq!(tensors["transposed"].storage(), tensors["f32"].storage(), "a view shares its storage");
    assert_eq!((tensors["tail"].offset(), tensors["every_third"].strides()), (8, &[3][..]));
}

#[test]
fn threads_read_one_file_together() {
    let file = TorchFile::open(&fixture("deflated.pt")).unwrap();
    let tensors = file.tensors(&[]).unwrap();
    let read = || tensors.values().map(|tensor| file.read(tensor).unwrap().into_owned()).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(read), scope.spawn(read));
        assert_eq!(one.join().unwrap(), other.join().unwrap());
    });
}

#[test]
fn a_tensor_of_another_file_is_checked_against_this_one() {
    let file = TorchFile::open(&fixture("fairseq.pt")).unwrap();
    let other = TorchFile::open(&fixture("zip.pt")).unwrap();
    for tensor in other.tensors(&[]).unwrap().values() {
        match file.read(tensor) {
            Ok(bytes) => assert_eq!(bytes.len(), tensor.shape().iter().product::<usize>() * tensor.dtype().size()),
            Err(error) => assert!(matches!(error, Error::Tensor { .. }), "{error}"),
        }
    }
}

#[test]
fn fairseqs_configuration_can_be_looked_up() {
    let file = TorchFile::open(&fixture("fairseq.pt")).unwrap();
    let root = file.root();
    let args = root.get("args").unwrap();
    assert_eq!(args.describe(), "an object of argparse.Namespace");
    assert_eq!(args.get("arch").unwrap().as_str(), Some("wav2vec2"));
    assert_eq!(args.get("encoder_layers").unwrap().as_i64(), Some(12));
    assert_eq!(args.get("dropout").unwrap().as_f64(), Some(0.1));
    assert_eq!(args.get("normalize").unwrap().as_bool(), Some(false));
    assert!(args.get("data").unwrap().is_none());
    assert!(args.get("absent").is_none());
    let mode = root.path(&["cfg", "model", "mode"]).unwrap();
    let Kind::Object { class, arguments, state: None } = mode.kind() else { panic!("{mode:?}") };
    assert_eq!((class.module(), class.name()), ("fairseq.dataclass.constants", "Choice"));
    assert_eq!(arguments.items().next().unwrap().as_str(), Some("layer_norm"));
    let history = root.get("optimizer_history").unwrap().items().next().unwrap();
    assert_eq!(history.get("num_updates").unwrap().as_i64(), Some(400_000));
    assert_eq!(history.get("best").unwrap().as_f64(), Some(f64::INFINITY));
    assert_eq!(root.path(&["extra_state", "seen"]).unwrap().items().count(), 2);
}

#[test]
fn omegaconfs_nodes_are_seen_through() {
    let file = TorchFile::open(&fixture("old.pt")).unwrap();
    let model = file.root().path(&["cfg", "model"]).unwrap();
    assert_eq!(model.get("_name").unwrap().as_str(), Some("wav2vec2"));
    assert_eq!(model.get("encoder_layers").unwrap().as_i64(), Some(12));
    assert_eq!(model.get("dropout").unwrap().as_f64(), Some(0.1));
    assert!(model.get("absent").is_none());
}

#[test]
fn what_is_no_tensor_is_named() {
    let file = TorchFile::open(&fixture("fairseq.pt")).unwrap();
    let error = file.tensors(&[]).unwrap_err().to_string();
    for line in [r#""args": is an object of argparse.Namespace"#, r#""model": is a dict of 4"#] {
        assert!(error.contains(line), "{error}");
    }
    let error = file.tensors(&["modle"]).unwrap_err().to_string();
    assert!(error.contains(r#""modle" is no entry of a dict of 5: "args", "cfg", "model""#), "{error}");
    let error = file.tensors(&["optimizer_history"]).unwrap_err().to_string();
    assert!(error.contains("there is a list of 1"), "{error}");
}

/// The notation of make.py's `show`.
fn show(value: Value) -> String {
    let items = || value.items().map(show).collect::<Vec<_>>().join(",");
    match value.kind() {
        Kind::None => "None".into(),
        Kind::Bool(true) => "True".into(),
        Kind::Bool(false) => "False".into(),
        Kind::Int(value) => value.to_string(),
        Kind::BigInt(bytes) => format!("i{}", hex(bytes)),
        Kind::Float(value) => format!("f{}", hex(&value.to_le_bytes())),
        Kind::Str(text) => format!("s{}", hex(text.as_bytes())),
        Kind::Bytes(bytes) => format!("b{}", hex(bytes)),
        Kind::List => format!("[{}]", items()),
        Kind::Tuple => format!("({})", items()),
        Kind::Set => format!("{{{}}}", items()),
        Kind::Dict => {
            let pairs: Vec<_> = value.pairs().map(|(key, value)| format!("{}:{}", show(key), show(value))).collect();
            format!("<{}>", pairs.join(","))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_data_is_read_at_every_protocol() {
    let protocols = json("protocols.json");
    for protocol in 0..=5 {
        let pickle = unhex(protocols["pickles"][protocol.to_string()].as_str().unwrap());
        let file = open(&legacy(&pickle)).unwrap();
        assert_eq!(show(file.root()), protocols["text"].as_str().unwrap(), "protocol {protocol}");
        let looped = unhex(protocols["looped"][protocol.to_string()].as_str().unwrap());
        let file = open(&legacy(&looped)).unwrap();
        let inner = (0..100).fold(file.root(), |list, _| list.items().next().unwrap());
        assert_eq!(inner.describe(), "a list of 1", "protocol {protocol}: a list that contains itself");
    }
}

/// A generator for which bytes to damage (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Everything that a caller could ask of a file.
fn exercise(bytes: &[u8]) -> bool {
    let Ok(file) = TorchFile::from_bytes(Path::new("damaged.pt"), bytes) else { return false };
    let mut read = true;
    for keys in [&[][..], &["model"]] {
        for (name, tensor) in file.tensors(keys).into_iter().flatten() {
            match file.read(&tensor) {
                Ok(bytes) => {
                    let elements: usize = tensor.shape().iter().product();
                    assert_eq!(bytes.len(), elements * tensor.dtype().size(), "{name}");
                }
                Err(_) => read = false,
            }
        }
    }
    let root = file.root();
    for (key, value) in root.pairs() {
        let _ = (key.describe(), value.kind(), value.get("arch"), value.as_f64(), value.items().count());
    }
    read
}

#[test]
fn damaged_files_are_refused_or_read_and_never_panic() {
    let mut random = Random(20240517);
    for name in FILES {
        let whole = std::fs::read(fixture(name)).unwrap();
        assert!(exercise(&whole), "{name}");
        let mut refused = 0;
        for round in 0..2000 {
            let mut bytes = whole.clone();
            match round % 4 {
                0 => bytes.truncate(random.below(whole.len())),
                1 => drop(bytes.drain(..random.below(64))),
                _ => {}
            }
            for _ in 0..=round % 8 {
                let at = random.below(bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
            refused += usize::from(!exercise(&bytes));
        }
        assert!(refused > 500, "{name}: only {refused} of 2000 damaged files were refused");
    }
}
