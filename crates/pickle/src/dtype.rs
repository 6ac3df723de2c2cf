//! Element types, under the names that PyTorch's pickles give them.

use std::fmt;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// `torch.float64`
    F64,
    /// `torch.float32`
    F32,
    /// `torch.float16`
    F16,
    /// `torch.bfloat16`
    Bf16,
    /// `torch.int64`
    I64,
    /// `torch.int32`
    I32,
    /// `torch.int16`
    I16,
    /// `torch.int8`
    I8,
    /// `torch.uint8`
    U8,
    /// `torch.bool`, one byte an element
    Bool,
    /// A type that no speech model stores its weights in; tensors of it are named but not read.
    Other {
        /// PyTorch's name of it.
        name: &'static str,
        /// Bytes an element.
        size: usize,
    },
}

const fn other(name: &'static str, size: usize) -> DType {
    DType::Other { name, size }
}

/// The storage classes of `torch`, and what lies in them.
const STORAGES: [(&str, DType); 18] = [
    ("DoubleStorage", DType::F64),
    ("FloatStorage", DType::F32),
    ("HalfStorage", DType::F16),
    ("BFloat16Storage", DType::Bf16),
    ("LongStorage", DType::I64),
    ("IntStorage", DType::I32),
    ("ShortStorage", DType::I16),
    ("CharStorage", DType::I8),
    ("ByteStorage", DType::U8),
    ("BoolStorage", DType::Bool),
    ("UntypedStorage", DType::U8),
    ("ComplexDoubleStorage", other("complex128", 16)),
    ("ComplexFloatStorage", other("complex64", 8)),
    ("QUInt8Storage", other("quint8", 1)),
    ("QInt8Storage", other("qint8", 1)),
    ("QInt32Storage", other("qint32", 4)),
    ("QUInt4x2Storage", other("quint4x2", 1)),
    ("QUInt2x4Storage", other("quint2x4", 1)),
];

/// The dtypes of `torch`, by attribute.
const DTYPES: [(&str, DType); 26] = [
    ("float64", DType::F64),
    ("float32", DType::F32),
    ("float16", DType::F16),
    ("bfloat16", DType::Bf16),
    ("int64", DType::I64),
    ("int32", DType::I32),
    ("int16", DType::I16),
    ("int8", DType::I8),
    ("uint8", DType::U8),
    ("bool", DType::Bool),
    ("complex32", other("complex32", 4)),
    ("complex64", other("complex64", 8)),
    ("complex128", other("complex128", 16)),
    ("uint16", other("uint16", 2)),
    ("uint32", other("uint32", 4)),
    ("uint64", other("uint64", 8)),
    ("float8_e4m3fn", other("float8_e4m3fn", 1)),
    ("float8_e4m3fnuz", other("float8_e4m3fnuz", 1)),
    ("float8_e5m2", other("float8_e5m2", 1)),
    ("float8_e5m2fnuz", other("float8_e5m2fnuz", 1)),
    ("float8_e8m0fnu", other("float8_e8m0fnu", 1)),
    ("quint8", other("quint8", 1)),
    ("qint8", other("qint8", 1)),
    ("qint32", other("qint32", 4)),
    ("quint4x2", other("quint4x2", 1)),
    ("quint2x4", other("quint2x4", 1)),
];

impl DType {
    /// The elements of a storage class, by its name without a module.
    pub(crate) fn of_storage(class: &str) -> Option<DType> {
        STORAGES.iter().find(|(name, _)| *name == class).map(|&(_, dtype)| dtype)
    }

    /// The dtype that an attribute of `torch` names.
    pub(crate) fn of_attribute(attribute: &str) -> Option<DType> {
        DTYPES.iter().find(|(name, _)| *name == attribute).map(|&(_, dtype)| dtype)
    }

    /// Bytes an element.
    pub fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::Bf16 | DType::I16 => 2,
            DType::I8 | DType::U8 | DType::Bool => 1,
            DType::Other { size, .. } => size,
        }
    }

    /// Whether tensors of this type are read.
    pub fn is_readable(self) -> bool {
        !matches!(self, DType::Other { .. })
    }
}

/// PyTorch's name, without `torch.`.
impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F64 => "float64",
            DType::F32 => "float32",
            DType::F16 => "float16",
            DType::Bf16 => "bfloat16",
            DType::I64 => "int64",
            DType::I32 => "int32",
            DType::I16 => "int16",
            DType::I8 => "int8",
            DType::U8 => "uint8",
            DType::Bool => "bool",
            DType::Other { name, .. } => name,
        })
    }
}
