//! What a pickle says of a tensor, and the arithmetic that decides whether its storage can hold it.

use std::sync::Arc;

use crate::dtype::DType;

/// What a view may repeat of a small storage, in bytes; beyond it a tensor is no larger than its storage.
const MAX_REPEATED: usize = 16 << 20;

/// Dimensions of a tensor; PyTorch itself prints and indexes no more.
pub(crate) const MAX_DIMENSIONS: usize = 64;

/// A storage as its pickle describes it. Its bytes are elsewhere.
#[derive(Debug, PartialEq)]
pub(crate) struct Storage {
    pub(crate) key: Arc<str>,
    pub(crate) dtype: DType,
    /// Elements that the pickle claims.
    pub(crate) elements: u64,
    /// A window of the storage, in elements (before PyTorch 0.4): offset and length.
    pub(crate) view: Option<(u64, u64)>,
}

/// A tensor of a checkpoint: its type, its shape and where its elements lie. [`crate::TorchFile::read`] brings them.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) offset: usize,
    pub(crate) storage: Arc<Storage>,
}

/// Where a tensor's elements lie in its storage, checked against it.
#[derive(Debug, PartialEq)]
pub(crate) enum Layout {
    /// One run of bytes, in C order.
    Contiguous { start: usize, end: usize },
    /// Elements to be gathered; their bytes together.
    Strided { bytes: usize },
}

impl TensorInfo {
    /// The type of an element.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The size of each dimension; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements to step over for one step in each dimension.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// Elements of the storage before the tensor's first.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The storage's key; tensors of one key share their elements.
    pub fn storage(&self) -> &str {
        &self.storage.key
    }

