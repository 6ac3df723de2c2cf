//! Who takes part, as data: a contender more is a line more.

use std::fmt;

use serde::Serialize;

use super::machine::Machine;

/// What a contender computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// bfloat16.
    Bf16,
    /// 8-bit integers in matrix products.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Precision::Fp32 => "fp32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        })
    }
}

/// In what order a peer takes files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As they are given.
    Given,
    /// From short to long, so that batches hold little padding.
    Length,
}

/// How a peer is to work; the fastest of several is found by trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// What it computes in.
    pub precision: Precision,
    /// Files, or chunks, in a batch; absent where batches are filled by seconds.
    pub batch: Option<usize>,
    /// Their order.
    pub order: Order,
    /// Length of the chunks that files are cut into, without overlap; 0 for whole files.
    pub chunk_seconds: usize,
}

impl Setting {
    const fn new(precision: Precision, batch: usize, order: Order) -> Setting {
        Setting { precision, batch: Some(batch), order, chunk_seconds: 0 }
    }

    /// The same on chunks of 30 s.
    fn chunked(self) -> Setting {
        Setting { chunk_seconds: 30, ..self }
    }

    /// Whether its texts must be those of klang in fp32: whole files one by one, so that no padding is seen.
    pub fn is_exact(&self) -> bool {
        self.precision == Precision::Fp32 && self.batch == Some(1) && self.chunk_seconds == 0
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.precision)?;
        if let Some(batch) = self.batch {
            write!(formatter, ", batch {batch}")?;
        }
        if self.order == Order::Length {
            formatter.write_str(", by length")?;
        }
        if self.chunk_seconds > 0 {
            write!(formatter, ", chunks of {} s", self.chunk_seconds)?;
        }
        Ok(())
    }
}

/// How a contender is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The klang binary, with arguments behind the part's own.
    Klang {
        /// Such as `--precision int8`.
        arguments: Vec<&'static str>,
        /// What it computes in with them.
        precision: Precision,
    },
    /// A script of benches/peers, with the settings to choose from.
    Peer {
        /// The script's name.
        script: &'static str,
        /// At least one.
        settings: Vec<Setting>,
    },
    /// Python with these arguments: nothing is asked of it but to end.
    Python(Vec<&'static str>),
}

/// Who takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Its name in tables.
    pub name: &'static str,
    /// How it is started.
    pub program: Program,
    /// Variables of its environment.
    pub environment: Vec<(&'static str, &'static str)>,
}

impl Contender {
    fn klang(name: &'static str, arguments: &[&'static str], precision: Precision) -> Contender {
        Contender {
            name,
            program: Program::Klang { arguments: arguments.to_vec(), precision },
            environment: Vec::new(),
        }
    }

    fn peer(name: &'static str, script: &'static str, settings: Vec<Setting>) -> Contender {
        Contender { name, program: Program::Peer { script, settings }, environment: Vec::new() }
    }

    /// Whether this is klang in some form: it is timed whole where peers are timed at work alone.
    pub fn is_klang(&self) -> bool {
        matches!(self.program, Program::Klang { .. })
    }
}

/// klang told to multiply in 8-bit integers, with which every other contender is compared too.
pub const KLANG_INT8: &str = "klang int8";

/// klang as it is, first, as everything is compared with it; then what else it can be told.
fn klang_transcribing(machine: &Machine) -> Vec<Contender> {
    let mut all = vec![Contender::klang("klang", &[], machine.precision())];
    if machine.has_bf16() {
        all.push(Contender::klang("klang fp32", &["--precision", "fp32"], Precision::Fp32));
    }
    if machine.gpu.is_none() {
        all.push(Contender::klang(KLANG_INT8, &["--precision", "int8"], Precision::Int8));
    }
    all
}

impl Machine {
    /// What klang computes in unless told otherwise.
    fn precision(&self) -> Precision {
        if self.has_bf16() { Precision::Bf16 } else { Precision::Fp32 }
    }
}

use Order::{Given, Length};
use Precision::{Bf16, Fp32, Int8};

