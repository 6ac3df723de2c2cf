"""The programs that are needed, and how they are run."""

import shutil
import subprocess
import sys


def say(message):
    print(message, file=sys.stderr, flush=True)


def fail(message):
    say(message)
    sys.exit(2)


def installed():
    """Versions of what is needed beside Python; where something is missing, that is said and all ends."""
    missing = [program for program in ("espeak-ng", "sox") if shutil.which(program) is None]
    if missing:
        fail(f"{' and '.join(missing)} not found: apt-get install -y {' '.join(missing)}")
    try:
        import babel
    except ImportError:
        fail(f"babel, the Python package with CLDR's words, not found: {sys.executable} -m pip install babel")
    espeak = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout
    espeak = espeak.partition("Data at")[0].strip().rpartition(" ")[2]
    sox = subprocess.run(["sox", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    return {"espeak-ng": espeak, "sox": sox, "babel": babel.__version__}


def run(command, data=b""):
    """In a process group of its own: Ctrl-C must not end espeak-ng and so seem a sentence that it cannot speak."""
    return subprocess.run(command, input=data, capture_output=True, check=False, process_group=0)
