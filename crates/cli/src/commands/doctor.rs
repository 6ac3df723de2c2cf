//! `klang doctor`.

use std::time::Instant;

use anyhow::{Context, Result};
use klang_text::{TextOptions, Vocabulary};
use klang_trainer::{AudioSpec, ModelSpec, Recogniser, cpu_has_bf16, has_nvidia_driver};
use klang_wav2vec2::{ModelConfig, Pass, WaveformBatch};

use crate::Ending;
use crate::args::DoctorArguments;
use crate::output;

pub fn run(arguments: &DoctorArguments) -> Result<Ending> {
    let compute = output::compute(&arguments.compute)?;
    let say = |what: &str, text: String| output::line(&format!("{what:<16}{text}"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    say("klang", env!("CARGO_PKG_VERSION").into())?;
    say("libtorch", libtorch())?;
    say("cores", format!("{cores}, of which libtorch uses {}", compute.threads))?;
    say("bf16 on the CPU", if cpu_has_bf16() { "in hardware" } else { "not in hardware: fp32 is faster" }.into())?;
    say("NVIDIA driver", if has_nvidia_driver() { "found" } else { "none" }.into())?;
    say("GPUs seen", tch::Cuda::device_count().max(0).to_string())?;
    say("computing on", compute.to_string())?;
    say("forward pass", forward(compute).context("the forward pass failed")?)?;
    Ok(Ending::Done)
}

/// The libtorch that was actually loaded.
fn libtorch() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let path =
        maps.lines().find_map(|line| line.split_whitespace().last().filter(|path| path.ends_with("/libtorch_cpu.so")));
    path.map_or("linked".into(), |path| path.trim_end_matches("/libtorch_cpu.so").to_string())
}

/// One second of noise through a Base-sized model with random weights.
fn forward(compute: klang_trainer::Compute) -> Result<String> {
    let spec = ModelSpec {
        config: ModelConfig::default(),
        vocabulary: Vocabulary::from_texts(["abc"])?,
        audio: AudioSpec::default(),
        text: TextOptions::default(),
        bottleneck: None,
    };
    let model = Recogniser::random(spec, compute, 1)?;
    let samples: Vec<f32> =
        (0..16_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 16) as f32 / 32_768.0 - 1.0).collect();
    let batch = WaveformBatch::pad(&[&samples])?;
    let run = || tch::no_grad(|| model.forward(&batch, Pass::Evaluation));
    run()?; // the first one also sets libtorch up
    let start = Instant::now();
    let recognition = run()?;
    let finite = recognition.logits.f_isfinite()?.f_all()?.f_int64_value(&[])? == 1;
    anyhow::ensure!(finite, "its logits are not finite");
    Ok(format!(
        "{} frames of 1 s of audio through wav2vec 2.0 Base in {:.3} s",
        recognition.lengths[0],
        start.elapsed().as_secs_f64()
    ))
}