const TRANSFORMERS: &str = "transformers_peer.py";
const ONNX_RUNTIME: &str = "onnxruntime_peer.py";
const CTRANSLATE2: &str = "ctranslate2_peer.py";

/// Alone, and in batches of eight of like length.
fn both_batches(precision: Precision) -> Vec<Setting> {
    vec![Setting::new(precision, 1, Length), Setting::new(precision, 8, Length)]
}

/// Every precision and batch worth trying.
fn best_transformers(machine: &Machine) -> Vec<Setting> {
    let precisions: &[Precision] = if machine.has_bf16() { &[Fp32, Bf16] } else { &[Fp32] };
    // A GPU is idle between the small kernels of small batches.
    let batches: &[usize] = if machine.gpu.is_some() { &[1, 8, 32] } else { &[1, 8] };
    let settings = |&precision| batches.iter().map(move |&batch| Setting::new(precision, batch, Length));
    precisions.iter().flat_map(settings).collect()
}

/// Contenders that compute on processors alone here.
fn on_cpu(machine: &Machine, contenders: impl IntoIterator<Item = Contender>) -> Vec<Contender> {
    if machine.gpu.is_some() { Vec::new() } else { contenders.into_iter().collect() }
}

/// Programs that do nothing, or next to it.
pub fn start() -> Vec<Contender> {
    let python = |name, arguments: &[&'static str]| Contender {
        name,
        program: Program::Python(arguments.to_vec()),
        environment: vec![("HF_HUB_OFFLINE", "1")],
    };
    vec![
        Contender::klang("klang --version", &["--version"], Fp32),
        Contender::klang("klang doctor", &["doctor"], Fp32),
        python("import torch, transformers", &["-c", "import torch, transformers"]),
        python("and Wav2Vec2ForCTC", &["-c", "from transformers import Wav2Vec2ForCTC"]),
        python("import onnxruntime", &["-c", "import onnxruntime"]),
    ]
}

/// One short file.
pub fn cold(machine: &Machine) -> Vec<Contender> {
    let mut all = klang_transcribing(machine);
    all.push(Contender::peer("transformers", TRANSFORMERS, vec![Setting::new(Fp32, 1, Given)]));
    all.extend(on_cpu(
        machine,
        [
            Contender::peer("ONNX Runtime", ONNX_RUNTIME, vec![Setting::new(Fp32, 1, Given)]),
            Contender::peer("ONNX Runtime int8", ONNX_RUNTIME, vec![Setting::new(Int8, 1, Given)]),
        ],
    ));
    all
}

/// Many files.
pub fn folder(machine: &Machine) -> Vec<Contender> {
    let mut all = klang_transcribing(machine);
    all.extend([
        Contender::peer("transformers default", TRANSFORMERS, vec![Setting::new(Fp32, 8, Given)]),
        Contender::peer("transformers best", TRANSFORMERS, best_transformers(machine)),
    ]);
    all.extend(on_cpu(
        machine,
        [
            Contender::peer("ONNX Runtime", ONNX_RUNTIME, both_batches(Fp32)),
            Contender::peer("ONNX Runtime int8", ONNX_RUNTIME, both_batches(Int8)),
        ],
    ));
    all
}

/// Many files through a model in the layout of Large.
pub fn large(machine: &Machine) -> Vec<Contender> {
    let mut all = klang_transcribing(machine);
    all.push(Contender::peer("transformers best", TRANSFORMERS, best_transformers(machine)));
    all.extend(on_cpu(
        machine,
        [
            Contender::peer("CTranslate2", CTRANSLATE2, both_batches(Fp32)),
            Contender::peer("CTranslate2 int8", CTRANSLATE2, both_batches(Int8)),
        ],
    ));
    all
}

/// One long file; peers get it in chunks.
pub fn long(machine: &Machine) -> Vec<Contender> {
    let chunked = |settings: Vec<Setting>| settings.into_iter().map(Setting::chunked).collect();
    let mut all = klang_transcribing(machine);
    all.push(Contender::peer("transformers best", TRANSFORMERS, chunked(best_transformers(machine))));
    all.extend(on_cpu(
        machine,
        [
            Contender::peer("ONNX Runtime", ONNX_RUNTIME, chunked(both_batches(Fp32))),
            Contender::peer("ONNX Runtime int8", ONNX_RUNTIME, chunked(both_batches(Int8))),
        ],
    ));
    all
}

