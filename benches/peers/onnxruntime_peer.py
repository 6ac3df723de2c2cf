"""ONNX Runtime on the models that materials.py exported."""

import pathlib

import protocol
import recognition


def prepare(job):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    path = pathlib.Path(job["model"]) / "onnx" / f"{job['setting']['precision']}.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def logits(samples, lengths):
        return session.run(["logits"], {"samples": samples})[0]

    return recognition.Recogniser(job, logits)


if __name__ == "__main__":
    protocol.serve(["onnxruntime", "onnx", "onnxscript", "numpy", "soundfile"], prepare)
