"""espeak-ng: the voices that it has, and what it says in them."""

import collections
import pathlib
import re
import signal
import subprocess
import tempfile
import wave

from .programs import fail, run

USUAL_RATE = 170  # at which a language's pace is measured
CRASHES = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
MARKED_AS = {"hyw": "hy"}  # in espeak-ng's phonemes, where SSML is at work

# Variants that speak; robots, whispers and echo chambers are left out, and names for one and the same voice. A woman's
# voice and a man's are drawn equally often.
WOMEN = """
f1 f2 f3 f4 f5 Alicia Andrea anika Annie aunty belinda grandma linda shelby steph steph2 steph3 zac
""".split()
MEN = """
m1 m2 m3 m4 m5 m6 m7 m8 klatt klatt2 klatt3 klatt4 klatt5 adam Alex Andy antonio benjamin boris croak david Denis Diogo ed
edward edward2 Gene Gene2 grandpa gustave Henrique Hugo iven iven2 iven3 iven4 Jacky john kaukovalta Lee marcelo Marco
Mario max Michael michel Mike Nguyen norbert pablo paul pedro quincy rob robert sandro travis victor
""".split()

Voice = collections.namedtuple("Voice", "language file")


class NotSpoken(Exception):
    """An utterance that must be drawn again, and why."""


def list_voices():
    """Languages and variants of the espeak-ng that is installed."""

    def listed(option):
        listing = subprocess.run(["espeak-ng", option], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines()[1:]:
            found = re.match(r"\s*\d+\s+\S+\s+\S+\s+\S+\s+(\S+)", line)
            if found:
                yield found[1]

    files = [file for file in listed("--voices") if not file.startswith(("mb/", "!v"))]
    voices = {file.rpartition("/")[2].lower(): file for file in files}
    installed = {name.removeprefix("!v/") for name in listed("--voices=variant")}
    variants = [[name for name in names if name in installed] for names in (WOMEN, MEN)]
    if not all(variants):
        fail("espeak-ng lists no variants of its voices: try apt-get install --reinstall espeak-ng-data")
    return [Voice(*item) for item in sorted(voices.items())], variants


def espeak(voice, variant, text, rate=USUAL_RATE, pitch=50, pitch_range=100):
    """What espeak-ng says: a WAV file's bytes, its seconds, and the phonemes.

    `voice.file` is a language file such as `gmw/en`: with `-v en-gb+m1` espeak-ng would silently ignore the variant,
    with `-v gmw/en+m1` it does not. A range of pitch is only to be had through SSML.
    """
    with tempfile.TemporaryDirectory() as folder:
        wav = pathlib.Path(folder) / "speech.wav"
        markup = f'<prosody range="{pitch_range}%">{text}</prosody>'
        voice_name = f"{voice.file}+{variant}"
        command = ["espeak-ng", "-m", "-x", "-v", voice_name, "-s", str(rate), "-p", str(pitch), "-w", wav, markup]
        done = run(command)
        if -done.returncode in CRASHES:  # as it does on some sentences
            raise NotSpoken("a crash of espeak-ng")
        if done.returncode != 0:
            fail(f"{' '.join(map(str, command))}: {done.stderr.decode(errors='replace').strip() or done.returncode}")
        try:
            with wave.open(str(wav), "rb") as file:
                return wav.read_bytes(), file.getnframes() / file.getframerate(), done.stdout.decode(errors="replace")
        except (OSError, EOFError, wave.Error) as error:
            raise NotSpoken("espeak-ng wrote no speech") from error


def switches_language(phonemes, language):
    """Whether espeak-ng read a part as another language, which it marks by `(en)`: foreign words, unknown letters."""
    own = {language.partition("-")[0], MARKED_AS.get(language)}
    marked = re.findall(r"\(([a-z]{2,3})(?:-[a-z0-9-]+)?\)", phonemes)
    return any(mark not in own for mark in marked)
