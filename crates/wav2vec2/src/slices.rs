//! The numbers of a tensor, read and written where they lie.

use tch::{Device, Kind, TchError, Tensor};

/// The values of a contiguous fp32 tensor in the main memory, in row-major order.
///
/// # Errors
/// Any other tensor.
pub(crate) fn floats(tensor: &Tensor) -> Result<&[f32], TchError> {
    let first = first(tensor)?;
    // SAFETY: `first` says that there are `numel` numbers, which stay where they are while the tensor is borrowed; none of
    // the callers writes to a tensor that it reads here.
    #[allow(unsafe_code)]
    Ok(if tensor.numel() == 0 { &[] } else { unsafe { std::slice::from_raw_parts(first, tensor.numel()) } })
}

/// The same to be written: of a tensor that shares its memory with no other.
///
/// # Errors
/// As [`floats`].
pub(crate) fn floats_mut(tensor: &mut Tensor) -> Result<&mut [f32], TchError> {
    let first = first(tensor)?;
    // SAFETY: as above; nobody else has the tensor.
    #[allow(unsafe_code)]
    Ok(if tensor.numel() == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(first, tensor.numel()) } })
}

fn first(tensor: &Tensor) -> Result<*mut f32, TchError> {
    if tensor.device() != Device::Cpu || tensor.kind() != Kind::Float || !tensor.is_contiguous() {
        let (kind, device) = (tensor.kind(), tensor.device());
        return Err(TchError::Shape(format!(
            "a contiguous fp32 tensor on the CPU is wanted, not {kind:?} on {device:?}"
        )));
    }
    Ok(tensor.data_ptr().cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_order_or_not_at_all() {
        let tensor = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).view([2, 2]);
        assert_eq!(floats(&tensor).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(floats(&tensor.get(1)).unwrap(), [3.0, 4.0]);
        assert!(floats(&tensor.tr()).is_err() && floats(&tensor.to_kind(Kind::Double)).is_err());
        assert!(floats(&Tensor::zeros([0], (Kind::Float, Device::Cpu))).unwrap().is_empty());
        let mut tensor = tensor;
        floats_mut(&mut tensor).unwrap()[3] = 7.0;
        assert_eq!(tensor.double_value(&[1, 1]), 7.0);
        assert!(floats_mut(&mut tensor.tr()).is_err());
    }
}
