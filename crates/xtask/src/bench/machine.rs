//! What the figures were taken on.

use std::fs;
use std::process::Command;

use serde::Serialize;

use super::gpu::Gpu;
use crate::project::Project;

/// Instruction sets that decide how fast matrix products are.
const FLAGS: [&str; 14] = [
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "bf16",
    "i8mm",
];

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's name, as the system has it.
    pub model: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Of [`FLAGS`], those it has.
    pub flags: Vec<String>,
    /// Main memory.
    pub memory_gib: f64,
    /// The system's version.
    pub system: String,
    /// The GPU, where contenders compute on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// Processes that wanted a core when the benchmarks began, over the last minute.
    pub load: String,
}

impl Machine {
    /// Of this machine.
    pub fn probe() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let load = read("/proc/loadavg");
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: read("/proc/sys/kernel/osrelease").trim().into(),
            load: load.split_whitespace().next().unwrap_or_default().into(),
            ..Machine::parse(&read("/proc/cpuinfo"), &read("/proc/meminfo"))
        }
    }

    fn parse(cpuinfo: &str, meminfo: &str) -> Machine {
        let value = |keys: &[&str]| {
            let line = cpuinfo.lines().filter_map(|line| line.split_once(':'));
            line.filter(|(key, _)| keys.contains(&key.trim())).map(|(_, value)| value.trim()).next()
        };
        let has: Vec<&str> = value(&["flags", "Features"]).unwrap_or_default().split_whitespace().collect();
        let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = memory.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        Machine {
            model: value(&["model name", "Hardware"]).unwrap_or("unknown processor").into(),
            flags: FLAGS.iter().filter(|flag| has.contains(flag)).map(|flag| flag.to_string()).collect(),
            memory_gib: kib.unwrap_or_default() / f64::from(1 << 20),
            ..Machine::default()
        }
    }

    /// Whether products of bf16 are quicker than those of fp32, where contenders compute.
    pub fn has_bf16(&self) -> bool {
        self.gpu.is_some() || self.flags.iter().any(|flag| ["avx512_bf16", "amx_bf16"].contains(&flag.as_str()))
    }

    /// A name for folders: the processor's, and the cores; or the GPU's.
    pub fn short_name(&self) -> String {
        let lower = self
            .gpu
            .as_ref()
            .map_or(&self.model, |gpu| &gpu.name)
            .to_lowercase()
            .replace("(r)", " ")
            .replace("(tm)", " ");
        let words: Vec<&str> =
            lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let noise = |word: &&str| !["cpu", "processor", "core"].contains(word);
        let name: Vec<&str> = words.into_iter().filter(noise).take(4).collect();
        let name = name.join("-");
        if self.gpu.is_some() { name } else { format!("{name}-{}-cores", self.cores) }
    }
}

/// When, of what, and by which command.
#[derive(Clone, Debug, Serialize)]
pub struct Occasion {
    /// UTC, ISO 8601.
    pub date: String,
    /// The checkout's commit, with `+` behind it where files differ from it.
    pub revision: String,
    /// What `klang --version` says.
    pub klang: String,
    /// As typed.
    pub command: String,
}

impl Occasion {
    /// Now. `klang` is what its `--version` said.
    pub fn now(project: &Project, klang: String) -> Occasion {
        let said = |command: &mut Command| {
            let output = command.current_dir(&project.root).output().ok().filter(|output| output.status.success())?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        let commit = said(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]));
        let changed = said(Command::new("git").args(["status", "--porcelain"])).is_some_and(|files| !files.is_empty());
        let typed = std::env::args().skip(1).collect::<Vec<String>>().join(" ");
        Occasion {
            date: said(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])).unwrap_or_else(|| "unknown".into()),
            revision: commit.map_or("unknown".into(), |commit| commit + if changed { "+" } else { "" }),
            klang,
            command: format!("cargo xtask {typed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz\nflags\t\t: fpu avx2 amx_bf16x avx512_bf16\n\nprocessor\t: 1\nmodel name\t: other\n";

    #[test]
    fn the_first_processor_is_read_and_flags_are_whole_words() {
        let machine = Machine { cores: 2, ..Machine::parse(CPUINFO, "MemFree: 1 kB\nMemTotal:       16777216 kB\n") };
        assert_eq!(machine.flags, ["avx2", "avx512_bf16"]);
        assert!(machine.has_bf16());
        assert_eq!(machine.memory_gib, 16.0);
        assert_eq!(machine.short_name(), "intel-xeon-gold-6430-2-cores");
    }

    #[test]
    fn a_gpu_gives_its_name_and_has_bf16() {
        let gpu = Gpu { name: "NVIDIA H100 80GB HBM3".into(), ..Gpu::default() };
        let machine = Machine { gpu: Some(gpu), ..Machine::parse("", "") };
        assert!(machine.has_bf16());
        assert_eq!(machine.short_name(), "nvidia-h100-80gb-hbm3");
    }

    #[test]
    fn a_system_that_says_nothing_has_no_bf16() {
        let machine = Machine { cores: 1, ..Machine::parse("", "") };
        assert!(!machine.has_bf16());
        assert_eq!(machine.short_name(), "unknown-1-cores");
    }
}
