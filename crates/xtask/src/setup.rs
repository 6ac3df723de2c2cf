//! `cargo xtask setup`: libtorch behind the link `.libtorch`.

mod pip;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::libtorch::{self, PackageSet};
use crate::project::Project;
use crate::refusal::Refusal;
use crate::{install, prerequisites};

/// Which package set, where the machine should not decide.
#[derive(Default, clap::Args)]
pub struct Options {
    /// Install all that CUDA needs (4.9 GB) even where no NVIDIA driver is seen
    #[arg(long, conflicts_with = "cpu")]
    cuda: bool,
    /// Install for the CPU alone (1.3 GB) even where an NVIDIA driver is seen
    #[arg(long)]
    cpu: bool,
}

impl Options {
    fn asked(&self) -> Option<PackageSet> {
        match (self.cuda, self.cpu) {
            (true, _) => Some(PackageSet::Cuda),
            (_, true) => Some(PackageSet::Cpu),
            _ => None,
        }
    }
}

/// Where libtorch is to come from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// The folder that the user's LIBTORCH names.
    Named(PathBuf),
    /// The folder that `.libtorch` already leads to.
    Linked(PathBuf),
    /// klang's cache, installed if need be.
    Cache(PackageSet),
}

/// Makes `.libtorch` lead to a complete libtorch, installing one if there is none.
pub fn run(project: &Project, options: &Options) -> Result<()> {
    let link = project.libtorch_link();
    let cache = libtorch::cache_folder(env_path("XDG_CACHE_HOME"), env_path("HOME"));
    let linked = link.canonicalize().ok().filter(|folder| libtorch::check(folder).is_ok());
    let source = choose(
        named_by_user(env::var_os("LIBTORCH"), &link),
        options.asked(),
        libtorch::driver_present(),
        linked,
        cache.as_deref(),
    );
    let folder = match source {
        Source::Named(folder) => {
            let folder = env::current_dir().context("no current folder")?.join(folder);
            libtorch::check(&folder).map_err(|error| Refusal::new(format!("LIBTORCH: {error:#}")))?;
            prerequisites::require(false)?;
            folder
        }
        Source::Linked(folder) => {
            prerequisites::require(false)?;
            folder
        }
        Source::Cache(set) => {
            let cache =
                cache.ok_or_else(|| Refusal::new("neither XDG_CACHE_HOME nor HOME says where to keep libtorch"))?;
            let folder = cache.join(set.folder_name());
            prerequisites::require(!install::is_complete(&folder))?;
            let check = |tree: &Path| libtorch::check_installed(tree, set);
            install::ensure(&folder, check, |working, tree| pip::install(set, &folder, working, tree))?;
            folder.join("torch")
        }
    };
    if make_link(&link, &folder)? {
        eprintln!("libtorch {}: .libtorch leads to {}", libtorch::VERSION, folder.display());
    }
    Ok(())
}

fn env_path(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from)
}

/// What the user's own LIBTORCH names: `.cargo/config.toml` sets it to the project's link where the user does not.
fn named_by_user(libtorch: Option<OsString>, link: &Path) -> Option<PathBuf> {
    libtorch.filter(|value| !value.is_empty()).map(PathBuf::from).filter(|path| path != link)
}

/// LIBTORCH wins, then what was asked for. A working link is kept, unless it leads to klang's CPU set and there is a
/// driver: so a set that was asked for once, or a LIBTORCH that was named once, stays.
fn choose(
    named: Option<PathBuf>,
    asked: Option<PackageSet>,
    driver_present: bool,
    linked: Option<PathBuf>,
    cache: Option<&Path>,
) -> Source {
    if let Some(folder) = named {
        return Source::Named(folder);
    }
    let set = PackageSet::choose(asked, driver_present);
    let in_cache = |folder: &Path, set: PackageSet| {
        let cached = cache.and_then(|cache| cache.join(set.folder_name()).canonicalize().ok());
        cached.is_some_and(|cached| folder == cached.join("torch"))
    };
    match linked {
        _ if asked.is_some() => Source::Cache(set),
        // By way of the cache, which checks that it is complete.
        Some(folder) if in_cache(&folder, PackageSet::Cuda) => Source::Cache(PackageSet::Cuda),
        Some(folder) if !in_cache(&folder, PackageSet::Cpu) => Source::Linked(folder),
        _ => Source::Cache(set),
    }
}

