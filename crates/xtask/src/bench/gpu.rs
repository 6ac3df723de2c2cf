//! The GPU that contenders compute on, and how busy each keeps it: as nvidia-smi says, for all of them alike.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::refusal::Refusal;

/// Milliseconds between two looks at the GPU. The driver counts what was busy in the last sixth of a second or more.
const LOOK_EVERY: &str = "100";

/// What contenders compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor
    #[default]
    Cpu,
    /// The first NVIDIA GPU
    Cuda,
}

impl Device {
    /// As klang and torch name it.
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
        }
    }
}

/// The GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// The driver's version.
    pub driver: String,
    /// Its memory.
    pub memory_mib: f64,
}

impl Gpu {
    /// The first GPU.
    ///
    /// # Errors
    /// Where there is none, or nvidia-smi does not say so.
    pub fn probe() -> Result<Gpu> {
        let refusal = |why: String| {
            Refusal::new(format!(
                "--device cuda: {why}; it needs an NVIDIA GPU with its driver, whose nvidia-smi is on PATH. Without, leave --device out"
            ))
        };
        let output = nvidia_smi("name,driver_version,memory.total")
            .output()
            .map_err(|error| refusal(format!("nvidia-smi cannot be started ({error})")))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let gpu = output.status.success().then(|| Gpu::parse(&said)).flatten();
        Ok(gpu.ok_or_else(|| refusal(format!("nvidia-smi names no GPU ({:?})", said.trim())))?)
    }

    fn parse(said: &str) -> Option<Gpu> {
        let mut fields = said.lines().next()?.split(", ");
        let (name, driver) = (fields.next()?.trim().into(), fields.next()?.trim().into());
        Some(Gpu { name, driver, memory_mib: fields.next()?.trim().parse().ok()? })
    }
}

/// What a process did with the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GpuUse {
    /// Share of the time in which a kernel ran, in the second half of the looks: by then all is opened and warm. Absent
    /// where the driver does not tell, as on a part of a GPU.
    pub busy: Option<f64>,
    /// Highest memory in use on the GPU, of all processes.
    pub peak_mib: Option<f64>,
}

impl GpuUse {
    fn parse(said: &str) -> GpuUse {
        let number = |field: Option<&str>| field?.trim().parse::<f64>().ok();
        let looks: Vec<(Option<f64>, Option<f64>)> = said
            .lines()
            .map(|line| {
                let mut fields = line.split(',');
                (number(fields.next()), number(fields.next()))
            })
            .collect();
        let late: Vec<f64> = looks[looks.len() / 2..].iter().filter_map(|(busy, _)| Some((*busy)? / 100.0)).collect();
        GpuUse {
            busy: (!late.is_empty()).then(|| late.iter().sum::<f64>() / late.len() as f64),
            peak_mib: looks.iter().filter_map(|(_, memory)| *memory).reduce(f64::max),
        }
    }
}

/// Does `work` and looks at the GPU meanwhile, where that is what contenders compute on.
pub fn watched<T>(device: Device, work: impl FnOnce() -> Result<T>) -> Result<(T, Option<GpuUse>)> {
    if device == Device::Cpu {
        return Ok((work()?, None));
    }
    let watch = Watch::start()?;
    let done = work()?;
    Ok((done, Some(watch.end()?)))
}

/// An nvidia-smi that looks again and again, ended with it, and the file that it writes to: a pipe that nobody reads would
/// hold it up after some minutes.
struct Watch {
    looking: Option<Child>,
    said: NamedTempFile,
}

impl Watch {
    fn start() -> Result<Watch> {
        let mut command = nvidia_smi("utilization.gpu,memory.used");
        let said = NamedTempFile::new().context("cannot make a temporary file")?;
        let output = said.reopen().context("cannot open a temporary file")?;
        command.args(["-lms", LOOK_EVERY]).stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
        Ok(Watch { looking: Some(command.spawn().context("cannot start nvidia-smi")?), said })
    }

    fn end(mut self) -> Result<GpuUse> {
        self.stop();
        let said = std::fs::read(self.said.path()).context("cannot read what nvidia-smi said")?;
        Ok(GpuUse::parse(&String::from_utf8_lossy(&said)))
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.looking.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

fn nvidia_smi(query: &str) -> Command {
    let mut command = Command::new("nvidia-smi");
    command.args(["--id=0", &format!("--query-gpu={query}"), "--format=csv,noheader,nounits"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_read_as_nvidia_smi_writes_it() {
        let gpu = Gpu::parse("NVIDIA H100 80GB HBM3, 580.65.06, 81559\n").unwrap();
        assert_eq!((gpu.name.as_str(), gpu.driver.as_str()), ("NVIDIA H100 80GB HBM3", "580.65.06"));
        assert_eq!(gpu.memory_mib, 81559.0);
        assert_eq!(Gpu::parse("No devices were found\n"), None);
        assert_eq!(Gpu::parse(""), None);
    }

    #[test]
    fn the_second_half_says_how_busy_it_was_and_all_of_it_what_it_held() {
        let used = GpuUse::parse("0, 4000\n10, 9000\n90, 7000\n100, 7000\n");
        assert_eq!(used, GpuUse { busy: Some(0.95), peak_mib: Some(9000.0) });
        // The last line may be cut short when the watch ends.
        assert_eq!(GpuUse::parse("50, 10\n70, 20\n8").peak_mib, Some(20.0));
    }

    #[test]
    fn what_the_driver_does_not_tell_is_absent() {
        assert_eq!(GpuUse::parse("[N/A], 10\n[N/A], 30\n"), GpuUse { busy: None, peak_mib: Some(30.0) });
        assert_eq!(GpuUse::parse(""), GpuUse { busy: None, peak_mib: None });
    }

    #[test]
    fn nothing_is_looked_at_on_a_cpu() {
        assert_eq!(watched(Device::Cpu, || Ok(3)).unwrap(), (3, None));
    }
}
