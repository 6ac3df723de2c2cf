//! What has to be there before anything is measured: klang, the peers' Python, models and audio.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::gpu::Device;
use crate::process::cargo;
use crate::project::Project;
use crate::refusal::Refusal;
use crate::{install, prerequisites, process, setup};

/// Everything of the benchmarks that can be made again lies here.
const PLACE: &str = "target/bench";
const PEERS: &str = "benches/peers";
/// What decides the models and the audio: where one changes, they are made anew.
const MAKERS: [&str; 6] = [
    "benches/peers/materials.py",
    "benches/durations/mboshi.txt",
    "tests/interop/requirements.txt",
    "tests/interop/base_size.py",
    "tests/interop/checkpoints.py",
    "tests/interop/onnx_export.py",
];

/// An audio file, and what is said in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Utterance {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub seconds: f64,
    /// Its words.
    pub text: String,
}

/// Tools and materials.
pub struct Workshop {
    /// The checkout.
    pub root: PathBuf,
    /// The binary.
    pub klang: PathBuf,
    /// The peers' interpreter.
    pub python: PathBuf,
    /// The folder of models and audio.
    pub materials: PathBuf,
    /// A folder for what processes are given and say.
    pub scratch: PathBuf,
    /// Of every contender.
    pub threads: usize,
    /// What they compute on.
    pub device: Device,
    /// Where binaries whose own runpath leads nowhere find libtorch: a klang from elsewhere, benches of another target.
    libraries: Option<OsString>,
    sets: BTreeMap<String, Vec<Utterance>>,
}

impl Workshop {
    /// Makes what is missing.
    pub fn open(project: &Project, klang: Option<&Path>, threads: usize) -> Result<Workshop> {
        let bare = Workshop::bare(project, klang, threads)?;
        let place = project.root.join(PLACE);
        let python = python(project, &place)?;
        let materials = materials(project, &place, &python)?;
        let sets = sets(&materials)?;
        Ok(Workshop { python, materials, sets, ..bare })
    }

    /// With klang alone: without the peers' Python, models and audio.
    pub fn bare(project: &Project, klang: Option<&Path>, threads: usize) -> Result<Workshop> {
        prerequisites::require(true)?;
        let klang = find_klang(project, klang)?;
        let scratch = project.root.join(PLACE).join("scratch");
        fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        let libraries = libraries(std::env::var_os("LD_LIBRARY_PATH"), project.libtorch_link().join("lib"))?;
        let (root, sets) = (project.root.clone(), BTreeMap::new());
        Ok(Workshop {
            root,
            klang,
            python: "python3".into(),
            materials: scratch.clone(),
            scratch,
            threads,
            device: Device::Cpu,
            libraries,
            sets,
        })
    }

    /// The same, for contenders that compute on another device than the CPU.
    pub fn on(self, device: Device) -> Workshop {
        Workshop { device, ..self }
    }

    /// A set of audio by its name in materials.py.
    pub fn set(&self, name: &str) -> Result<&[Utterance]> {
        match self.sets.get(name) {
            Some(set) => Ok(set),
            None => bail!("{}: no set {name:?} in sets.json", self.materials.display()),
        }
    }

    /// klang, to be given arguments.
    pub fn klang(&self) -> Command {
        self.linked(Command::new(&self.klang))
    }

    /// A command that starts what is linked with libtorch, in the project's root.
    pub fn linked(&self, mut command: Command) -> Command {
        command.current_dir(&self.root);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// The peers' Python, to be given arguments.
    pub fn python(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.current_dir(&self.root);
        // Compiled modules as anyone has them after a first import: libtorch's folder comes without, and a user's
        // PYTHONDONTWRITEBYTECODE would have torch compiled anew in each process, which takes seconds.
        command.env("PYTHONPYCACHEPREFIX", self.root.join(PLACE).join("pycache")).env_remove("PYTHONDONTWRITEBYTECODE");
        command
    }

    /// A peer's script.
    pub fn peer(&self, script: &str) -> Command {
        let mut command = self.python();
        command.arg(Path::new(PEERS).join(script));
        command
    }

    /// An error as it goes into a record: without the folder that this checkout happens to lie in.
    pub fn said(&self, error: &anyhow::Error) -> String {
        format!("{error:#}").replace(&format!("{}/", self.root.display()), "")
    }

    /// What the models were made with.
    pub fn made_with(&self) -> Result<serde_json::Value> {
        let path = self.materials.join("made-with.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}: not JSON", path.display()))
    }
}

