//! Which libtorch: the version, the two package sets that carry it, where they are kept, and whether a folder holds one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::prerequisites;

/// The libtorch that tch 0.24 binds.
pub const VERSION: &str = "2.11.0";
const MAJOR_MINOR: (u32, u32) = (2, 11);

/// What is installed: enough to compute on the CPU, or with all that CUDA needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageSet {
    /// The wheel and the two libraries of NVIDIA's that it cannot be loaded without.
    Cpu,
    /// The wheel with its dependencies.
    Cuda,
}

impl PackageSet {
    /// The set asked for, or the one that suits the machine.
    pub fn choose(asked: Option<PackageSet>, driver_present: bool) -> PackageSet {
        asked.unwrap_or(if driver_present { PackageSet::Cuda } else { PackageSet::Cpu })
    }

    /// What pip is told to install.
    pub fn pip_arguments(self) -> &'static [&'static str] {
        match self {
            PackageSet::Cpu => {
                &["--no-deps", "torch==2.11.0", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"]
            }
            PackageSet::Cuda => &["torch==2.11.0"],
        }
    }

    /// Metadata folders that a complete installation has; pip writes their names with underscores.
    fn distributions(self) -> &'static [&'static str] {
        match self {
            PackageSet::Cpu => &[
                "torch-2.11.0.dist-info",
                "nvidia_cuda_runtime-13.0.96.dist-info",
                "nvidia_cuda_cupti-13.0.85.dist-info",
            ],
            PackageSet::Cuda => &["torch-2.11.0.dist-info", "nvidia_cudnn_cu13-", "nvidia_cublas-"],
        }
    }

    /// Size on disk, for messages.
    pub fn size(self) -> &'static str {
        match self {
            PackageSet::Cpu => "1.3 GB",
            PackageSet::Cuda => "4.9 GB",
        }
    }

    /// The folder's name in klang's cache.
    pub fn folder_name(self) -> String {
        let set = match self {
            PackageSet::Cpu => "cpu",
            PackageSet::Cuda => "cuda",
        };
        format!("libtorch-{VERSION}-{set}")
    }
}

/// Whether an NVIDIA driver shows itself.
pub fn driver_present() -> bool {
    ["/proc/driver/nvidia/version", "/dev/nvidiactl"].iter().any(|path| Path::new(path).exists())
        || prerequisites::on_path("nvidia-smi")
}

/// klang's folder in the user's cache: `$XDG_CACHE_HOME/klang` or `~/.cache/klang`; XDG has relative paths ignored.
pub fn cache_folder(xdg_cache_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let cache = xdg_cache_home.filter(absolute).or_else(|| Some(home.filter(absolute)?.join(".cache")))?;
    Some(cache.join("klang"))
}

/// Checks that `folder` has `include/` and `lib/libtorch_cpu.so` of the right version.
pub fn check(folder: &Path) -> Result<()> {
    let library = folder.join("lib/libtorch_cpu.so");
    ensure!(library.is_file(), "{} is missing", library.display());
    // The wheel has had its version in either header; newer ones forward from the second to the first.
    let headers = ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];
    for header in headers {
        let header = folder.join(header);
        let Ok(text) = fs::read_to_string(&header) else { continue };
        if let Some(found) = header_version(&text) {
            ensure!(
                found == MAJOR_MINOR,
                "{} holds libtorch {}.{}, and klang is built against {}.{}",
                folder.display(),
                found.0,
                found.1,
                MAJOR_MINOR.0,
                MAJOR_MINOR.1
            );
            return Ok(());
        }
    }
    bail!("{} says no version of libtorch", folder.join(headers[0]).display())
}

fn header_version(header: &str) -> Option<(u32, u32)> {
    let number = |name: &str| {
        let mut values = header.lines().filter_map(|line| line.strip_prefix("#define ")?.strip_prefix(name));
        values.next()?.trim().parse().ok()
    };
    Some((number("TORCH_VERSION_MAJOR ")?, number("TORCH_VERSION_MINOR ")?))
}

