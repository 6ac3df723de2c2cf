"""What the suite prints and counts. A check that fails is told at once, and again at the end."""

import contextlib
import time
import traceback

_failures = []
_start = time.monotonic()


def section(title):
    print(f"\n== {title} (at {time.monotonic() - _start:.0f} s)", flush=True)


def note(text):
    print(f"   {text}", flush=True)


def check(name, holds, expected, got):
    """Counts a failure unless `holds`; returns `holds`."""
    if not holds:
        _failures.append(f"{name}: expected {expected}, got {got}")
        print(f"   FAILED {_failures[-1]}", flush=True)
    return bool(holds)


def equal(name, expected, got):
    return check(name, expected == got, repr(expected), repr(got))


def compared(name, errors, bound):
    """Prints one line of relative errors by stage; each must be within `bound`."""
    within = all(error <= bound for error in errors.values())  # also false of NaN
    figures = "  ".join(f"{stage} {error:.1e}" for stage, error in errors.items())
    print(f"{name:28} {figures}  {'ok' if within else 'FAILED'}", flush=True)
    for stage, error in errors.items():
        check(f"{name}, {stage}", error <= bound, f"a relative error of at most {bound:.0e}", f"{error:.3e}")
    return within


@contextlib.contextmanager
def case(name):
    """What goes wrong inside is this case's failure, and the next one goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001: whatever a tool raises is to be reported
        trace = traceback.extract_tb(error.__traceback__)[-1]
        check(name, False, "no error", f"{type(error).__name__}: {error} ({trace.filename}:{trace.lineno})")


def finish():
    """Lists the failures; returns the exit code."""
    print()
    for failure in _failures:
        print(f"FAILED {failure}")
    print(f"{len(_failures)} failed" if _failures else "all agree", f"({time.monotonic() - _start:.0f} s)")
    return 1 if _failures else 0
