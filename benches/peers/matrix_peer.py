"""The rate of a large matrix product, so that shares of this machine's roof can be given."""

import protocol

# On a CPU the widest product of a Base block, 36 MiB of fp32 a matrix, beyond any cache but the largest; on a GPU enough
# to keep all of it busy.
SIZE = {"cpu": 3072, "cuda": 8192}
LEAST = 5


def prepare(job):
    import time

    import torch

    torch.set_num_threads(job["threads"])
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[job["setting"]["precision"]]
    device = job["device"]
    size = SIZE[device]
    left, right = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()


    def work(_):
        best = float("inf")
        for _ in range(LEAST):
            wait()
            started = time.perf_counter()
            torch.mm(left, right)
            wait()
            best = min(best, time.perf_counter() - started)
        return {"gflops": 2 * size**3 / best / 1e9}

    return work


if __name__ == "__main__":
    protocol.serve(["torch"], prepare)
