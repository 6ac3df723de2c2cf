//! The numbers of a tensor, read where they lie.

use tch::{Device, Kind, Tensor};

/// The values of an fp32 tensor in the main memory, in row-major order; none of any other, or where they do not lie in
/// that order without gaps.
pub(crate) fn floats(tensor: &Tensor) -> Option<&[f32]> {
    if tensor.device() != Device::Cpu || tensor.kind() != Kind::Float || !tensor.is_contiguous() {
        return None;
    }
    if tensor.numel() == 0 {
        return Some(&[]);
    }
    // SAFETY: a contiguous fp32 tensor on the CPU holds `numel` numbers from `data_ptr` on, which stay where they are while
    // the tensor is borrowed; none of the callers writes to a tensor that it reads here.
    #[allow(unsafe_code)]
    Some(unsafe { std::slice::from_raw_parts(tensor.data_ptr() as *const f32, tensor.numel()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_order_or_not_at_all() {
        let tensor = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).view([2, 2]);
        assert_eq!(floats(&tensor), Some(&[1f32, 2.0, 3.0, 4.0][..]));
        assert_eq!(floats(&tensor.get(1)), Some(&[3f32, 4.0][..]));
        assert_eq!(floats(&tensor.tr()), None);
        assert_eq!(floats(&tensor.to_kind(Kind::Double)), None);
        assert_eq!(floats(&Tensor::zeros([0], (Kind::Float, Device::Cpu))), Some(&[][..]));
    }
}
