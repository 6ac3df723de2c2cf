#!/usr/bin/env python3
"""Makes the corpus of connected digit strings in this folder, or checks it.

    python3 data/digits/make.py             make it anew in place (a minute or two)
    python3 data/digits/make.py --out DIR   make it elsewhere, to compare
    python3 data/digits/make.py --check     verify what lies here; needs no synthesiser

One utterance goes: text → synthesiser → sox (16 kHz, low-pass, peak) → 8-bit levels, silence trimmed and
put back as zeros → flac. Everything random comes from SEED and the name of what is drawn.
"""

import argparse
import array
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

SEED = 1
HERE = pathlib.Path(__file__).resolve().parent

DIGITS = "zero one two three four five six seven eight nine".split()
# How often a string of so many digits is drawn. Single digits are ten sentences only, so they belong to train.
LENGTH_WEIGHTS = {1: 1, 2: 2, 3: 3, 4: 3, 5: 3, 6: 3}

SAMPLE_RATE = 16_000
LOW_PASS_HZ = 5_000  # some of /s/ goes, nothing that tells two digits apart
PEAK_DB = -1
LEVEL_BITS = 8  # significant bits of 16; FLAC stores the eight zero bits for nothing
EDGE_SECONDS = (0.08, 0.25)  # silence before and after the speech

MAXIMUM_BYTES = 8_000_000
MINIMUM_SECONDS = 20 * 60
MINIMUM_VOICES = 16

Voice = collections.namedtuple("Voice", "speaker synthesiser accent voice rate pitch")
Split = collections.namedtuple("Split", "name pool per_voice voices")


def espeak(speaker, file, variant, rate, pitch):
    """`file` is a language file of espeak-ng's: `-v en-gb+m1` would silently ignore its variant, `gmw/en+m1` does not."""
    accent = {"en": "en-gb", "en-US": "en-us"}.get(file, file.lower())
    return Voice(speaker, "espeak-ng", accent, f"gmw/{file}+{variant}", rate, pitch)


def flite(speaker, accent, voice):
    return Voice(speaker, "flite", accent, voice, 1.0, None)


TRAIN_VOICES = [
    espeak("gb-m1", "en", "m1", 150, 40),
    espeak("gb-f1", "en", "f1", 165, 55),
    espeak("gb-klatt2", "en", "klatt2", 160, 45),
    espeak("gb-steph", "en", "steph", 175, 50),
    espeak("us-m2", "en-US", "m2", 170, 45),
    espeak("us-f2", "en-US", "f2", 185, 60),
    espeak("us-klatt", "en-US", "klatt", 155, 35),
    espeak("us-croak", "en-US", "croak", 160, 30),
    espeak("scotland-m3", "en-GB-scotland", "m3", 180, 50),
    espeak("scotland-f3", "en-GB-scotland", "f3", 155, 65),
    espeak("scotland-max", "en-GB-scotland", "max", 170, 60),
    espeak("caribbean-m4", "en-029", "m4", 165, 35),
    espeak("caribbean-f4", "en-029", "f4", 175, 70),
    espeak("caribbean-adam", "en-029", "adam", 190, 55),
    espeak("rp-m5", "en-GB-x-rp", "m5", 160, 60),
    espeak("rp-annie", "en-GB-x-rp", "Annie", 170, 45),
    espeak("rp-quincy", "en-GB-x-rp", "quincy", 150, 40),
    espeak("lancaster-m6", "en-GB-x-gbclan", "m6", 185, 45),
    espeak("lancaster-f5", "en-GB-x-gbclan", "f5", 160, 50),
    espeak("lancaster-belinda", "en-GB-x-gbclan", "belinda", 180, 35),
]
DEV_VOICES = [
    espeak("gb-andrea", "en", "Andrea", 170, 40),
    espeak("us-alex", "en-US", "Alex", 165, 50),
    espeak("scotland-gene", "en-GB-scotland", "Gene", 175, 55),
]
TEST_VOICES = [
    espeak("us-linda", "en-US", "linda", 170, 45),
    espeak("rp-edward", "en-GB-x-rp", "edward", 160, 55),
    espeak("caribbean-m8", "en-029", "m8", 155, 50),
    espeak("midlands-m7", "en-GB-x-gbcwmd", "m7", 175, 40),  # an accent that train has not
]
FLITE_VOICES = [
    flite("flite-kal16", "en-us", "kal16"),
    flite("flite-awb", "en-gb-scotland", "awb"),
    flite("flite-rms", "en-us", "rms"),
    flite("flite-slt", "en-us", "slt"),
]
# Both test sets say the same sentences, so that what differs between them is the voices.
SPLITS = [
    Split("train", "train", 25, TRAIN_VOICES),
    Split("dev", "dev", 20, DEV_VOICES),
    Split("test", "test", 20, TEST_VOICES),
    Split("test-flite", "test", 20, FLITE_VOICES),
]
TOOLS = {"espeak-ng": "espeak-ng", "flite": "flite", "sox": "sox", "flac": "flac"}  # program: Debian package