    /// Whether the elements follow one another in C order.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 && stride != expected {
                return self.shape.contains(&0);
            }
            expected = expected.saturating_mul(size);
        }
        true
    }

    /// Bytes of a tensor's storage that the pickle claims.
    pub(crate) fn claimed(&self) -> Option<u64> {
        self.storage.elements.checked_mul(self.storage.dtype.size() as u64)
    }

    /// Where the window of the storage ends that the tensor may use, in bytes; `None` for all of it.
    pub(crate) fn window(&self) -> Option<u64> {
        let (offset, length) = self.storage.view?;
        Some(offset.saturating_add(length).saturating_mul(self.storage.dtype.size() as u64))
    }

    /// Checks the tensor against a storage of `available` bytes.
    pub(crate) fn layout(&self, available: usize) -> Result<Layout, String> {
        if !self.dtype.is_readable() {
            return Err(format!(
                "its type is {}; read are float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool",
                self.dtype
            ));
        }
        let shape = &self.shape;
        let too_large = || format!("its shape {shape:?} is beyond what any file holds");
        if self.strides.len() != shape.len() {
            return Err(format!("it has {} strides for {} dimensions", self.strides.len(), shape.len()));
        }
        // A dimension of size 0 makes the tensor empty, and must not hide an overflow of the others.
        let all = shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size.max(1))).ok_or_else(too_large)?;
        let element = self.dtype.size();
        let bytes = all.checked_mul(element).ok_or_else(too_large)?;
        if shape.contains(&0) {
            return Ok(Layout::Contiguous { start: 0, end: 0 });
        }
        let last = shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |last, (&size, &stride)| last.checked_add((size - 1).checked_mul(stride)?));
        let end = last.and_then(|last| last.checked_add(1)?.checked_mul(element)).ok_or_else(too_large)?;
        if end > available {
            return Err(format!(
                "shape {shape:?}, strides {:?} and offset {} reach byte {end} of storage {:?}, which has {available}",
                self.strides, self.offset, self.storage.key
            ));
        }
        if self.is_contiguous() {
            return Ok(Layout::Contiguous { start: end.saturating_sub(bytes), end });
        }
        let limit = available.max(MAX_REPEATED);
        if bytes > limit {
            return Err(format!(
                "shape {shape:?} repeats a storage of {available} bytes to {bytes}; at most {limit} are read"
            ));
        }
        Ok(Layout::Strided { bytes })
    }

    /// The elements in C order; `None` where the storage is not the one that [`TensorInfo::layout`] was given.
    pub(crate) fn gather(&self, storage: &[u8], bytes: usize) -> Option<Vec<u8>> {
        let element = self.dtype.size();
        let mut out = Vec::with_capacity(bytes);
        let mut index = vec![0usize; self.shape.len()];
        let mut at = self.offset;
        loop {
            let start = at.checked_mul(element)?;
            out.extend_from_slice(storage.get(start..start.checked_add(element)?)?);
            // One step of the odometer: the last dimension runs fastest.
            let mut dimensions = index.iter_mut().zip(self.shape.iter().zip(&self.strides)).rev();
            loop {
                let Some((count, (&size, &stride))) = dimensions.next() else { return Some(out) };
                *count += 1;
                if *count < size {
                    at = at.checked_add(stride)?;
                    break;
                }
                *count = 0;
                at = at.checked_sub((size - 1).checked_mul(stride)?)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dtype: DType, shape: &[usize], strides: &[usize], offset: usize) -> TensorInfo {
        let storage = Arc::new(Storage { key: "0".into(), dtype, elements: 6, view: None });
        TensorInfo { dtype, shape: shape.into(), strides: strides.into(), offset, storage }
    }

    #[test]
    fn views_are_contiguous_or_gathered() {
        let storage = [0, 1, 2, 3, 4, 5];
        let whole = tensor(DType::U8, &[2, 3], &[3, 1], 0);
        assert_eq!(whole.layout(6), Ok(Layout::Contiguous { start: 0, end: 6 }));
        let row = tensor(DType::U8, &[1, 3], &[99, 1], 3);
        assert_eq!(row.layout(6), Ok(Layout::Contiguous { start: 3, end: 6 }), "a dimension of one has no stride");
        let transposed = tensor(DType::U8, &[3, 2], &[1, 3], 0);
        assert_eq!(transposed.layout(6), Ok(Layout::Strided { bytes: 6 }));
        assert_eq!(transposed.gather(&storage, 6).unwrap(), [0, 3, 1, 4, 2, 5]);
        let pairs = tensor(DType::I16, &[2], &[2], 0);
        assert_eq!(pairs.gather(&storage, 4).unwrap(), [0, 1, 4, 5]);
        let repeated = tensor(DType::U8, &[2, 2], &[0, 1], 1);
        assert_eq!(repeated.gather(&storage, 4).unwrap(), [1, 2, 1, 2]);
        assert_eq!(tensor(DType::U8, &[], &[], 5).layout(6), Ok(Layout::Contiguous { start: 5, end: 6 }));
        assert_eq!(tensor(DType::U8, &[0, 3], &[3, 1], 0).layout(0), Ok(Layout::Contiguous { start: 0, end: 0 }));
    }

    #[test]
    fn a_tensor_beyond_its_storage_is_refused() {
        for (shape, strides, offset) in [
            (&[7][..], &[1][..], 0),
            (&[6], &[1], 1),
            (&[2, 3], &[4, 1], 0),
            (&[2], &[usize::MAX], 1),
            (&[usize::MAX, usize::MAX], &[0, 0], 0),
            (&[0, usize::MAX, 2], &[1, 1, 1], 0),
            (&[1], &[1], usize::MAX),
            (&[2], &[1, 1], 0),
        ] {
            tensor(DType::U8, shape, strides, offset).layout(6).unwrap_err();
        }
        let wide = tensor(DType::F64, &[1], &[1], 0);
        assert!(wide.layout(6).unwrap_err().contains("reach byte 8"));
    }

    #[test]
    fn a_small_storage_is_not_repeated_without_bound() {
        let repeated = tensor(DType::U8, &[1 << 40], &[0], 0);
        assert!(repeated.layout(6).unwrap_err().contains("at most 16777216"));
    }

    #[test]
    fn a_type_that_no_weights_have_is_refused() {
        let complex = tensor(DType::Other { name: "complex64", size: 8 }, &[1], &[1], 0);
        assert!(complex.layout(8).unwrap_err().contains("complex64"));
    }
}