/// Points `link` at `folder` in one step, and returns whether it led elsewhere before.
fn make_link(link: &Path, folder: &Path) -> Result<bool> {
    let wanted = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    match link.symlink_metadata() {
        Ok(_) if link.canonicalize().is_ok_and(|there| there == wanted) => return Ok(false),
        Ok(found) if !found.is_symlink() => {
            let message = format!("{} is not a link: move it away, or name it in LIBTORCH", link.display());
            return Err(Refusal::new(message).into());
        }
        _ => {}
    }
    let temporary = link.with_file_name(format!(".libtorch.{}.tmp", std::process::id()));
    let _ = fs::remove_file(&temporary);
    symlink(&wanted, &temporary)
        .and_then(|()| fs::rename(&temporary, link))
        .with_context(|| format!("cannot link {}", link.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use PackageSet::{Cpu, Cuda};

    #[test]
    fn cargos_own_libtorch_is_not_the_users() {
        let link = Path::new("/project/.libtorch");
        assert_eq!(named_by_user(Some("/project/.libtorch".into()), link), None);
        assert_eq!(named_by_user(Some("".into()), link), None);
        assert_eq!(named_by_user(None, link), None);
        assert_eq!(named_by_user(Some("/opt/libtorch".into()), link), Some("/opt/libtorch".into()));
    }

    #[test]
    fn the_source_follows_libtorch_then_the_flags_then_the_link_then_the_machine() {
        let temporary = tempfile::tempdir().unwrap();
        let cache = temporary.path().canonicalize().unwrap();
        let cached = |set: PackageSet| Some(cache.join(set.folder_name()).join("torch"));
        for set in [Cpu, Cuda] {
            fs::create_dir_all(cached(set).unwrap()).unwrap();
        }
        let own = || Some(PathBuf::from("/opt/libtorch"));
        let choose = |named, asked, driver, linked| choose(named, asked, driver, linked, Some(&cache));

        assert_eq!(choose(own(), Some(Cuda), true, cached(Cpu)), Source::Named("/opt/libtorch".into()));
        assert_eq!(choose(None, None, false, None), Source::Cache(Cpu));
        assert_eq!(choose(None, None, true, None), Source::Cache(Cuda));
        assert_eq!(choose(None, None, false, cached(Cpu)), Source::Cache(Cpu));
        assert_eq!(choose(None, None, true, cached(Cpu)), Source::Cache(Cuda));
        assert_eq!(choose(None, None, false, cached(Cuda)), Source::Cache(Cuda));
        assert_eq!(choose(None, Some(Cpu), false, cached(Cuda)), Source::Cache(Cpu));
        assert_eq!(choose(None, None, true, own()), Source::Linked("/opt/libtorch".into()));
        assert_eq!(choose(None, Some(Cuda), false, own()), Source::Cache(Cuda));
    }

    #[test]
    fn the_link_is_replaced_in_one_step_and_a_folder_in_its_place_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::create_dir(&old).unwrap();
        fs::create_dir(&new).unwrap();
        let link = folder.path().join(".libtorch");
        assert!(make_link(&link, &old).unwrap());
        assert!(!make_link(&link, &old).unwrap());
        assert!(make_link(&link, &new).unwrap());
        assert_eq!(link.canonicalize().unwrap(), new.canonicalize().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);

        fs::remove_file(&link).unwrap();
        symlink(folder.path().join("gone"), &link).unwrap();
        assert!(make_link(&link, &new).unwrap(), "a link that leads nowhere is replaced");

        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        assert!(make_link(&link, &new).unwrap_err().is::<Refusal>());
    }
}