# ---- what is said -------------------------------------------------------------------------------------------------


def draw(purpose):
    return random.Random(f"{SEED}/{purpose}")


def draw_sentences():
    """Distinct sentences by pool; a sentence belongs to one pool. Every voice says its share of its split's pool."""
    wanted = {}
    for split in SPLITS:
        wanted[split.pool] = max(wanted.get(split.pool, 0), split.per_voice * len(split.voices))
    taken, pools = set(), {}
    for pool in ("test", "dev", "train"):
        random_source = draw(f"sentences/{pool}")
        lengths = [n for n in LENGTH_WEIGHTS if n > 1 or pool == "train"]
        sentences = [] if pool != "train" else [(digit,) for digit in DIGITS]
        taken.update(sentences)
        while len(sentences) < wanted[pool]:
            length = random_source.choices(lengths, [LENGTH_WEIGHTS[n] for n in lengths])[0]
            sentence = tuple(random_source.choices(DIGITS, k=length))
            if sentence not in taken:
                taken.add(sentence)
                sentences.append(sentence)
        random_source.shuffle(sentences)
        pools[pool] = sentences
    return pools


def plan():
    """Every utterance of the corpus: its manifest row but for the duration, its voice, what is sent to the synthesiser."""
    pools = draw_sentences()
    for split in SPLITS:
        sentences = iter(pools[split.pool])
        for voice in split.voices:
            for number in range(1, split.per_voice + 1):
                words = next(sentences)
                utterance = f"{voice.speaker}-{number:03}"
                random_source = draw(f"utterance/{utterance}")
                if voice.synthesiser == "espeak-ng":
                    rate = voice.rate + random_source.choice([-15, -10, -5, 0, 5, 10, 15])
                    pitch = voice.pitch + random_source.choice([-8, -4, 0, 4, 8])
                else:
                    rate, pitch = random_source.choice([0.9, 1.0, 1.1, 1.2]), None
                # A long string may be grouped, as people say telephone numbers.
                group = random_source.choice([0, len(words) // 2]) if len(words) >= 4 else 0
                spoken = " ".join(words[:group]) + ", " + " ".join(words[group:]) if group else " ".join(words)
                row = {
                    "id": utterance,
                    "audio": f"audio/{voice.speaker}/{utterance}.flac",
                    "text": " ".join(words),
                    "speaker": voice.speaker,
                    "duration": None,
                    "accent": voice.accent,
                    "rate": rate,
                    "pitch": pitch,
                    "synthesiser": voice.synthesiser,
                }
                if pitch is None:
                    del row["pitch"]
                yield split, voice, spoken, row


# ---- how it is said -----------------------------------------------------------------------------------------------


def call(command, stdin=None):
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def synthesise(voice, spoken, rate, pitch, folder):
    """A WAV file of what `voice` says, at the synthesiser's own sample rate."""
    wav = pathlib.Path(folder) / "speech.wav"
    if voice.synthesiser == "espeak-ng":
        call(["espeak-ng", "-v", voice.voice, "-s", str(rate), "-p", str(pitch), "-w", wav, spoken])
    else:
        call(["flite", "-voice", voice.voice, "--setf", f"duration_stretch={rate}", "-t", spoken, "-o", wav])
    return wav


def quantise(samples):
    """Rounds to LEVEL_BITS significant bits, which turns near silence into silence."""
    shift = 16 - LEVEL_BITS
    top = (1 << (LEVEL_BITS - 1)) - 1
    return [min((sample + (1 << (shift - 1))) >> shift, top) << shift for sample in samples]


def shape(wav, utterance):
    """Samples at SAMPLE_RATE: low-passed, at PEAK_DB, quantised, with silence of drawn length at either end."""
    effects = ["gain", "-6", "rate", "-v", str(SAMPLE_RATE), "sinc", f"-{LOW_PASS_HZ}", "norm", str(PEAK_DB)]
    raw = ["-t", "raw", "-e", "signed", "-b", "16", "-L", "-c", "1"]
    samples = array.array("h", call(["sox", "-D", wav, *raw, "-", *effects]))
    if sys.byteorder == "big":
        samples.byteswap()
    levels = quantise(samples)
    loud = [index for index, level in enumerate(levels) if level]
    random_source = draw(f"edges/{utterance}")
    before, after = ([0] * round(random_source.uniform(*EDGE_SECONDS) * SAMPLE_RATE) for _ in range(2))
    return before + levels[loud[0] : loud[-1] + 1] + after


def write_flac(samples, path):
    data = array.array("h", samples)
    if sys.byteorder == "big":
        data.byteswap()
    layout = ["--force-raw-format", "--endian=little", "--sign=signed", "--channels=1", "--bps=16"]
    small = ["-8", "-e", "-p", "--no-padding", "--no-seektable", "--blocksize=2048"]
    path.parent.mkdir(parents=True, exist_ok=True)
    call(["flac", "--silent", "--force", *small, *layout, f"--sample-rate={SAMPLE_RATE}", "-o", path, "-"], data.tobytes())


def make_utterance(job, out):
    _, voice, spoken, row = job
    with tempfile.TemporaryDirectory() as folder:
        wav = synthesise(voice, spoken, row["rate"], row.get("pitch"), folder)
        samples = shape(wav, row["id"])
    write_flac(samples, out / row["audio"])
    row["duration"] = round(len(samples) / SAMPLE_RATE, 4)


# ---- making it all ------------------------------------------------------------------------------------------------


def require_tools():
    missing = sorted({package for program, package in TOOLS.items() if shutil.which(program) is None})
    if missing:
        print(f"{', '.join(missing)} not found: apt-get install {' '.join(missing)}", file=sys.stderr)
        sys.exit(2)


def require_distinct_voices():
    """Two names for one voice would break the disjointness of the splits: at one rate and pitch all must sound apart."""
    heard = {}
    with tempfile.TemporaryDirectory() as folder:
        for voice in (voice for split in SPLITS for voice in split.voices):
            rate, pitch = (160, 50) if voice.synthesiser == "espeak-ng" else (1.0, None)
            digest = hashlib.sha256(synthesise(voice, "one two seven", rate, pitch, folder).read_bytes()).digest()
            if digest in heard:
                sys.exit(f"{voice.speaker} ({voice.voice}) sounds exactly like {heard[digest]}")
            heard[digest] = voice.speaker


def make(out):
    require_tools()
    require_distinct_voices()
    out.mkdir(parents=True, exist_ok=True)
    jobs = list(plan())
    with tempfile.TemporaryDirectory(prefix="digits-", suffix=".tmp", dir=out) as folder:
        folder = pathlib.Path(folder)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
            for done, _ in enumerate(workers.map(lambda job: make_utterance(job, folder), jobs), 1):
                if done % 100 == 0 or done == len(jobs):
                    print(f"{done} of {len(jobs)} utterances", file=sys.stderr)
        for split in SPLITS:
            rows = [row for owner, _, _, row in jobs if owner is split]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{split.name}.jsonl").write_text(lines, encoding="utf-8")
        shutil.rmtree(out / "audio", ignore_errors=True)
        for made in sorted(folder.iterdir()):
            os.replace(made, out / made.name)
    if (out / "README.md").exists():
        write_readme_table(out)


# ---- counting and checking ----------------------------------------------------------------------------------------

TABLE_MARKS = ("<!-- counts: written by make.py -->", "<!-- end of counts -->")


def read_manifest(folder, split):
    with open(folder / f"{split.name}.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def table(folder):
    lines = [
        "| manifest | voices | accents | utterances | sentences | digits | minutes | audio bytes |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    totals = collections.Counter()
    for split in SPLITS:
        rows = read_manifest(folder, split)
        counts = {
            "voices": len({row["speaker"] for row in rows}),
            "accents": len({row["accent"] for row in rows}),
            "utterances": len(rows),
            "sentences": len({row["text"] for row in rows}),
            "digits": sum(len(row["text"].split()) for row in rows),
            "minutes": sum(row["duration"] for row in rows) / 60,
            "bytes": sum((folder / row["audio"]).stat().st_size for row in rows),
        }
        totals.update(counts)
        lines.append(table_row(f"`{split.name}.jsonl`", counts))
    rows = [row for split in SPLITS for row in read_manifest(folder, split)]
    totals["accents"] = len({row["accent"] for row in rows})
    totals["sentences"] = len({row["text"] for row in rows})
    lines.append(table_row("all", totals))
    return "\n".join(lines)


def table_row(name, counts):
    cells = [f"{count:.1f}" if key == "minutes" else f"{count:,}" for key, count in counts.items()]
    return "| " + " | ".join([name, *cells]) + " |"


def write_readme_table(folder):
    path = folder / "README.md"
    head, _, rest = path.read_text(encoding="utf-8").partition(TABLE_MARKS[0])
    _, _, tail = rest.partition(TABLE_MARKS[1])
    text = f"{head}{TABLE_MARKS[0]}\n{table(folder)}\n{TABLE_MARKS[1]}{tail}"
    temporary = path.with_suffix(".md.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def read_flac_header(path):
    """Sample rate, channels and total samples from the STREAMINFO block, which a FLAC file begins with."""
    with open(path, "rb") as file:
        head = file.read(42)
    if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F != 0:
        return None
    packed = int.from_bytes(head[18:26], "big")  # 20 bits rate, 3 channels − 1, 5 bits per sample − 1, 36 samples
    return packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1


def check_rows(folder, split, rows):
    """What is wrong with a split's rows taken one by one."""
    synthesiser = split.voices[0].synthesiser
    speakers = {voice.speaker for voice in split.voices}
    for row in rows:
        words = row["text"].split()
        path = folder / row["audio"]
        if not 1 <= len(words) <= 6 or set(words) - set(DIGITS):
            yield f"{row['id']}: text {row['text']!r}, expected 1 to 6 of: {' '.join(DIGITS)}"
        if row["synthesiser"] != synthesiser or row["speaker"] not in speakers:
            yield f"{row['id']}: {row['speaker']} of {row['synthesiser']} does not belong in {split.name}"
        header = read_flac_header(path) if path.is_file() else None
        if header is None:
            yield f"{row['id']}: {row['audio']} is missing or not FLAC"
        elif header[:2] != (SAMPLE_RATE, 1):
            yield f"{row['id']}: {header[0]} Hz, {header[1]} channels; expected {SAMPLE_RATE} Hz mono"
        elif round(header[2] / SAMPLE_RATE, 4) != row["duration"]:
            yield f"{row['id']}: lasts {header[2] / SAMPLE_RATE:.4f} s, the manifest says {row['duration']} s"
    if len(rows) != split.per_voice * len(split.voices):
        yield f"{split.name}: {len(rows)} utterances, expected {split.per_voice * len(split.voices)}"


def check(folder):
    """All that is wrong with the corpus in `folder`, as lines."""
    rows = {split.name: read_manifest(folder, split) for split in SPLITS}
    for split in SPLITS:
        yield from check_rows(folder, split, rows[split.name])
    for key, groups in (
        ("speaker", ["train", "dev", "test", "test-flite"]),
        ("id", ["train", "dev", "test", "test-flite"]),
        ("text", ["train", "dev", "test"]),
        ("text", ["train", "dev", "test-flite"]),
    ):
        for index, left in enumerate(groups):
            for right in groups[index + 1 :]:
                shared = {row[key] for row in rows[left]} & {row[key] for row in rows[right]}
                if shared:
                    yield f"{left} and {right} share {key} {sorted(shared)[0]!r} and {len(shared) - 1} more"
    everything = [row for name in rows for row in rows[name]]
    voices = {row["speaker"] for row in everything}
    if len(voices) < MINIMUM_VOICES:
        yield f"{len(voices)} voices, at least {MINIMUM_VOICES} expected"
    seconds = sum(row["duration"] for row in everything)
    if seconds < MINIMUM_SECONDS:
        yield f"{seconds / 60:.1f} minutes, at least {MINIMUM_SECONDS / 60:.0f} expected"
    listed = {row["audio"] for row in everything}
    present = {str(path.relative_to(folder)) for path in (folder / "audio").rglob("*") if path.is_file()}
    if present - listed:
        yield f"{sorted(present - listed)[0]} and {len(present - listed) - 1} more are in no manifest"
    own = [folder / name for name in present] + [folder / f"{split.name}.jsonl" for split in SPLITS]
    size = sum(path.stat().st_size for path in own)
    if size > MAXIMUM_BYTES:
        yield f"{size:,} bytes, at most {MAXIMUM_BYTES:,} allowed"
    readme = folder / "README.md"
    if listed <= present and readme.exists() and f"\n{table(folder)}\n" not in readme.read_text(encoding="utf-8"):
        yield "README.md: the table of counts is not what the manifests give"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="verify the corpus instead of making it")
    parser.add_argument("--out", type=pathlib.Path, default=HERE, metavar="DIR", help="the corpus's folder (default: this one)")
    arguments = parser.parse_args()
    if not arguments.check:
        make(arguments.out)
    try:
        problems = list(check(arguments.out))
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is missing: make the corpus first")
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(table(arguments.out))


if __name__ == "__main__":
    main()
