"""Makes log_mel.json beside it: what transformers computes as the log-mel spectrogram of a signal of 2000 samples.

    pip install transformers==5.23.0 numpy && python make.py

Sample n at 16 kHz, in float64 and then rounded to float32, is e(n) (a(n) + b(n) + c(n)) with
    a(n) = 0.3 sin(2π 440 n / 16000)
    b(n) = 0.2 sin(2π (1234.5 n / 16000 + n² / 16000))
    c(n) = 0.02 (((7919 n² + 104729 n) mod 65536) / 32768 - 1)
    e(n) = 0.00001 for 960 <= n < 1440 (frame 6 sees nothing else), 0 for n >= 1600 (nor frame 10), else 1

Frames are 400 samples, every 160, none padded, times a periodic Hann window, with zeros behind them up to 512. Of their
power spectra 80 triangles of height 1, linear in Hz, their corners evenly spaced by the HTK mel scale from 20 to 8000 Hz,
and the natural log of at least 1e-10. The file: {"samples": 2000, "frames": [80 values a frame, to 6 decimals]}.
"""

import json
import math
import pathlib

import numpy
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

COUNT = 2000


def sample(n):
    envelope = 1e-5 if 960 <= n < 1440 else 0.0 if n >= 1600 else 1.0
    noise = (7919 * n * n + 104729 * n) % 65536 / 32768 - 1
    tone = 0.3 * math.sin(2 * math.pi * 440 * n / 16000)
    return envelope * (tone + 0.2 * math.sin(2 * math.pi * (1234.5 * n / 16000 + n * n / 16000)) + 0.02 * noise)


samples = numpy.array([sample(n) for n in range(COUNT)]).astype(numpy.float32)
filters = mel_filter_bank(257, 80, 20.0, 8000.0, 16000, norm=None, mel_scale="htk")
values = spectrogram(
    samples, window_function(400, "hann", periodic=True), frame_length=400, hop_length=160, fft_length=512, power=2.0,
    center=False, mel_filters=filters, mel_floor=1e-10, log_mel="log", dtype=numpy.float64,
).T
rows = ",\n".join(json.dumps([round(float(value), 6) for value in row]) for row in values)
(pathlib.Path(__file__).parent / "log_mel.json").write_text(f'{{"samples": {COUNT}, "frames": [\n{rows}\n]}}\n')
