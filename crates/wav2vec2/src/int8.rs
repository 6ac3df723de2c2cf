//! Affine maps in 8-bit integers, for evaluation on a CPU.
//!
//! Weights are rounded once, each output on a scale of its own; an input is rounded as it comes, on one scale for the whole
//! tensor (`dynamic quantisation`). Products are summed in 32-bit integers by oneDNN, through the C interface that
//! libtorch keeps for compiled models (torch/csrc/inductor/aoti_torch/c). tch binds none of it, so that the two functions
//! are looked up by name; where they are missing, this machine has no int8.

use std::ffi::{c_char, c_void};
use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::frames::convolved;

/// What follows the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// GELU, by the error function.
    Gelu,
}

/// y = x Wᵀ + b with W in 8 bits, and b perhaps zero.
#[derive(Debug)]
pub struct Int8Linear {
    weight: Tensor, // (output, input), in oneDNN's own layout
    scales: Tensor, // (output)
    zeros: Tensor,  // (output)
    bias: Tensor,   // (output)
}

// SAFETY: nothing changes the tensors after `new`, and reading a tensor from several threads is what libtorch allows; tch
// leaves the trait out since its tensors can be changed through a shared reference.
#[allow(unsafe_code)]
unsafe impl Sync for Int8Linear {}

impl Int8Linear {
    /// Rounds `weight`, (output, input) or a convolution's (output, input, kernel); `bias` is (output). Both fp32, on the
    /// CPU.
    ///
    /// # Errors
    /// A libtorch without oneDNN, or too little memory.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Int8Linear> {
        let library = library()?;
        tch::no_grad(|| {
            let most = weight_steps();
            let weight = flat(&weight.f_detach()?)?;
            let largest = weight.f_abs()?.f_amax([1i64].as_slice(), true)?;
            // A row of zeros has any scale.
            let scales = largest.f_div_scalar(most)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?;
            let rounded = weight.f_div(&scales)?.f_round()?.f_to_kind(Kind::Int8)?;
            let outputs = weight.size()[0];
            Ok(Int8Linear {
                weight: library.pack(&rounded)?,
                scales: scales.f_reshape([outputs])?,
                zeros: Tensor::f_zeros([outputs], (Kind::Int64, Device::Cpu))?,
                bias: match bias {
                    Some(bias) => bias.f_detach()?.f_contiguous()?,
                    None => Tensor::f_zeros([outputs], (Kind::Float, Device::Cpu))?,
                },
            })
        })
    }

    /// Maps the last dimension of `input`, fp32.
    ///
    /// # Errors
    /// When the last dimension is not the layer's input width.
    pub fn forward(&self, input: &Tensor, then: Then) -> Result<Tensor> {
        library()?.product(&Rounded::new(input)?, self, then)
    }

    /// Convolves one utterance, `input` (1, frame, channel) in fp32, to (1, frame, output).
    ///
    /// # Errors
    /// When libtorch refuses the shapes or cannot allocate.
    pub fn convolve(&self, input: &Tensor, kernel: i64, stride: i64, then: Then) -> Result<Tensor> {
        let (_, length, channels) = input.size3()?;
        let rounded = Rounded::new(input)?;
        let shape = [1, convolved(length, kernel, stride), kernel * channels];
        // Copied: of bytes that is cheap, unlike of floats.
        let windows = rounded.bytes.f_as_strided(shape, [length * channels, stride * channels, 1], None)?;
        library()?.product(&Rounded { bytes: windows.f_contiguous()?, ..rounded }, self, then)
    }
}

/// A convolution's weight (output, input, kernel) as that of a product with windows, (output, kernel × input); another as it
/// is.
pub(crate) fn flat(weight: &Tensor) -> Result<Tensor> {
    Ok(if weight.dim() == 3 { weight.f_permute([0, 2, 1])?.f_flatten(1, 2)? } else { weight.shallow_clone() })
}

/// A tensor in unsigned 8 bits: value = (byte − zero) × scale.
#[derive(Debug)]
struct Rounded {
    bytes: Tensor,
    scale: Tensor,
    zero: Tensor,
}

impl Rounded {
    fn new(input: &Tensor) -> Result<Rounded> {
        let input = input.f_to_kind(Kind::Float)?.f_contiguous()?;
        let bytes = Tensor::f_empty(input.size(), (Kind::Uint8, Device::Cpu))?;
        let count = input.numel();
        // SAFETY: both tensors are contiguous, on the CPU, of the kinds named here and of `count` elements; `bytes` is
        // nobody else's, and both live until the end of this function.
        #[allow(unsafe_code)]
        let (from, to) = unsafe {
            (
                std::slice::from_raw_parts(input.data_ptr() as *const f32, count),
                std::slice::from_raw_parts_mut(bytes.data_ptr() as *mut u8, count),
            )
        };
        let Grid { scale, zero } = round(from, to);
        Ok(Rounded { bytes, scale: Tensor::f_from_slice(&[scale])?, zero: Tensor::f_from_slice(&[i64::from(zero)])? })
    }
}

