//! Device, threads and precision: decided here, once, and said once.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind};

use crate::error::{Error, Result};

/// Where to compute, as a recipe or a command says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first GPU when there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// GPU number N.
    Cuda(usize),
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => match text.strip_prefix("cuda:").and_then(|number| number.parse().ok()) {
                Some(number) => Ok(DeviceChoice::Cuda(number)),
                None => Err(format!("device `{text}`; allowed: auto, cpu, cuda, cuda:N")),
            },
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> String {
        choice.to_string()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// In what to compute, as a recipe or a command says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionChoice {
    /// bf16 where the device computes it faster, else fp32.
    #[default]
    Auto,
    /// 32-bit floats.
    Fp32,
    /// bfloat16 activations and products; weights, norms, KL and CTC stay fp32.
    Bf16,
    /// Products with weights in 8-bit integers, all else fp32: on a CPU, to transcribe and to score.
    Int8,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compute {
    /// Where.
    pub device: Device,
    /// The activations' kind.
    pub kind: Kind,
    /// Whether models that are opened to transcribe or to score multiply in 8-bit integers.
    pub int8: bool,
    /// libtorch's threads on the CPU.
    pub threads: i32,
}

impl Compute {
    /// Decides and sets up; to be called once, before the first tensor.
    ///
    /// # Errors
    /// A GPU that was asked for and is not there, or int8 where there is none.
    pub fn decide(device: DeviceChoice, precision: PrecisionChoice, threads: Option<usize>) -> Result<Compute> {
        load_cuda();
        if let Some(threads) = threads {
            tch::set_num_threads(threads.clamp(1, 1024) as i32);
        }
        let count = Cuda::device_count().max(0) as usize;
        let device = match device {
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Auto if count == 0 => Device::Cpu,
            DeviceChoice::Auto => Device::Cuda(0),
            DeviceChoice::Cuda(number) if number < count => Device::Cuda(number),
            DeviceChoice::Cuda(_) => {
                let message = match count {
                    0 => "no GPU is seen; `klang doctor` says why, `device: auto` takes what there is".to_string(),
                    1 => "there is one GPU, cuda:0".to_string(),
                    _ => format!("there are {count} GPUs, cuda:0 to cuda:{}", count - 1),
                };
                return Err(Error::Device { given: device.to_string(), message });
            }
        };
        let kind = match precision {
            PrecisionChoice::Fp32 | PrecisionChoice::Int8 => Kind::Float,
            PrecisionChoice::Bf16 => Kind::BFloat16,
            PrecisionChoice::Auto if device.is_cuda() || cpu_has_bf16() => Kind::BFloat16,
            PrecisionChoice::Auto => Kind::Float,
        };
        let int8 = precision == PrecisionChoice::Int8;
        if int8 && device != Device::Cpu {
            let message = "8-bit products are built for the CPU: `--device cpu`, or another precision".to_string();
            return Err(Error::Device { given: "precision int8 on a GPU".into(), message });
        }
        if int8 && !klang_wav2vec2::has_int8() {
            return Err(klang_wav2vec2::Error::NoInt8.into());
        }
        Ok(Compute { device, kind, int8, threads: tch::get_num_threads() })
    }

    /// `cpu` or `cuda:N`.
    pub fn device_name(&self) -> String {
        match self.device {
            Device::Cuda(number) => format!("cuda:{number}"),
            _ => "cpu".into(),
        }
    }

    /// `fp32`, `bf16` or `int8`.
    pub fn precision_name(&self) -> &'static str {
        match self.kind {
            _ if self.int8 => "int8",
            Kind::BFloat16 => "bf16",
            _ => "fp32",
        }
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (device, precision) = (self.device_name(), self.precision_name());
        match self.device {
            Device::Cuda(_) => write!(f, "{device}, {precision}"),
            _ => {
                write!(f, "{device}, {} thread{}, {precision}", self.threads, if self.threads == 1 { "" } else { "s" })
            }
        }
    }
}

/// The processor's name; empty where the system does not tell.
pub fn processor_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    name.map_or(String::new(), |(_, name)| name.trim().into())
}

/// The names of NVIDIA's GPUs, each once; empty where there is none, or the system does not tell.
pub fn gpu_names() -> String {
    let folders = std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    let name = |folder: std::fs::DirEntry| {
        let text = std::fs::read_to_string(folder.path().join("information")).ok()?;
        text.lines().find_map(|line| Some(line.strip_prefix("Model:")?.trim().to_string()))
    };
    folders.filter_map(name).collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

/// Whether the CPU multiplies bf16 in hardware; without, libtorch's bf16 is several times slower than its fp32.
pub fn cpu_has_bf16() -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|flags| flags.split_whitespace().any(|flag| matches!(flag, "avx512_bf16" | "amx_bf16")))
}

/// Whether an NVIDIA driver is installed.
pub fn has_nvidia_driver() -> bool {
    ["/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/nvidia0"].iter().any(|path| Path::new(path).exists())
}

/// Loads libtorch's CUDA half where a driver is: the linker leaves it out of a Rust binary, which calls none of it.
fn load_cuda() {
    if !has_nvidia_driver() {
        return;
    }
    // SAFETY: the library is libtorch's own; its initialisers are what `import torch` runs too.
    #[allow(unsafe_code)]
    let library = unsafe { libloading::Library::new("libtorch_cuda.so") };
    match library {
        // Never unloaded: libtorch keeps pointers into it.
        Ok(library) => std::mem::forget(library),
        Err(_) => log_once_without_cuda(),
    }
}

/// Processor seconds that this process has used, on all cores together; none where the system does not tell.
pub fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses, and may hold anything; utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    const TICKS_PER_SECOND: f64 = 100.0; // Linux's USER_HZ, fixed for /proc
    Some(ticks / TICKS_PER_SECOND)
}

/// Largest memory that this process has held so far, MiB; none where the system does not tell.
pub fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<f64>().ok()? / 1024.0)
}

fn log_once_without_cuda() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        eprintln!("klang: an NVIDIA driver is here, but this libtorch has no CUDA half; `cargo xtask setup --cuda` installs it");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_as_they_are_written() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["gpu", "cuda:", "cuda:x", "CPU"] {
            assert!(text.parse::<DeviceChoice>().unwrap_err().contains("cuda:N"), "{text}");
        }
    }
}
