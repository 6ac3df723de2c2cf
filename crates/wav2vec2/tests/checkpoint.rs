//! Every layout that a checkpoint comes in is read as the same weights, and every damaged one is refused by name.

use std::path::{Path, PathBuf};

use klang_wav2vec2::checkpoint::{Checkpoint, Fit, Head, read_safetensors, write_safetensors};
use klang_wav2vec2::{Linear, LoraConfig, ModelConfig, Projection, Result, Store, Wav2Vec2};
use tch::{Device, Kind, Tensor};

const ROOT: &str = "wav2vec2";

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn config() -> ModelConfig {
    ModelConfig::read(&golden("layer-pre/config.json")).unwrap()
}

/// Parameters of the golden model `layer-pre` and a head, declared or as zeros.
fn parameters(store: &Store, config: &ModelConfig) -> Vec<(String, Tensor)> {
    Wav2Vec2::new(&(store.root() / ROOT), config).unwrap();
    Linear::new(&(store.root() / "lm_head"), config.hidden_size, 11).unwrap();
    store.named()
}

fn fit(checkpoint: &Checkpoint, head: Head) -> Result<Fit> {
    checkpoint.fit(&parameters(&Store::declaring(), &config()), ROOT, head)
}

fn load(path: &Path, head: Head) -> (Vec<(String, Tensor)>, Fit) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let fit = fit(&checkpoint, head).unwrap();
    let parameters = parameters(&Store::new(Device::Cpu), &config());
    fit.copy(&checkpoint, &parameters).unwrap();
    (parameters, fit)
}

fn weights() -> Vec<(String, Tensor)> {
    read_safetensors(&golden("layer-pre/model.safetensors")).unwrap().into_iter().collect()
}

