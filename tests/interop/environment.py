"""Makes the Python environment of the suite under target/interop/venv and prints its interpreter.

    python3 environment.py REPOSITORY [--venv FOLDER] [--requirements FILE]

Other users have a place and requirements of their own, which may include the suite's.

torch is not installed a second time: `.libtorch` leads into a folder of pip's, which a .pth file puts on the path.
Where that folder is not for this Python, torch is installed into the environment. Either may lack CUDA's libraries, which
torch's Python half names even where none is used: cuda_stubs.py stands in for them.
"""

import argparse
import hashlib
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv

import cuda_stubs

HERE = pathlib.Path(__file__).parent
TORCH = ["torch==2.11.0", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"]


def pip(python, *arguments):
    command = [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, *arguments], check=True, stdout=sys.stderr)


def python_torch(root):
    """The folder that holds the Python half of `.libtorch`, if that is for this Python."""
    torch = (root / ".libtorch").resolve()
    extension = torch / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
    return torch.parent if torch.name == "torch" and extension.is_file() else None


def fingerprint(torch, requirements):
    """Changes when what is to be installed does."""
    parts = [sys.version, str(torch), *TORCH]
    parts += [requirements.read_text()]
    parts += [(HERE / name).read_text() for name in ("requirements.txt", "environment.py", "cuda_stubs.py")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def imports_torch(python):
    return subprocess.run([python, "-c", "import torch"], capture_output=True, text=True)


def install(folder, python, torch, requirements):
    venv.create(folder, with_pip=True, clear=True, symlinks=True)
    pip(python, "-r", requirements)
    packages = next(folder.glob("lib/python3.*/site-packages"))
    if torch is None:
        pip(python, *TORCH)
        torch = packages
    else:
        (packages / "libtorch.pth").write_text(f"{torch}\n")
    if imports_torch(python).returncode != 0:
        cuda_stubs.make(torch, packages / "nvidia/cu13/lib")
    found = imports_torch(python)
    if found.returncode != 0:
        sys.exit(f"torch of {torch} cannot be imported by {python}:\n{found.stderr}")


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository", type=pathlib.Path)
    parser.add_argument("--venv", type=pathlib.Path, help="target/interop/venv of the repository by default")
    parser.add_argument("--requirements", type=pathlib.Path, default=HERE / "requirements.txt")
    return parser.parse_args()


def main(root, folder, requirements):
    python = folder / "bin/python"
    marker = folder / "installed"
    torch = python_torch(root)
    wanted = fingerprint(torch, requirements)
    if not marker.is_file() or marker.read_text() != wanted:
        print(f"installing Python packages into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        install(folder, python, torch, requirements)
        marker.write_text(wanted)
    print(python)


if __name__ == "__main__":
    chosen = options()
    root = chosen.repository.resolve()
    main(root, (chosen.venv or root / "target/interop/venv").resolve(), chosen.requirements.resolve())