/// What the bytes of a rounded tensor mean.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    scale: f32,
    zero: u8,
}

/// Rounds `from` to the grid of 256 steps that spans its values and zero.
fn round(from: &[f32], to: &mut [u8]) -> Grid {
    let (mut low, mut high) = ([0f32; 16], [0f32; 16]);
    let chunks = from.chunks_exact(16);
    for (lane, &value) in chunks.remainder().iter().enumerate() {
        (low[lane], high[lane]) = (low[lane].min(value), high[lane].max(value));
    }
    for chunk in chunks {
        for lane in 0..16 {
            // Not f32::min, which asks about NaN and is slower; a NaN is passed over here as well.
            low[lane] = if chunk[lane] < low[lane] { chunk[lane] } else { low[lane] };
            high[lane] = if chunk[lane] > high[lane] { chunk[lane] } else { high[lane] };
        }
    }
    let low = low.iter().fold(0f32, |least, &value| least.min(value));
    let high = high.iter().fold(0f32, |most, &value| most.max(value));
    let scale = ((high - low) / 255.0).clamp(f32::MIN_POSITIVE, f32::MAX);
    let zero = (-low / scale).round().clamp(0.0, 255.0);
    // Added to 2²³, a number below it is rounded to an integer, which its last bits hold.
    const SHIFT: f32 = 8_388_608.0;
    let (factor, offset) = (scale.recip(), zero);
    for (byte, &value) in to.iter_mut().zip(from) {
        let place = value * factor + offset;
        let place = if place > 0.0 { place } else { 0.0 };
        let place = if place < 255.0 { place } else { 255.0 };
        *byte = (place + SHIFT).to_bits() as u8;
    }
    Grid { scale, zero: zero as u8 }
}

/// Steps of a weight on each side of zero.
///
/// Without VNNI, x86 sums pairs of products in 16 bits: 2 × 255 × 127 would overflow, 2 × 255 × 63 does not.
fn weight_steps() -> f64 {
    #[cfg(target_arch = "x86_64")]
    if !(is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni")) {
        return 63.0;
    }
    127.0
}

type Handle = *mut c_void;
type Status = i32;

/// `aoti_torch_call_dispatcher`: calls an operator by name, with its arguments and results in one array of 8-byte values.
type CallDispatcher = unsafe extern "C" fn(*const c_char, *const c_char, *mut u64) -> Status;

/// `aoti_torch_cpu__qlinear_pointwise_tensor`.
type Qlinear = unsafe extern "C" fn(
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    *const Handle,
    f64,
    i64,
    *const i32,
    *const c_char,
    *const *const f64,
    i64,
    *const c_char,
    *mut Handle,
) -> Status;

/// libtorch's functions that tch does not bind.
struct Library {
    dispatch: CallDispatcher,
    qlinear: Qlinear,
}

fn library() -> Result<&'static Library> {
    static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();
    LIBRARY.get_or_init(Library::find).as_ref().ok_or(Error::NoInt8)
}

/// Whether this libtorch multiplies 8-bit integers.
pub fn is_available() -> bool {
    library().is_ok()
}

impl Library {
    #[cfg(unix)]
    fn find() -> Option<Library> {
        let this = libloading::os::unix::Library::this();
        // SAFETY: the names are C functions of the libtorch that this process is linked with, whose signatures in 2.11 are
        // those of the types; the build refuses another version.
        #[allow(unsafe_code)]
        unsafe {
            let dispatch = *this.get::<CallDispatcher>(b"aoti_torch_call_dispatcher\0").ok()?;
            let qlinear = *this.get::<Qlinear>(b"aoti_torch_cpu__qlinear_pointwise_tensor\0").ok()?;
            Some(Library { dispatch, qlinear })
        }
    }

    #[cfg(not(unix))]
    fn find() -> Option<Library> {
        None
    }

