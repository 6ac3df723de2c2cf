"""The rate of a large matrix product, so that shares of this machine's roof can be given."""

import protocol

SIZE = 3072  # the widest product of a Base block; 36 MiB of fp32 a matrix, beyond any cache but the largest
LEAST = 5


def prepare(job):
    import time

    import torch

    torch.set_num_threads(job["threads"])
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[job["setting"]["precision"]]
    left, right = (torch.randn(SIZE, SIZE, dtype=dtype) for _ in range(2))

    def work(_):
        best = float("inf")
        for _ in range(LEAST):
            started = time.perf_counter()
            torch.mm(left, right)
            best = min(best, time.perf_counter() - started)
        return {"gflops": 2 * SIZE**3 / best / 1e9}

    return work


if __name__ == "__main__":
    protocol.serve(["torch"], prepare)
