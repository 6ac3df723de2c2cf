//! Tensors of torch's own files: a state dict, or fairseq's model within a larger whole.

use std::path::Path;

use klang_pickle::{DType, TorchFile};
use tch::{Kind, Tensor};

use super::fairseq::{self, FairseqModel};
use super::{Entry, Place};
use crate::error::{Error, Result};

/// The model that a file says it is.
type Model = Option<FairseqModel>;

/// Where fairseq keeps the weights.
const MODEL: &str = "model";

/// Every tensor of a file by name, as one of source `number`, and the model's shape where the file is fairseq's.
pub(super) fn entries(torch: &TorchFile, path: &Path, number: usize) -> Result<(Vec<(String, Entry)>, Model)> {
    let is_fairseq = torch.root().get(MODEL).is_some_and(|model| model.as_tensor().is_none());
    let tensors = torch.tensors(if is_fairseq { &[MODEL] } else { &[] })?;
    let mut entries = Vec::with_capacity(tensors.len());
    let mut strangers = Vec::new();
    for (original, info) in tensors {
        let entry = Entry {
            source: number,
            original: original.clone(),
            shape: info.shape().iter().map(|&size| size as i64).collect(),
            kind: kind_of(info.dtype()),
            dtype: info.dtype().to_string(),
            place: Place::Torch(info),
        };
        match is_fairseq.then(|| fairseq::transformers_name(&original)) {
            None => entries.push((original, entry)),
            Some(Some(name)) => entries.push((name, entry)),
            Some(None) => strangers.push(format!("{original}: not a parameter of fairseq's wav2vec 2.0")),
        }
    }
    if !strangers.is_empty() {
        return Err(Error::Mismatch { path: path.into(), problems: strangers });
    }
    let model = if is_fairseq { Some(fairseq::model(torch.root(), path)?) } else { None };
    Ok((entries, model))
}

/// A copy of one tensor, on the CPU, in the type it has in the file.
pub(super) fn tensor(torch: &TorchFile, entry: &Entry, kind: Kind) -> Result<Tensor> {
    let Place::Torch(info) = &entry.place else {
        return Err(Error::Store { name: entry.original.clone(), problem: "was looked for in another file".into() });
    };
    Ok(Tensor::f_from_data_size(&torch.read(info)?, &entry.shape, kind)?)
}

fn kind_of(dtype: DType) -> Option<Kind> {
    Some(match dtype {
        DType::F64 => Kind::Double,
        DType::F32 => Kind::Float,
        DType::F16 => Kind::Half,
        DType::Bf16 => Kind::BFloat16,
        DType::I64 => Kind::Int64,
        DType::I32 => Kind::Int,
        DType::I16 => Kind::Int16,
        DType::I8 => Kind::Int8,
        DType::U8 => Kind::Uint8,
        DType::Bool => Kind::Bool,
        _ => return None,
    })
}