fn find_klang(project: &Project, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return path.canonicalize().ok().filter(|path| path.is_file()).ok_or_else(|| {
            Refusal::new(format!("--klang {}: no such file; it must name a klang binary", path.display())).into()
        });
    }
    setup::run(project, &setup::Options::default())?;
    process::run(project, cargo().args(["build", "--release", "--package", "klang"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(project.root.join(target).join("release/klang"))
}

/// LD_LIBRARY_PATH as it is (cargo sets one) with libtorch behind it. None
/// where a libtorch is on it already.
fn libraries(path: Option<OsString>, libtorch: PathBuf) -> Result<Option<OsString>> {
    let mut folders: Vec<PathBuf> = path.iter().flat_map(std::env::split_paths).collect();
    if folders.iter().any(|folder| folder.join("libtorch_cpu.so").is_file()) {
        return Ok(None);
    }
    folders.push(libtorch);
    Ok(Some(std::env::join_paths(folders).context("LD_LIBRARY_PATH cannot be extended")?))
}

/// The environment that the comparison of outputs has, in a place of its own.
fn python(project: &Project, place: &Path) -> Result<PathBuf> {
    let mut command = Command::new("python3");
    command.arg(project.root.join("tests/interop/environment.py")).arg(&project.root);
    command.arg("--venv").arg(place.join("venv"));
    command.arg("--requirements").arg(project.root.join(PEERS).join("requirements.txt"));
    let output = command.stderr(std::process::Stdio::inherit()).output().context("cannot start python3")?;
    if !output.status.success() {
        bail!("{}: {}", process::typed(&command), output.status);
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn materials(project: &Project, place: &Path, python: &Path) -> Result<PathBuf> {
    let folder = place.join("materials");
    let made_by = folder.join("made-by");
    let mark = mark(&project.root)?;
    if fs::read_to_string(&made_by).is_ok_and(|found| found != mark) {
        eprintln!("models and audio were made by another recipe: making them anew");
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    // Only a marker says that all of it is there: nothing is adopted.
    let check = |tree: &Path| match tree.join("made-by").is_file() {
        true => Ok(()),
        false => bail!("{}: not whole", tree.display()),
    };
    install::ensure(&folder, check, |_, tree| {
        eprintln!("making models and audio in {} (some minutes, once)", folder.display());
        process::run(project, Command::new(python).arg(Path::new(PEERS).join("materials.py")).arg(tree))?;
        fs::write(tree.join("made-by"), &mark).with_context(|| format!("cannot write in {}", tree.display()))
    })?;
    Ok(folder)
}

/// Changes when a maker does. Not the same with every release of Rust: then they are made once more than needed.
fn mark(root: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for maker in MAKERS {
        let path = root.join(maker);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn sets(materials: &Path) -> Result<BTreeMap<String, Vec<Utterance>>> {
    let path = materials.join("sets.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut sets: BTreeMap<String, Vec<Utterance>> =
        serde_json::from_str(&text).with_context(|| format!("{}: not sets of utterances", path.display()))?;
    sets.values_mut().flatten().for_each(|utterance| utterance.path = materials.join(&utterance.path));
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libtorch_that_the_user_names_stays_in_front() {
        let mine = tempfile::tempdir().unwrap();
        let extended = |path: &Path| libraries(Some(path.into()), "/project/lib".into()).unwrap();
        assert_eq!(extended(mine.path()), Some(format!("{}:/project/lib", mine.path().display()).into()));
        fs::write(mine.path().join("libtorch_cpu.so"), "").unwrap();
        assert_eq!(extended(mine.path()), None);
        assert_eq!(libraries(None, "/project/lib".into()).unwrap(), Some("/project/lib".into()));
    }
}
