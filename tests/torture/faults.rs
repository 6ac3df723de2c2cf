//! Calls of the system that fail, by a library that stands before libc.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::{Dir, TestCommand};

/// A call that can fail.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// fsync: EIO, once, as Linux tells a lost page once.
    Fsync,
    /// write: ENOSPC, from the first time on.
    Write,
    /// open to write: EROFS, from the first time on.
    Open,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Call::Fsync => "fsync",
            Call::Write => "write",
            Call::Open => "open",
        }
    }

    fn errno(self) -> i32 {
        match self {
            Call::Fsync => 5,
            Call::Write => 28,
            Call::Open => 30,
        }
    }

    /// What the system calls the error.
    pub fn words(self) -> &'static str {
        match self {
            Call::Fsync => "Input/output error",
            Call::Write => "No space left on device",
            Call::Open => "Read-only file system",
        }
    }

    /// Has the command's call number `at` fail for files below `folder`; whether it did is told by a file `mark`.
    pub fn failing(self, command: TestCommand, folder: &Path, at: usize, mark: &Path) -> TestCommand {
        let folder = folder.to_str().expect("UTF-8");
        let command = command
            .env("LD_PRELOAD", &*LIBRARY)
            .env("KLANG_FAULT_CALL", self.name())
            .env("KLANG_FAULT_UNDER", folder)
            .env("KLANG_FAULT_AT", at.to_string())
            .env("KLANG_FAULT_MARK", mark)
            .env("KLANG_FAULT_ERRNO", self.errno().to_string());
        match self {
            Call::Fsync => command.env("KLANG_FAULT_LAST", at.to_string()),
            Call::Write | Call::Open => command,
        }
    }
}

/// Built once a run of the tests.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.so", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/torture/faults.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
    let status = compiler.status().expect("a C compiler, `cc`");
    assert!(status.success(), "{compiler:?}: {status}");
    library
});

/// A folder of a file system of its own, of so many KiB: what `script` does there, with `$DISK` for the folder; none where
/// this system lets nobody mount one.
pub fn on_small_disk(dir: &Dir, kib: usize, script: &str) -> Option<i32> {
    static UNSHARE: LazyLock<Option<Vec<&'static str>>> = LazyLock::new(|| {
        let ways = [vec!["--mount"], vec!["--user", "--map-root-user", "--mount"]];
        let mounts = |way: &Vec<&str>| {
            let mut command = Command::new("unshare");
            command.args(way).args(["sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]);
            command.output().is_ok_and(|output| output.status.success())
        };
        ways.into_iter().find(mounts)
    });
    let way = UNSHARE.as_ref()?;
    let disk = dir.path("disk");
    std::fs::create_dir_all(&disk).expect("a folder");
    let whole = format!("mount -t tmpfs -o size={kib}k tmpfs \"$DISK\" || exit 99\n{script}");
    let mut command = Command::new("unshare");
    command.args(way).args(["sh", "-c", &whole]).current_dir(dir.path(""));
    command.env("DISK", &disk).env("KLANG", env!("CARGO_BIN_EXE_klang"));
    let code = command.status().expect("unshare").code().expect("an end of its own");
    assert_ne!(code, 99, "no disk could be mounted");
    Some(code)
}
