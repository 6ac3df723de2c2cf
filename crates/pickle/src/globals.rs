//! Which globals a checkpoint may name, and what klang makes of each. A global is a name here and nothing else: none is
//! imported, looked up or called. What is not listed is refused, for a file that names it was not written by training.

use crate::dtype::DType;
use crate::reader::Fault;

/// What a global stands for when a pickle calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `_rebuild_tensor(storage, offset, size, stride)`, `_v2` and `_v3` with more behind.
    Tensor,
    /// `_rebuild_tensor_v3`, whose seventh argument is the type.
    TypedTensor,
    /// `_rebuild_parameter(tensor, …)`: its tensor.
    Parameter,
    /// `_rebuild_from_type_v2(function, class, arguments, state)`: what the function makes.
    FromType,
    /// A storage class.
    Storage(DType),
    /// A dtype.
    DType(DType),
    /// `torch.Size(tuple)`: the tuple.
    Size,
    /// A dict, empty or from pairs.
    Dict,
    /// `defaultdict(factory)`: an empty dict.
    DefaultDict,
    /// A set from a list.
    Set,
    /// Bytes, empty or from a text of Latin-1, or from bytes.
    Bytes,
    /// `_codecs.encode(text, "latin1")`: bytes.
    Encode,
    /// `copyreg._reconstructor(class, base, state)`: an object of the class.
    Reconstructor,
    /// Kept by name, arguments and state.
    Inert,
}

/// Plain types of Python: calling one makes a value, and can do nothing else.
const PLAIN: [&str; 9] = ["object", "list", "tuple", "int", "long", "float", "complex", "bool", "str"];

/// Numpy's constructors, and its scalar types.
const NUMPY: [&str; 16] = [
    "dtype", "ndarray", "bool_", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "str_",
];

/// Packages that fairseq's checkpoints name as configuration.
const PACKAGES: [&str; 2] = ["fairseq", "omegaconf"];

/// The role of `module.name`, or a refusal.
pub(crate) fn role(module: &str, name: &str) -> Result<Role, Fault> {
    let role = match module {
        "torch._utils" => rebuild(name),
        "torch" | "torch.storage" | "torch.cuda" => torch(name),
        "torch._tensor" => (name == "_rebuild_from_type_v2").then_some(Role::FromType),
        "torch.nn.parameter" => matches!(name, "Parameter" | "Buffer").then_some(Role::Inert),
        "torch.serialization" => (name == "_get_layout").then_some(Role::Inert),
        "collections" => match name {
            "OrderedDict" | "Counter" => Some(Role::Dict),
            "defaultdict" => Some(Role::DefaultDict),
            "deque" => Some(Role::Inert),
            _ => None,
        },
        "builtins" | "__builtin__" => builtin(name),
        "_codecs" => (name == "encode").then_some(Role::Encode),
        "copyreg" | "copy_reg" => (name == "_reconstructor").then_some(Role::Reconstructor),
        "argparse" => (name == "Namespace").then_some(Role::Inert),
        "typing" => name.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(Role::Inert),
        "pathlib" => matches!(name, "PosixPath" | "PurePosixPath" | "Path").then_some(Role::Inert),
        "numpy.core.multiarray" | "numpy._core.multiarray" => {
            matches!(name, "scalar" | "_reconstruct").then_some(Role::Inert)
        }
        "numpy.core.numeric" | "numpy._core.numeric" => (name == "_frombuffer").then_some(Role::Inert),
        "numpy" => NUMPY.contains(&name).then_some(Role::Inert),
        "numpy.dtypes" => name.ends_with("DType").then_some(Role::Inert),
        _ => PACKAGES.iter().any(|package| within(module, package)).then_some(Role::Inert),
    };
    // Since protocol 4 a name may be a path of attributes, which could lead out of the module.
    match role {
        Some(role) if !name.contains('.') && !name.is_empty() => Ok(role),
        _ => Err(Fault::Forbidden(shown(module, name))),
    }
}

fn within(module: &str, package: &str) -> bool {
    module.strip_prefix(package).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn rebuild(name: &str) -> Option<Role> {
    match name {
        "_rebuild_tensor" | "_rebuild_tensor_v2" => Some(Role::Tensor),
        "_rebuild_tensor_v3" => Some(Role::TypedTensor),
        "_rebuild_parameter" | "_rebuild_parameter_with_state" => Some(Role::Parameter),
        "_rebuild_sparse_tensor" | "_rebuild_qtensor" | "_rebuild_meta_tensor_no_storage" => Some(Role::Inert),
        _ => None,
    }
}

fn torch(name: &str) -> Option<Role> {
    match name {
        "Size" => Some(Role::Size),
        "device" | "Tensor" | "TypedStorage" => Some(Role::Inert),
        "per_tensor_affine" | "per_channel_affine" | "per_channel_affine_float_qparams" => Some(Role::Inert),
        _ => DType::of_storage(name).map(Role::Storage).or_else(|| DType::of_attribute(name).map(Role::DType)),
    }
}

fn builtin(name: &str) -> Option<Role> {
    match name {
        "dict" => Some(Role::Dict),
        "set" | "frozenset" => Some(Role::Set),
        "bytes" | "bytearray" => Some(Role::Bytes),
        _ => PLAIN.contains(&name).then_some(Role::Inert),
    }
}

/// A global as messages show it: one line, of bounded length.
pub(crate) fn shown(module: &str, name: &str) -> String {
    let cut = |text: &str| -> String { text.chars().take(120).collect::<String>().escape_debug().collect() };
    format!("{}.{}", cut(module), cut(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_training_writes_is_listed() {
        for (module, name, expected) in [
            ("torch._utils", "_rebuild_tensor_v2", Role::Tensor),
            ("torch", "BFloat16Storage", Role::Storage(DType::Bf16)),
            ("torch.storage", "UntypedStorage", Role::Storage(DType::U8)),
            ("torch", "float32", Role::DType(DType::F32)),
            ("collections", "OrderedDict", Role::Dict),
            ("__builtin__", "set", Role::Set),
            ("argparse", "Namespace", Role::Inert),
            ("fairseq.dataclass.configs", "FairseqConfig", Role::Inert),
            ("omegaconf.dictconfig", "DictConfig", Role::Inert),
            ("typing", "Any", Role::Inert),
        ] {
            assert_eq!(role(module, name).unwrap(), expected, "{module}.{name}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("nt", "system"),
            ("builtins", "eval"),
            ("builtins", "exec"),
            ("builtins", "getattr"),
            ("builtins", "__import__"),
            ("__builtin__", "compile"),
            ("subprocess", "Popen"),
            ("torch", "load"),
            ("torch.hub", "load"),
            ("torch.serialization", "load"),
            ("torch._utils", "_import_dotted_name"),
            ("numpy", "load"),
            ("numpy.testing._private.utils", "runstring"),
            ("collections", "namedtuple"),
            ("typing", "get_type_hints"),
            ("operator", "attrgetter"),
            ("functools", "partial"),
            ("fairseqx", "Namespace"),
            ("fairseq.utils", "os.system"),
            ("argparse", "FileType"),
            ("_codecs", "decode"),
            ("copyreg", "__newobj__"),
            ("", ""),
        ] {
            let Err(Fault::Forbidden(global)) = role(module, name) else { panic!("{module}.{name} was let in") };
            assert_eq!(global, format!("{module}.{name}"));
        }
    }
}
