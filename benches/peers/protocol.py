"""What every peer shares: a JSON job on standard input, one JSON line on standard output.

The job: model (folder), utterances (list of {path, seconds, text}), warm_up (the same, may be empty), setting
({precision, batch, order, chunk_seconds}), repetitions, threads, device (cpu, or cuda for peers on torch), training (the
recipe, for training_peer.py). A peer's `prepare(job)` opens the model and returns `work(utterances)`, which returns a dict to be merged into the answer (for
instance {"texts": [...]}).

The answer: seconds (one a repetition, of the work alone), warm_up_seconds, since_start (from the process's start to the
answer, for whoever runs a peer by hand: the harness has its own clock), audio_seconds, peak_mib, versions, and what the
last repetition returned.
"""

import importlib.metadata
import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here is to be fetched
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

RATE = 16_000  # Hz, of every model here


def since_start():
    """Seconds since the system started this process."""
    with open("/proc/self/stat") as stat:
        started = int(stat.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def peak_mib():
    """VmHWM: a child's ru_maxrss counts what its parent held before exec as well."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def serve(packages, prepare):
    """Does the job on standard input. `packages` are those whose versions the record names."""
    answer_to, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not stand in the answer
    job = json.load(sys.stdin)
    work = prepare(job)
    started = time.perf_counter()
    if job["warm_up"]:
        work(job["warm_up"])
    warm_up_seconds = time.perf_counter() - started
    seconds, found = [], {}
    for _ in range(job["repetitions"]):
        started = time.perf_counter()
        found = work(job["utterances"])
        seconds.append(time.perf_counter() - started)
    answer = dict(
        seconds=seconds, warm_up_seconds=warm_up_seconds, since_start=since_start(), peak_mib=peak_mib(),
        audio_seconds=sum(utterance["seconds"] for utterance in job["utterances"]),
        versions={name: importlib.metadata.version(name) for name in packages}, **found,
    )
    print(json.dumps(answer), file=answer_to, flush=True)