/// Checks that what pip put into `tree` is all there: every file its records list, at the size they give.
pub fn check_installed(tree: &Path, set: PackageSet) -> Result<()> {
    let mut records = Vec::new();
    for entry in fs::read_dir(tree).with_context(|| format!("cannot list {}", tree.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".dist-info") {
            records.push(name);
        }
    }
    for wanted in set.distributions() {
        ensure!(records.iter().any(|name| name.starts_with(wanted)), "{wanted} is missing in {}", tree.display());
    }
    for name in records {
        let record = tree.join(name).join("RECORD");
        let lines = fs::read_to_string(&record).with_context(|| format!("cannot read {}", record.display()))?;
        for (path, size) in lines.lines().filter_map(recorded_file) {
            let path = tree.join(path);
            let found = path.metadata().with_context(|| format!("{} is missing", path.display()))?.len();
            ensure!(found == size, "{}: {found} bytes, expected {size}", path.display());
        }
    }
    check(&tree.join("torch"))
}

/// Path and size from a line of a RECORD (`path,digest,size`); none for scripts (`../../bin`) and compiled Python.
fn recorded_file(line: &str) -> Option<(&str, u64)> {
    let mut fields = line.rsplitn(3, ',');
    let size = fields.next()?.parse().ok()?;
    let path = fields.nth(1)?.trim_matches('"');
    (!path.starts_with("..") && !path.contains("__pycache__")).then_some((path, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_follows_the_driver_unless_asked() {
        use PackageSet::{Cpu, Cuda};
        assert_eq!(PackageSet::choose(None, false), Cpu);
        assert_eq!(PackageSet::choose(None, true), Cuda);
        assert_eq!(PackageSet::choose(Some(Cuda), false), Cuda);
        assert_eq!(PackageSet::choose(Some(Cpu), true), Cpu);
    }

    #[test]
    fn the_cache_is_the_users() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(cache_folder(path("/x"), path("/home/u")), path("/x/klang"));
        assert_eq!(cache_folder(None, path("/home/u")), path("/home/u/.cache/klang"));
        assert_eq!(cache_folder(path("relative"), path("/home/u")), path("/home/u/.cache/klang"));
        assert_eq!(cache_folder(path(""), None), None);
    }

    #[test]
    fn the_version_is_read_from_the_header() {
        let header = "#pragma once\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n";
        assert_eq!(header_version(header), Some((2, 11)));
        assert_eq!(header_version("#include <torch/headeronly/version.h>\n"), None);
    }

    #[test]
    fn a_folder_of_another_version_or_without_the_library_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("include/torch/headeronly")).unwrap();
        fs::create_dir(folder.path().join("lib")).unwrap();
        let header = folder.path().join("include/torch/headeronly/version.h");
        fs::write(&header, "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n").unwrap();
        assert!(check(folder.path()).unwrap_err().to_string().ends_with("libtorch_cpu.so is missing"));
        fs::write(folder.path().join("lib/libtorch_cpu.so"), "").unwrap();
        check(folder.path()).unwrap();
        fs::write(&header, "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 10\n").unwrap();
        assert!(check(folder.path()).unwrap_err().to_string().contains("holds libtorch 2.10"));
        fs::write(&header, "").unwrap();
        assert!(check(folder.path()).unwrap_err().to_string().contains("says no version"));
    }

    #[test]
    fn records_list_files_with_sizes() {
        assert_eq!(recorded_file("torch/lib/libc10.so,sha256=ab,12"), Some(("torch/lib/libc10.so", 12)));
        assert_eq!(recorded_file("\"torch/a,b.h\",sha256=ab,3"), Some(("torch/a,b.h", 3)));
        assert_eq!(recorded_file("../../bin/torchrun,sha256=ab,3"), None);
        assert_eq!(recorded_file("torch-2.11.0.dist-info/RECORD,,"), None);
        assert_eq!(recorded_file("torch/__pycache__/a.pyc,sha256=ab,3"), None);
    }
}