/// A folder whose `model.safetensors` holds these.
fn folder(tensors: &[(String, Tensor)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_safetensors(&folder.path().join("model.safetensors"), tensors, &[]).unwrap();
    folder
}

/// That a checkpoint holds the golden weights, but for the head where it is left out.
#[track_caller]
fn assert_golden(path: &Path, head: Head) -> Fit {
    let (loaded, fit) = load(path, head);
    let expected = weights();
    let mut compared = 0;
    for (name, tensor) in loaded {
        let (_, expected) = expected.iter().find(|(other, _)| *other == name).unwrap();
        if head == Head::Load || !name.starts_with("lm_head") {
            assert!(tensor.equal(expected), "{name}");
            compared += 1;
        }
    }
    assert!(compared > 50);
    fit
}

fn renamed(rename: impl Fn(&str) -> Option<String>) -> tempfile::TempDir {
    let tensors: Vec<_> = weights().into_iter().filter_map(|(name, tensor)| Some((rename(&name)?, tensor))).collect();
    folder(&tensors)
}

#[test]
fn one_file_and_shards() {
    assert_golden(&golden("layer-pre"), Head::Load);
    let folder = tempfile::tempdir().unwrap();
    let mut map = serde_json::Map::new();
    let weights = weights();
    for (number, part) in weights.chunks(weights.len() / 3 + 1).enumerate() {
        let file = format!("model-{number:05}-of-00003.safetensors");
        write_safetensors(&folder.path().join(&file), part, &[]).unwrap();
        map.extend(part.iter().map(|(name, _)| (name.clone(), file.clone().into())));
    }
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
    std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert_golden(folder.path(), Head::Load);
}

#[test]
fn torchs_files_old_and_new() {
    for file in ["zip.bin", "legacy.bin"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(golden("files").join(file), folder.path().join("pytorch_model.bin")).unwrap();
        assert_golden(folder.path(), Head::Load);
    }
}

#[test]
fn fairseqs_file_states_its_shape_and_brings_its_weights() {
    let path = golden("files/fairseq.pt");
    let fit = assert_golden(&path, Head::Fresh);
    assert!(fit.skipped.iter().any(|name| name == "quantizer.vars"), "{:?}", fit.skipped);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let stated = checkpoint.fairseq().unwrap();
    assert_eq!(stated.normalize, Some(true));
    // Everything that shapes the network; dropouts are the recipe's.
    let mut expected = ModelConfig { feat_proj_dropout: stated.config.feat_proj_dropout, ..config() };
    // What is compared in pretraining is as wide as the encoder where the file states no other width.
    expected.contrastive.codevector_dim = 16;
    expected.contrastive.proj_codevector_dim = 16;
    assert_eq!(stated.config, expected);
}

#[test]
fn both_spellings_of_weight_norm() {
    let old = renamed(|name| {
        let name = name.replace("parametrizations.weight.original0", "weight_g");
        Some(name.replace("parametrizations.weight.original1", "weight_v"))
    });
    assert_golden(old.path(), Head::Load);
}

#[test]
fn a_bare_model_and_one_from_pretraining() {
    let bare = renamed(|name| name.strip_prefix("wav2vec2.").map(str::to_string));
    let fit = assert_golden(bare.path(), Head::Fresh);
    assert_eq!(fit.fresh, ["lm_head.bias", "lm_head.weight"]);

    let mut tensors: Vec<_> = weights().into_iter().filter(|(name, _)| !name.starts_with("lm_head")).collect();
    let mut add = |name: &str| tensors.push((name.to_string(), Tensor::zeros([3], (Kind::Float, Device::Cpu))));
    for name in ["quantizer.codevectors", "quantizer.weight_proj.bias", "project_hid.weight", "project_q.bias"] {
        add(name);
    }
    assert_eq!(assert_golden(folder(&tensors).path(), Head::Fresh).skipped.len(), 4);
    tensors.push(("speaker_head.weight".into(), Tensor::zeros([3], (Kind::Float, Device::Cpu))));
    let checkpoint = Checkpoint::open(folder(&tensors).path()).unwrap();
    let message = self::fit(&checkpoint, Head::Fresh).unwrap_err().to_string();
    assert!(message.contains("speaker_head.weight: unexpected") && !message.contains("quantizer"), "{message}");
}

#[test]
fn half_precision_is_read_as_what_it_holds() {
    for kind in [Kind::Half, Kind::BFloat16] {
        let halved: Vec<_> = weights().into_iter().map(|(name, tensor)| (name, tensor.to_kind(kind))).collect();
        let (loaded, _) = load(folder(&halved).path(), Head::Load);
        for (name, tensor) in loaded {
            let (_, half) = halved.iter().find(|(other, _)| *other == name).unwrap();
            assert_eq!(tensor.kind(), Kind::Float);
            assert!(tensor.equal(&half.to_kind(Kind::Float)), "{name}");
        }
    }
}

/// The adapters and the head of the golden MMS model, each number one greater.
fn another_language() -> Vec<(String, Tensor)> {
    let tensors = read_safetensors(&golden("mms/model.safetensors")).unwrap().into_iter();
    let own = tensors.filter(|(name, _)| name.contains("adapter_layer") || name.starts_with("lm_head"));
    own.map(|(name, tensor)| (name, tensor + 1.0)).collect()
}

#[test]
fn adapters_of_another_language_are_laid_over() {
    let config = ModelConfig::read(&golden("mms/config.json")).unwrap();
    let mut checkpoint = Checkpoint::open(&golden("mms")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adapter.tur.safetensors");
    write_safetensors(&file, &another_language(), &[]).unwrap();
    checkpoint.lay_over(&file).unwrap();
    let fit = checkpoint.fit(&parameters(&Store::declaring(), &config), ROOT, Head::Load).unwrap();
    let store = Store::new(Device::Cpu);
    fit.copy(&checkpoint, &parameters(&store, &config)).unwrap();
    let base = read_safetensors(&golden("mms/model.safetensors")).unwrap();
    for (name, tensor) in store.named() {
        let other = name.contains("adapter_layer") || name.starts_with("lm_head");
        let expected = if other { &base[&name] + 1.0 } else { base[&name].shallow_clone() };
        assert!(tensor.equal(&expected), "{name}");
    }
}

#[test]
fn half_a_language_or_more_than_one_is_not_laid_over() {
    let mut half = another_language();
    let (missing, _) = half.remove(0);
    let mut more = another_language();
    more.push((BIAS.into(), Tensor::zeros([16], (Kind::Float, Device::Cpu))));
    for (tensors, said) in [(half, format!("{missing}: missing")), (more, format!("{BIAS}: neither an adapter's"))] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("adapter.tur.safetensors");
        write_safetensors(&file, &tensors, &[]).unwrap();
        let message = Checkpoint::open(&golden("mms")).unwrap().lay_over(&file).unwrap_err().to_string();
        assert!(message.contains(&said) && message.contains("adapter.tur"), "{message}");
    }
}

#[test]
fn fresh_adapters_and_factors_are_asked_for_where_the_checkpoint_has_none() {
    let lora = LoraConfig { rank: 2, alpha: 4.0, projections: [Projection::Query].into() };
    let config = ModelConfig { adapter_attn_dim: Some(3), lora: Some(lora), ..config() };
    let checkpoint = Checkpoint::open(&golden("layer-pre")).unwrap();
    let fit = checkpoint.fit(&parameters(&Store::declaring(), &config), ROOT, Head::Load).unwrap();
    // Two blocks: six tensors of an adapter each, and two factors.
    assert_eq!(fit.fresh.len(), 2 * (6 + 2), "{:?}", fit.fresh);
    let other = ModelConfig {
        adapter_attn_dim: Some(3),
        num_hidden_layers: 3,
        ..ModelConfig::read(&golden("mms/config.json")).unwrap()
    };
    let checkpoint = Checkpoint::open(&golden("mms")).unwrap();
    let message = checkpoint.fit(&parameters(&Store::declaring(), &other), ROOT, Head::Load).unwrap_err().to_string();
    assert!(message.contains("layers.2.adapter_layer.norm.bias: missing"), "{message}");
}

/// That a checkpoint of these tensors is refused with each of `parts`.
#[track_caller]
fn refused(tensors: &[(String, Tensor)], parts: &[&str]) {
    let folder = folder(tensors);
    let message = fit(&Checkpoint::open(folder.path()).unwrap(), Head::Load).unwrap_err().to_string();
    for part in parts.iter().chain(&["model.safetensors"]) {
        assert!(message.contains(part), "{part} not in:\n{message}");
    }
}

fn changed(name: &str, change: impl Fn(&Tensor) -> Option<Tensor>) -> Vec<(String, Tensor)> {
    let change = |(other, tensor): (String, Tensor)| {
        let tensor = if other == name { change(&tensor)? } else { tensor };
        Some((other, tensor))
    };
    weights().into_iter().filter_map(change).collect()
}

const BIAS: &str = "wav2vec2.encoder.layer_norm.bias";

#[test]
fn a_missing_tensor() {
    refused(&changed(BIAS, |_| None), &["encoder.layer_norm.bias: missing"]);
}

#[test]
fn a_tensor_too_many() {
    let mut tensors = weights();
    tensors.push(("wav2vec2.encoder.layers.2.layer_norm.weight".into(), tensors[0].1.shallow_clone()));
    refused(&tensors, &["encoder.layers.2.layer_norm.weight: unexpected"]);
}

#[test]
fn a_tensor_of_another_shape() {
    let wrong = Tensor::zeros([17], (Kind::Float, Device::Cpu));
    refused(&changed(BIAS, |_| Some(wrong.shallow_clone())), &["encoder.layer_norm.bias: shape [17]", "[16]"]);
}

#[test]
fn a_tensor_of_another_type() {
    refused(&changed(BIAS, |bias| Some(bias.to_kind(Kind::Int64))), &["encoder.layer_norm.bias: type I64"]);
}

#[test]
fn every_tensor_that_does_not_fit_is_named_at_once() {
    let mut tensors = changed(BIAS, |_| None);
    tensors.retain(|(name, _)| name != "lm_head.bias");
    tensors.push(("stranger".into(), Tensor::zeros([1], (Kind::Float, Device::Cpu))));
    refused(&tensors, &["encoder.layer_norm.bias: missing", "lm_head.bias: missing", "stranger: unexpected"]);
}

#[test]
fn a_configuration_far_larger_than_the_weights_is_refused_before_memory_is_taken() {
    // 256 blocks of 16384 channels: 3.3 TiB in fp32, were they allocated.
    let huge = ModelConfig { hidden_size: 1 << 14, num_hidden_layers: 256, intermediate_size: 1 << 16, ..config() };
    let checkpoint = Checkpoint::open(&golden("layer-pre")).unwrap();
    let message = checkpoint.fit(&parameters(&Store::declaring(), &huge), ROOT, Head::Load).unwrap_err().to_string();
    assert!(message.contains("shape [16], where the configuration has [16384]"), "{}", &message[..300]);
}

/// The golden file's header and data, changed and written again.
fn damaged(change: impl Fn(&mut serde_json::Value, &mut Vec<u8>)) -> Vec<u8> {
    let bytes = std::fs::read(golden("layer-pre/model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut data = bytes[8 + length..].to_vec();
    change(&mut header, &mut data);
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

#[track_caller]
fn unreadable(what: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    std::fs::write(&file, bytes).unwrap();
    let message = Checkpoint::open(folder.path()).expect_err(what).to_string();
    assert!(message.contains("model.safetensors"), "{what}: {message}");
}

#[test]
fn a_file_cut_short_anywhere() {
    let bytes = std::fs::read(golden("layer-pre/model.safetensors")).unwrap();
    for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        unreadable(&format!("{length} bytes"), &bytes[..length]);
    }
    unreadable("one byte long", &[&bytes[..], &[0]].concat());
}

#[test]
fn a_header_longer_than_the_file() {
    let bytes = std::fs::read(golden("layer-pre/model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    for length in [u64::MAX, 1 << 40, 90 << 20, bytes.len() as u64, length - 9] {
        unreadable(&format!("{length}"), &[&length.to_le_bytes()[..], &bytes[8..]].concat());
    }
}

#[test]
fn offsets_that_overlap_or_leave_the_file() {
    unreadable(
        "overlap",
        &damaged(|header, _| header[BIAS]["data_offsets"] = header["lm_head.bias"]["data_offsets"].clone()),
    );
    unreadable(
        "beyond the end",
        &damaged(|header, _| header[BIAS]["data_offsets"] = serde_json::json!([0, 1u64 << 62])),
    );
    unreadable("backwards", &damaged(|header, _| header[BIAS]["data_offsets"] = serde_json::json!([64, 0])));
    unreadable(
        "a size that overflows",
        &damaged(|header, _| header[BIAS]["shape"] = serde_json::json!([1u64 << 40, 1u64 << 40])),
    );
}

#[test]
fn a_type_that_contradicts_its_bytes_or_that_nobody_knows() {
    unreadable("F64 in as many bytes", &damaged(|header, _| header[BIAS]["dtype"] = "F64".into()));
    unreadable("no type", &damaged(|header, _| header[BIAS]["dtype"] = "Q17".into()));
}

#[test]
fn a_file_of_another_kind() {
    unreadable("text", b"# Not a model but a page that tells of one");
    let folder = tempfile::tempdir().unwrap();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 378\n";
    std::fs::write(folder.path().join("model.safetensors"), pointer).unwrap();
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("git lfs pull"), "{message}");
    unreadable("a picture", b"\x89PNG\r\n\x1a\n0000000000000000");
}

#[test]
fn a_pickle_that_would_run_something() {
    // What `os.system('true')` and `eval('1')` are to a pickle.
    for (global, program) in [
        ("os.system", &b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."[..]),
        ("builtins.eval", b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R."),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pytorch_model.bin");
        let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\0.";
        std::fs::write(&file, [&magic[..], program].concat()).unwrap();
        let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains(global) && message.contains("pytorch_model.bin"), "{message}");
    }
}
