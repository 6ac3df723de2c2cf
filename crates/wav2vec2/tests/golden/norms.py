"""Makes norms.safetensors beside it: KL-Norm at one site, by torch.distributions and autograd in float64.

    pip install torch==2.11.0 safetensors numpy
    python norms.py

hidden (row, frame, channel) with lengths (row); the parameters gamma, beta, w, b, a, s, u, v, sigma_u, sigma_v; weights
(channel). For each STATISTICS, and with -low-rank behind it the low-rank terms too: STATISTICS.rate (channel) is the mean
over real frames of kl_divergence(N(mu, sigma), N(0, 1)); STATISTICS.gradient.NAME the gradients of the weighted sum of
these rates; STATISTICS.mean (frame, channel) is gamma * mu + beta of the real frames, row after row.
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

EPSILON, GROUPS, CHANNELS, RANK = 1e-5, 4, 12, 3
LENGTHS = [9, 1, 6]


def standardise(rows, statistics):
    """Real frames of each row (frame, channel), standardised."""
    if statistics == "layer":
        return [functional.layer_norm(row, [CHANNELS], eps=EPSILON) for row in rows]
    if statistics == "rms":
        return [functional.rms_norm(row, [CHANNELS], eps=EPSILON) for row in rows]
    if statistics == "group":
        return [functional.group_norm(row.T[None], GROUPS, eps=EPSILON)[0].T for row in rows]
    if statistics == "batch":
        return list(functional.batch_norm(torch.cat(rows), None, None, training=True, eps=EPSILON).split(LENGTHS))
    # instance_norm refuses a single frame, which is its own mean.
    one = lambda row: torch.zeros_like(row) * row if len(row) == 1 else functional.instance_norm(row.T[None], eps=EPSILON)[0].T
    return [one(row) for row in rows]


def main():
    torch.manual_seed(3)
    draw = lambda *shape, scale=0.3, middle=0.0: torch.randn(*shape) * scale + middle
    given = dict(
        gamma=draw(CHANNELS, middle=1.0), beta=draw(CHANNELS), w=draw(CHANNELS, middle=1.0), b=draw(CHANNELS),
        a=draw(CHANNELS), s=draw(CHANNELS, middle=-1.0), u=draw(CHANNELS, RANK), v=draw(RANK, CHANNELS),
        sigma_u=draw(CHANNELS, RANK), sigma_v=draw(RANK, CHANNELS), weights=draw(CHANNELS, scale=1.0),
        hidden=draw(len(LENGTHS), max(LENGTHS), CHANNELS, scale=2.0, middle=0.5),
    )
    stages = {name: tensor.float() for name, tensor in given.items()}
    stages["lengths"] = torch.tensor(LENGTHS)
    for statistics in ["layer", "batch", "instance", "group", "rms"]:
        for low_rank in [False, True]:
            p = {name: stages[name].double().requires_grad_() for name in given}
            rows = [row[:length] for row, length in zip(p["hidden"], LENGTHS)]
            x = torch.cat(standardise(rows, statistics))
            mean, log_sigma = p["w"] * x + p["b"], p["a"] * x + p["s"]
            if low_rank:
                mean = mean + torch.tanh(x @ p["v"].T) @ p["u"].T
                log_sigma = log_sigma + torch.tanh(x @ p["sigma_v"].T) @ p["sigma_u"].T
            rate = kl_divergence(Normal(mean, log_sigma.exp()), Normal(0.0, 1.0)).mean(0)
            name = statistics + ("-low-rank" if low_rank else "")
            stages[f"{name}.rate"] = rate.detach().float()
            stages[f"{name}.mean"] = (p["gamma"] * mean + p["beta"]).detach().float()
            (rate * p["weights"]).sum().backward()
            for part, parameter in p.items():
                if parameter.grad is not None and part != "weights":
                    stages[f"{name}.gradient.{part}"] = parameter.grad.float()
    path = pathlib.Path(__file__).with_suffix(".safetensors")
    save_file({name: tensor.contiguous() for name, tensor in stages.items()}, path,
              metadata={"seed": "3", "torch": torch.__version__})


main()
