"""Stand-ins for the CUDA libraries that torch's Python half is linked with, for machines without a GPU.

libtorch_python.so names libtorch_cuda.so, and that names cuDNN, cuBLAS and a dozen more: 3.6 GB of which nothing runs
on a CPU. Each stand-in has the library's name and symbol version and every function that torch asks for; a call stops the
process. torch itself loads them, as it does pip's nvidia packages, from nvidia/cu13/lib of a folder on the path.
"""

import os
import pathlib
import re
import subprocess
import tempfile

# torch looks for these too, and gives up looking for the others where they are missing.
LOOKED_FOR = ["libnvrtc.so.13", "libnvrtc-builtins.so.13", "libnvJitLink.so.13", "libcurand.so.10"]
CUDA_LIBRARY = re.compile(r"lib(cu|nv|nccl).*\.so\.\d+")
CUDA_SYMBOL = re.compile(r"(cu|nccl|nv)\w+")


def lines(*command):
    plain = os.environ | {"LC_ALL": "C"}  # objdump speaks the user's language
    return subprocess.run(command, check=True, capture_output=True, text=True, env=plain).stdout.splitlines()


def needed(library):
    """The libraries that a library names, and the version of symbols it wants of each, by the text of objdump."""
    versions, of = {}, None
    for line in lines("objdump", "-p", library):
        words = line.split()
        if words[:1] == ["NEEDED"]:
            versions.setdefault(words[1], None)
        elif words[:2] == ["required", "from"]:
            of = words[2].rstrip(":")
        elif of and len(words) == 4 and words[0].startswith("0x"):
            versions[of] = words[3]
    return {name: version for name, version in versions.items() if CUDA_LIBRARY.fullmatch(name)}


def symbols(kind, libraries):
    text = lines("nm", "-D", kind, *libraries)
    return {line.split()[-1].split("@")[0] for line in text if line and not line.endswith(":")}


def make(torch, folder):
    """Writes a stand-in into `folder` for each CUDA library that the torch package under `torch` needs and lacks."""
    ours = sorted((torch / "torch/lib").glob("lib*.so"))
    theirs = sorted((torch / "nvidia").glob("*/lib/*.so.*"))
    wanted = {name: None for name in LOOKED_FOR}
    for library in ours:
        for name, version in needed(library).items():
            wanted[name] = version or wanted.get(name)
    there = {path.name for path in theirs} | {"libcuda.so.1"}  # the driver's own, which torch opens only when present
    names = symbols("--undefined-only", ours) - symbols("--defined-only", ours + theirs)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        functions = sorted(name for name in names if CUDA_SYMBOL.fullmatch(name))
        (scratch / "stub.c").write_text("".join(f"void {name}(void) {{ __builtin_trap(); }}\n" for name in functions))
        subprocess.run(["cc", "-w", "-fPIC", "-c", "stub.c", "-o", "stub.o"], cwd=scratch, check=True)
        for name, version in wanted.items():
            if name not in there:
                (scratch / "versions").write_text(f"{version or 'ANY'} {{ *; }};\n")
                link = ["cc", "-shared", f"-Wl,-soname,{name}", "-Wl,--version-script=versions", "-o", folder / name]
                subprocess.run([*link, "stub.o"], cwd=scratch, check=True)
