"""A recogniser as ONNX, for batches of any size and utterances of any length."""

import torch

import audio


class LogitsAlone(torch.nn.Module):
    """A model of one input and one output, as ONNX is to have it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, samples):
        return self.model(input_values=samples).logits


def write(model, path):
    """By torch.export's exporter; the older one, by tracing, gives wrong logits."""
    axes = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("length", min=1000)}
    torch.onnx.export(
        LogitsAlone(model).eval(), (torch.randn(2, audio.RATE),), path, input_names=["samples"],
        output_names=["logits"], dynamo=True, dynamic_shapes={"samples": axes}, verbose=False, external_data=False,
    )
