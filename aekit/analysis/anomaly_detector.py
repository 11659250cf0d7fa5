"""The detector: what the training samples' codes and errors look like, and how far a sample lies from that."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.encoder.identity import check_same_encoder
from aekit.errors import DataError, IdentityError
from aekit.evaluation.metrics.image import squared_errors
from aekit.evaluation.neighbors import nearest_neighbors
from aekit.io.atomic import read_json, write_json
from aekit.objectives.autoencoder import Autoencoder

FORMAT = 1
NEIGHBORS = 5
WIDEST = 2048
"""Numbers in a code up to which its covariance is held."""
MAX_REFERENCE = 10_000
"""Training codes that are kept for the distance to the nearest."""
_SEEN, _KEPT = 2**26, 2**24
"""Numbers in the codes that are held while fitting, and in those that are kept: wide codes are fewer."""
EQUAL = 1e-4
"""Deviations an entry, within which two samples are one."""
TAIL = 0.1
"""Share of the training samples whose scores the tail is fitted to."""
_LEVELS = 1001


@dataclass
class Detector:
    """Scores of samples, higher for what is less like the training samples.

    - ``reconstruction``: mean squared error of the reconstruction, on the network's scale; of the features that frozen layers
      give, where the autoencoder was trained on those.
    - ``code``: Mahalanobis distance of the code to the training codes, whose covariance is shrunk (Ledoit and Wolf, A
      well-conditioned estimator for large-dimensional covariance matrices, 2004). Not for codes of over 2048 numbers.
    - ``neighbors``: mean distance of the code, each entry in deviations, to the 5 nearest of 10,000 training codes, itself
      not counted.
    - ``bound``: the negative evidence bound, in nats: the error plus the divergence of the posterior from the prior, where
      the encoder's head gives one (An and Cho, Variational autoencoder based anomaly detection, 2015).
    - ``combined``: the mean surprise of ``reconstruction`` and ``code`` (of ``neighbors`` where there is no ``code``): the
      one sees what the decoder cannot make, the other codes that it was never asked to. A score's surprise is the negative
      logarithm of the share of training samples that score at least as high, so that scores of any unit can be added, as
      Fisher adds p-values. Above the highest tenth of the training scores, where shares run out, an exponential tail fitted
      to them goes on.

    Attributes:
        digest: of the encoder.
        tensors: what was fitted, by name.
        names: of the scores.
    """

    digest: str
    names: list[str]
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def fit(cls, encoder: Encoder, autoencoder: Autoencoder | None, samples: Samples) -> Detector:
        """A detector from training samples.

        Args:
            encoder: trained and frozen.
            autoencoder: it and its decoder; without it there are no reconstruction errors.
            samples: that count as normal.

        Raises:
            DataError: fewer than 10 samples.
        """
        if len(samples) < 10:
            raise DataError(f"{len(samples)} samples to fit a detector on: expected 10 at least")
        most = max(100, _SEEN // encoder.dim)
        found = [_looked_at(encoder, autoencoder, raw) for raw in samples.chunks(size=256, max_samples=most)]
        codes = torch.cat([code for code, _ in found]).double()
        deviation = codes.std(0)
        tensors = {"mean": codes.mean(0), "scale": torch.where(deviation > 1e-12, 1 / deviation, 0.0)}
        remembered = min(len(codes), MAX_REFERENCE, max(100, _KEPT // encoder.dim))
        kept = torch.linspace(0, len(codes) - 1, remembered).long()
        tensors["codes"] = ((codes[kept] - tensors["mean"]) * tensors["scale"]).float()
        if codes.shape[1] <= WIDEST:
            from sklearn.covariance import ledoit_wolf

            covariance = torch.from_numpy(ledoit_wolf((codes - tensors["mean"]).numpy(), assume_centered=True)[0])
            # The root of the inverse: distances are then lengths. Directions without any variance do not count.
            values, vectors = torch.linalg.eigh(covariance)
            known = values > 1e-12 * values.max().clamp(min=1e-300)
            tensors["whitening"] = vectors[:, known] / values[known].sqrt()
        detector = cls(encoder.digest, [], tensors)
        own = {name: torch.cat([scores[name] for _, scores in found]).numpy() for name in found[0][1]}
        scores = own | detector._distances(codes)
        levels = torch.linspace(0, 1, _LEVELS, dtype=torch.float64)
        for name, values_ in scores.items():
            tensors[f"tail.{name}"] = torch.quantile(torch.from_numpy(values_).double(), levels)
            above = values_[values_ > np.quantile(values_, 1 - TAIL)] - np.quantile(values_, 1 - TAIL)
            tensors[f"excess.{name}"] = torch.tensor([float(above.mean()) if len(above) else 0.0], dtype=torch.float64)
        detector.names = [*scores, "combined"]
        return detector

    @torch.inference_mode()
    def scores(self, encoder: Encoder, autoencoder: Autoencoder | None, raw: Tensor) -> dict[str, np.ndarray]:
        """(B, *shape) raw samples -> name -> (B,) float64."""
        codes, own = _looked_at(encoder, autoencoder, raw)
        found = {name: values.numpy() for name, values in own.items()} | self._distances(codes.double())
        parts = [name for name in ("reconstruction", "code" if "code" in found else "neighbors") if name in found]
        found["combined"] = np.mean([self.surprisal(name, found[name]) for name in parts], axis=0)
        return {name: found[name].astype(np.float64) for name in self.names if name in found}

    def surprisal(self, name: str, values: np.ndarray) -> np.ndarray:
        """(B,) scores -> (B,) nats: the negative logarithm of the share of training samples that score as high."""
        quantiles = self.tensors[f"tail.{name}"].numpy()
        levels = np.linspace(0, 1, len(quantiles))
        start = float(np.interp(1 - TAIL, levels, quantiles))
        below = -np.log(np.clip(1 - np.interp(values, quantiles, levels), TAIL, 1))
        excess = max(float(self.tensors[f"excess.{name}"]), 1e-9 * max(1.0, abs(start)))
        return np.where(values <= start, below, -np.log(TAIL) + (values - start) / excess)

    def _distances(self, codes: Tensor) -> dict[str, np.ndarray]:
        """Scores of (B, D) codes by themselves."""
        away, found = codes - self.tensors["mean"], {}
        if "whitening" in self.tensors:
            found["code"] = (away @ self.tensors["whitening"]).norm(dim=1).numpy()
        scaled = (away * self.tensors["scale"]).float().numpy()
        return found | {"neighbors": neighbor_distances(scaled, self.tensors["codes"].numpy())}

    def save(self, folder: Path) -> None:
        """Writes ``detector.json`` and ``detector.safetensors`` into a folder that is there."""
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, folder / "detector.safetensors")
        write_json(folder / "detector.json", {"format": FORMAT, "encoder": self.digest, "scores": self.names})

    @classmethod
    def load(cls, folder: str | Path, encoder: Encoder) -> Detector:
        """Takes up what `save` wrote.

        Raises:
            DataError: there is no detector.
            IdentityError: it was fitted to the codes of another encoder, or is damaged.
        """
        path = Path(folder) / "detector.json"
        if not path.is_file():
            raise DataError(f"{folder}: no detector here; expected a folder that aekit anomalies wrote")
        described = read_json(path)
        if described.get("format") != FORMAT:
            raise IdentityError(f"{path}: detector format {described.get('format')!r}, this aekit reads {FORMAT}")
        check_same_encoder(
            encoder.digest, described["encoder"], what="the run", maker=f"the detector in {folder} was fitted to codes"
        )
        try:
            tensors = load_file(Path(folder) / "detector.safetensors")
        except (OSError, SafetensorError) as error:
            raise IdentityError(
                f"{folder}: detector.safetensors does not load: {str(error).splitlines()[0]}"
            ) from error
        return cls(described["encoder"], described["scores"], tensors)


def neighbor_distances(rows: np.ndarray, base: np.ndarray) -> np.ndarray:
    """The mean distance of each row to its 5 nearest in `base`.

    A sample is not its own neighbor: where one of `base` is equal to the row, it is left out once. Without that, samples
    that a detector was fitted on would pass for the most usual of all.

    Args:
        rows: (B, D) float32, each column in deviations.
        base: (N, D) float32.

    Returns:
        (B,) float64.
    """
    _, places = nearest_neighbors(rows, base, NEIGHBORS + 1, metric="l2", device=torch.device("cpu"))
    # Measured again by differences: products of float32 do not tell equal from almost equal.
    gaps = [np.square(rows.astype(np.float64) - base[column]).sum(1) for column in places.T]
    distances = np.sort(np.sqrt(np.stack(gaps, 1)), axis=1)
    equal = distances[:, 0] <= EQUAL * np.sqrt(rows.shape[1])
    return np.where(equal, distances[:, 1:].mean(1), distances[:, :NEIGHBORS].mean(1))


@torch.inference_mode()
def _looked_at(encoder: Encoder, autoencoder: Autoencoder | None, raw: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Codes (B, D) and what the network says of its samples itself, each (B,) float64, on the CPU."""
    part = encoder if autoencoder is None else autoencoder.trained_part
    x = part.preprocess(raw)
    features = part.backbone(x)
    code = part.head(features).float()
    scores: dict[str, Tensor] = {}
    if autoencoder is not None:
        output = autoencoder.decoder(code).float()
        scores["reconstruction"] = squared_errors(autoencoder.likelihood.activate(output), x).cpu()
        divergence = getattr(part.head, "divergence", None)
        if divergence is not None:
            scores["bound"] = (autoencoder.likelihood(output, x) + divergence(features)).double().cpu()
    return code.cpu(), scores
