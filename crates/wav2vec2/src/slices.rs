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

/// A new tensor of the shape of `like`, contiguous fp32 in the main memory, whose values `fill` writes over zeros; with what
/// it gives.
///
/// # Errors
/// When libtorch cannot allocate it.
pub(crate) fn filled<R>(like: &Tensor, fill: impl FnOnce(&mut [f32]) -> R) -> Result<(Tensor, R), TchError> {
    let tensor = Tensor::f_zeros(like.size(), (Kind::Float, Device::Cpu))?;
    let first = first(&tensor)?;
    // SAFETY: as above, and nobody else has the tensor yet.
    #[allow(unsafe_code)]
    let values =
        if tensor.numel() == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(first, tensor.numel()) } };
    let given = fill(values);
    Ok((tensor, given))
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
        let (tensor, last) = filled(&tensor.tr(), |values| std::mem::replace(&mut values[3], 7.0)).unwrap();
        assert_eq!((floats(&tensor).unwrap(), last), (&[0.0, 0.0, 0.0, 7.0][..], 0.0));
    }
}
