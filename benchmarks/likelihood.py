"""Estimate the log-likelihood of test samples under variational autoencoders, in nats.

    python benchmarks/likelihood.py RUN... [--draws 1 50 5000] [--samples 1000] [--binary] [--data SOURCE] [--seed 0]

For each run and each number of draws: the mean over test samples of the importance-weighted bound on log p(x), negated, and its
standard error. With one draw it is the negative evidence lower bound. ``--binary`` samples black-and-white images from gray
ones first, once for all runs.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from aekit.data.opening import open_data, reopen
from aekit.objectives.autoencoder import load_autoencoder
from aekit.objectives.likelihood import log_likelihood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--draws", type=int, nargs="+", default=[1])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--binary", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{'run':32} {'draws':>6} {'samples':>8} {'-bound':>9} {'s.e.':>6}")
    for run in arguments.runs:
        autoencoder = load_autoencoder(run)
        encoder = autoencoder.encoder
        source = open_data(arguments.data, like=encoder.spec) if arguments.data else reopen(encoder.record["data"])
        raw = source.read(source.rows_of("test")[: arguments.samples])[0]
        if arguments.binary:
            high = encoder.preprocess.raw_range()[1].numpy()
            chance = np.random.default_rng(arguments.seed).random(raw.shape)
            raw = (high * (chance < raw / high)).astype(raw.dtype)
        for draws in arguments.draws:
            generator = torch.Generator().manual_seed(arguments.seed)
            bounds = log_likelihood(autoencoder, torch.from_numpy(raw), generator, draws=draws).double()
            error = bounds.std() / len(bounds) ** 0.5
            print(f"{run:32} {draws:6} {len(bounds):8} {-bounds.mean():9.2f} {error:6.2f}", flush=True)


if __name__ == "__main__":
    main()