    /// `onednn::qlinear_prepack(Tensor weight, int[]? x_shape) -> Tensor`.
    fn pack(&self, weight: &Tensor) -> Result<Tensor> {
        let weight = weight.f_contiguous()?;
        let mut stack = [weight.as_ptr() as u64, 0];
        // The call takes this handle over.
        std::mem::forget(weight);
        // SAFETY: the operator takes a tensor's handle, which it owns from now on, and an absent option (null); it leaves
        // one new handle. A handle is a pointer to an at::Tensor on the heap, as tch's is.
        #[allow(unsafe_code)]
        unsafe {
            let status = (self.dispatch)(c"onednn::qlinear_prepack".as_ptr(), c"".as_ptr(), stack.as_mut_ptr());
            if status != 0 || stack[0] == 0 {
                return Err(Error::Int8 { what: "pack a weight" });
            }
            Ok(Tensor::from_ptr(stack[0] as *mut _))
        }
    }

    fn product(&self, input: &Rounded, map: &Int8Linear, then: Then) -> Result<Tensor> {
        let float = 6i32; // c10::ScalarType::Float
        let (operation, algorithm) = match then {
            Then::Nothing => (c"none", c""),
            Then::Gelu => (c"gelu", c"none"),
        };
        let handle = |tensor: &Tensor| tensor.as_ptr() as Handle;
        let bias = handle(&map.bias);
        let mut result: Handle = std::ptr::null_mut();
        // SAFETY: every handle is a live tensor's and is only read; the strings end in zero; `result` receives a new
        // handle. A handle is a pointer to an at::Tensor on the heap, as tch's is.
        #[allow(unsafe_code)]
        unsafe {
            let status = (self.qlinear)(
                handle(&input.bytes),
                handle(&input.scale),
                handle(&input.zero),
                handle(&map.weight),
                handle(&map.scales),
                handle(&map.zeros),
                &raw const bias,
                1.0,
                0,
                &raw const float,
                operation.as_ptr(),
                std::ptr::null(),
                0,
                algorithm.as_ptr(),
                &raw mut result,
            );
            if status != 0 || result.is_null() {
                return Err(Error::Int8 { what: "multiply" });
            }
            Ok(Tensor::from_ptr(result as *mut _))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_for_the_values_to_half_a_step() {
        let values: Vec<f32> = (0..1000).map(|index| (index as f32 * 0.37).sin() * 3.0 + 1.0).collect();
        let mut bytes = vec![0; values.len()];
        let Grid { scale, zero } = round(&values, &mut bytes);
        for (&value, &byte) in values.iter().zip(&bytes) {
            let back = (f32::from(byte) - f32::from(zero)) * scale;
            // Half a step, another half where the grid's zero is rounded to a whole byte at the ends.
            assert!((back - value).abs() <= scale * 1.001, "{value} became {back}");
        }
        assert_eq!(round(&[0.0; 5], &mut [0; 5]).zero, 0);
        assert_eq!(round(&[], &mut []).zero, 0);
    }

    #[test]
    fn zero_is_exact() {
        let mut bytes = [9; 3];
        let grid = round(&[-1.0, 0.0, 2.0], &mut bytes);
        assert_eq!(bytes[1], grid.zero);
    }

    #[test]
    fn products_are_those_of_the_rounded_numbers() {
        tch::manual_seed(5);
        let (rows, inputs, outputs) = (7, 96, 40);
        let weight = Tensor::randn([outputs, inputs], (Kind::Float, Device::Cpu));
        let bias = Tensor::randn([outputs], (Kind::Float, Device::Cpu));
        // The largest bytes and weights side by side: where pairs overflow, they overflow here.
        let input = Tensor::ones([1, rows, inputs], (Kind::Float, Device::Cpu)) * 4.0
            + Tensor::rand([1, rows, inputs], (Kind::Float, Device::Cpu)) * 0.1;
        let weight = weight.sign() * (weight.abs() * 0.05 + 1.0);
        let map = Int8Linear::new(&weight, Some(&bias)).unwrap();
        let rounded = Rounded::new(&input).unwrap();
        let steps = (&weight / map.scales.unsqueeze(-1)).round();
        let bytes = rounded.bytes.to_kind(Kind::Double) - rounded.zero.to_kind(Kind::Double);
        let expected = bytes.matmul(&steps.to_kind(Kind::Double).transpose(0, 1))
            * rounded.scale.to_kind(Kind::Double)
            * map.scales.to_kind(Kind::Double)
            + &bias;
        for (then, expected) in [(Then::Nothing, expected.shallow_clone()), (Then::Gelu, expected.gelu("none"))] {
            let given = map.forward(&input, then).unwrap();
            assert_eq!(given.size(), [1, rows, outputs]);
            // Integers are exact; values below 512 pass a few fp32 roundings (2⁻²⁴ each), and GELU's own error (1e-6).
            let off = (given.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
            assert!(off < 512.0 * 8.0 / 16_777_216.0, "{then:?}: {off}");
        }
    }
}
