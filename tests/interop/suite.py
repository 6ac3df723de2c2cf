"""Compares klang with transformers, ONNX Runtime and CTranslate2, and its transcripts with what reads them.

Started by `run`, which makes the environment.
"""

import argparse
import logging
import os
import pathlib
import shutil
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here is to be fetched
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

WORK = pathlib.Path(__file__).resolve().parents[2] / "target/interop/work"
PARTS = ["in", "base", "out", "pretrain", "tools", "transcripts"]


def options(families):
    parser = argparse.ArgumentParser(prog="tests/interop/run", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--family", action="append", choices=families, help="only this family; may be repeated")
    return parser.parse_args()


def main():
    import torch
    import transformers

    import base_size
    import inward
    import outward
    import pretraining
    import report
    import tools
    import transcripts
    from families import FAMILIES

    chosen = options(list(FAMILIES))
    parts, families = chosen.part or PARTS, chosen.family or list(FAMILIES)
    transformers.utils.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    print(f"{os.environ['KLANG']} against transformers {transformers.__version__}, torch {torch.__version__}")

    if "transcripts" in parts:
        transcripts.compare()
    if parts == ["transcripts"]:
        return report.finish()
    models = inward.families(WORK, families, compare_them="in" in parts)
    if "in" in parts and "wav2vec2-base" in models:
        inward.all_layouts(WORK, models["wav2vec2-base"])
    if "base" in parts:
        base_size.compare(WORK)
    if "out" in parts or "tools" in parts:
        exported = outward.families(WORK, models)
    if "out" in parts and "wav2vec2-large" in models:
        outward.headless(WORK, models["wav2vec2-large"])
    if "pretrain" in parts:
        pretraining.compare(WORK)
    if "tools" in parts:
        tools.compare(WORK, exported)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