/// Training, by batches of equal seconds.
pub fn train(machine: &Machine) -> Vec<Contender> {
    let precisions = if machine.has_bf16() { vec![Fp32, Bf16] } else { vec![Fp32] };
    let by_seconds = |precision| Setting { precision, batch: None, order: Given, chunk_seconds: 0 };
    let settings = precisions.into_iter().map(by_seconds).collect();
    let precision = machine.precision();
    let mut all = vec![
        Contender::klang("klang", &[], precision),
        // What KL-Norm costs beyond the layer norm that everyone else has.
        Contender::klang("klang KL-Norm", &["--set", "model.norm.kind=kl_norm"], precision),
        Contender::peer("PyTorch loop", "training_peer.py", settings),
    ];
    if machine.gpu.is_some() {
        // On a CPU `cargo xtask growth batch` shows what it costs and saves.
        let arguments = &["--set", "train.gradient_checkpointing=true"];
        all.push(Contender::klang("klang, checkpointed", arguments, precision));
    }
    all
}

/// A product of large matrices.
pub fn matrix(precision: Precision) -> Contender {
    Contender::peer("matrix", "matrix_peer.py", vec![Setting::new(precision, 1, Given)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::gpu::Gpu;

    fn machine(flags: &[&str]) -> Machine {
        Machine { flags: flags.iter().map(|flag| flag.to_string()).collect(), ..Machine::default() }
    }

    #[test]
    fn on_a_gpu_only_those_compete_that_compute_on_it() {
        let gpu = Machine { gpu: Some(Gpu::default()), ..Machine::default() };
        for contenders in [cold(&gpu), folder(&gpu), large(&gpu), long(&gpu), train(&gpu)] {
            for contender in contenders {
                match &contender.program {
                    Program::Klang { arguments, .. } => assert!(!arguments.contains(&"int8"), "{}", contender.name),
                    Program::Peer { script, .. } => assert!([TRANSFORMERS, "training_peer.py"].contains(script)),
                    Program::Python(_) => panic!("{} does nothing", contender.name),
                }
            }
        }
        assert!(train(&gpu).iter().any(|contender| contender.name == "klang, checkpointed"));
        assert_eq!(best_transformers(&gpu).len(), 6);
    }

    #[test]
    fn klang_comes_first_and_every_peer_has_a_setting() {
        for flags in [&[][..], &["avx512_bf16"]] {
            let machine = machine(flags);
            for contenders in [cold(&machine), folder(&machine), large(&machine), long(&machine), train(&machine)] {
                assert!(contenders[0].is_klang() && contenders[0].name == "klang", "{contenders:?}");
                for contender in &contenders {
                    if let Program::Peer { settings, .. } = &contender.program {
                        assert!(!settings.is_empty(), "{}", contender.name);
                    }
                }
            }
        }
    }

    #[test]
    fn bf16_is_tried_only_where_the_machine_has_it() {
        assert_eq!(best_transformers(&machine(&["avx2"])).len(), 2);
        assert_eq!(best_transformers(&machine(&["amx_bf16"])).len(), 4);
    }

    #[test]
    fn only_whole_files_one_by_one_in_fp32_must_agree() {
        assert!(Setting::new(Fp32, 1, Length).is_exact());
        assert!(!Setting::new(Fp32, 8, Length).is_exact());
        assert!(!Setting::new(Int8, 1, Length).is_exact());
        assert!(!Setting::new(Fp32, 1, Length).chunked().is_exact());
    }

    #[test]
    fn a_setting_says_what_it_is() {
        assert_eq!(Setting::new(Int8, 8, Length).chunked().to_string(), "int8, batch 8, by length, chunks of 30 s");
        assert_eq!(Setting::new(Fp32, 1, Given).to_string(), "fp32, batch 1");
        assert_eq!(Setting { batch: None, ..Setting::new(Bf16, 1, Given) }.to_string(), "bf16");
    }
}
