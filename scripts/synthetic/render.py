"""Utterances: drawn, spoken, resampled, trimmed, and written as FLAC."""

import array
import os
import random
import sys

from .programs import fail, run
from .sentences import draw_sentence
from .voices import USUAL_RATE, NotSpoken, espeak, switches_language

SAMPLE_RATE = 16_000
SECONDS = (2.0, 15.0)  # what an utterance may last; others are drawn again
AIM = (3.5, 13.0, 7.0)  # shortest, longest, likeliest: what a sentence is cut to, by the language's measured pace
WORDS_PER_MINUTE, PITCH, PITCH_RANGE = (120, 220), (20, 80), (40, 160)  # of espeak-ng; the range in per cent
EDGE_SECONDS = (0.05, 0.25)  # silence before and after the speech
PEAK = (0.3, 0.9)  # of full scale
SILENT_PEAK = 600  # of 32767: what espeak-ng gives below that is no speech
ATTEMPTS = 40  # draws of one utterance before its language is given up
RAW = ["-t", "raw", "-e", "signed", "-b", "16", "-L", "-c", "1", "-r", str(SAMPLE_RATE)]


def sox(arguments, data):
    done = run(["sox", "-D", *arguments], data)
    if done.returncode != 0:
        fail(f"sox {' '.join(map(str, arguments))}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def to_bytes(samples):
    if sys.byteorder == "big":
        samples = array.array("h", samples)
        samples.byteswap()
    return samples.tobytes()


def resample(wav):
    effects = ["gain", "-3", "rate", "-v", str(SAMPLE_RATE)]
    samples = array.array("h", sox(["-t", "wav", "-", *RAW, "-", *effects], wav))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def shape(samples, source):
    """The speech with silence of drawn length at either end, at a drawn level."""
    peak = max(max(samples, default=0), -min(samples, default=0))
    if peak < SILENT_PEAK:
        raise NotSpoken("silent")
    frame = SAMPLE_RATE // 50
    levels = [max(map(abs, samples[start : start + frame])) for start in range(0, len(samples), frame)]
    loud = [index for index, level in enumerate(levels) if level > peak * 0.01]
    if sum(level > peak * 0.03 for level in levels) < 0.4 * (loud[-1] - loud[0] + 1):
        raise NotSpoken("mostly silent")
    gain = source.uniform(*PEAK) * 32767 / peak
    speech = samples[loud[0] * frame : (loud[-1] + 1) * frame]
    before, after = (array.array("h", bytes(2 * round(source.uniform(*EDGE_SECONDS) * SAMPLE_RATE))) for _ in "ab")
    speech = before + array.array("h", (round(sample * gain) for sample in speech)) + after
    if not SECONDS[0] <= len(speech) / SAMPLE_RATE <= SECONDS[1]:
        raise NotSpoken(f"{len(speech) / SAMPLE_RATE:.1f} s long")
    return speech


def write_flac(samples, path):
    temporary = path.with_name(path.name + ".tmp")
    sox([*RAW, "-", "--comment", "", "-t", "flac", "-C", "8", temporary], to_bytes(samples))
    os.replace(temporary, path)


def flac_seconds(path):
    """From the STREAMINFO block, which a FLAC file begins with; None if this is not one of ours."""
    with open(path, "rb") as file:
        head = file.read(42)
    if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F != 0:
        return None
    packed = int.from_bytes(head[18:26], "big")  # 20 bits rate, 3 channels − 1, 5 bits per sample − 1, 36 samples
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    return (packed & (1 << 36) - 1) / SAMPLE_RATE if (rate, channels, bits) == (SAMPLE_RATE, 1, 16) else None


def draw_utterance(seed, language, variants, number):
    """Samples and speaker of the language's utterance of this number, or NotSpoken if no draw of it was fit."""
    for attempt in range(ATTEMPTS):
        source = random.Random(f"{seed}/{language.voice.language}/{number}/{attempt}")
        variant, rate = source.choice(source.choice(variants)), source.randint(*WORDS_PER_MINUTE)
        pitch, pitch_range = source.randint(*PITCH), source.randint(*PITCH_RANGE)
        sentence = draw_sentence(source, language, source.triangular(*AIM) * rate / USUAL_RATE)
        try:
            wav, _, phonemes = espeak(language.voice, variant, sentence, rate, pitch, pitch_range)
            if switches_language(phonemes, language.voice.language):
                raise NotSpoken("read as another language")
            samples = shape(resample(wav), source)
        except NotSpoken as reason:
            last = reason
            continue
        speaker = f"{language.voice.language}+{variant}-rate{rate // 20 * 20}-pitch{pitch // 10 * 10}"
        return samples, speaker
    raise NotSpoken(f"utterance {number} not fit in {ATTEMPTS} draws, the last was {last}")
