"""Detect anomalies by the embeddings and reconstruction errors of reference samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from aekit.analysis._anomaly_vectors import (
    CONTAMINATED_WEIGHTS,
    NORMAL_WEIGHTS,
    RAW_SCORES,
    fit_vectors,
    most_stored,
    neighbor_distances,
    score_scaled,
    score_vectors,
)
from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.encoder.identity import check_same_encoder
from aekit.errors import DataError
from aekit.evaluation.metrics.image import squared_errors
from aekit.io.manifest_models import Sha256, TensorsManifest
from aekit.io.manifests import TensorsFormat, explain_read_errors
from aekit.io.remote import local_path
from aekit.objectives.autoencoder import Autoencoder

CALIBRATION = "calibration"
"""Tensor of the scores of the samples that a threshold is set by, which a detector may lack."""
MAX_COVARIANCE = 2048
"""Most dimensions of an embedding whose covariance is estimated."""
_FIT_VALUES = 2**26
"""Most values of embeddings that are held while fitting: fewer samples of wide embeddings."""
TAIL = 0.1
"""Fraction of the reference samples, those with the highest scores, that the tail is fitted to."""
_LEVELS = 1001


Score = Literal[
    "reconstruction",
    "negative-elbo",
    "code",
    "neighbors",
    "raw-neighbors-5",
    "raw-neighbors-50",
    "raw-tails",
]


class DetectorManifest(TensorsManifest):
    """Entries of ``detector.json``."""

    encoder: Sha256
    scores: Annotated[list[Score | Literal["combined"]], Field(min_length=2)]
    weights: Annotated[dict[Score, Annotated[float, Field(gt=0)]], Field(min_length=1)]
    patches: bool
    """Whether a memory of patches is beside it, which must then be there."""


FORMAT = TensorsFormat(
    "detector", 4, DetectorManifest, "detector.json", "detector.safetensors", "fit it again with aekit anomalies"
)


@dataclass(eq=False)
class Detector:
    """Scores of samples, higher for samples that differ more from the reference samples.

    - ``reconstruction``: mean squared error of the reconstruction of the preprocessed sample; of the features of frozen layers
      if the autoencoder was trained on those.
    - ``code``: Mahalanobis distance of the embedding to the reference embeddings, with a shrunk covariance (Ledoit and Wolf,
      A well-conditioned estimator for large-dimensional covariance matrices, 2004). Not for more than 2,048 dimensions.
    - ``neighbors``: mean distance of the standardized embedding to the 5 nearest of 10,000 reference embeddings, excluding
      itself.
    - ``negative-elbo``: negative evidence lower bound, in nats: the reconstruction loss plus the divergence of the posterior
      from the prior, if the encoder's head has one (An and Cho, Variational autoencoder based anomaly detection, 2015).
    - ``raw-neighbors-5``, ``raw-neighbors-50``, ``raw-tails``: of vectors; see `score_vectors`.
    - ``combined``: weighted mean of surprisals. Surprisal is the negative logarithm of the fraction of reference samples that
      score at least as high. It puts scores of different units on one scale, so that they can be added, as Fisher's method adds
      p-values. Above the 90th percentile of the reference scores, where fractions become coarse, it follows an exponential tail
      fitted to them. Of vectors, ``raw-neighbors-5``, ``raw-tails`` and ``reconstruction`` are averaged by 5 : 2 : 1, and where
      anomalies may be among the reference samples, ``raw-neighbors-50`` and ``raw-tails``. Of other samples, ``reconstruction``
      and ``code`` (``neighbors`` if there is no ``code``): the first is high for samples that the decoder cannot reconstruct,
      the second for embeddings far from the reference.

    Attributes:
        digest: digest of the encoder.
        names: names of the scores.
        tensors: name -> fitted tensor.
        weights: name -> weight of its surprisal in ``combined``.
        has_patches: whether a memory of patches was saved with it.
    """

    digest: str
    names: list[str]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    has_patches: bool = False

    @classmethod
    def fit(
        cls, encoder: Encoder, autoencoder: Autoencoder | None, samples: Samples, contaminated: bool = False
    ) -> Detector:
        """Fit a detector to reference samples.

        Args:
            encoder: trained encoder.
            autoencoder: the encoder with its decoder; None: no reconstruction error.
            samples: normal samples, at least 10.
            contaminated: whether anomalies may be among them.

        Raises:
            DataError: fewer than 10 samples.
        """
        if len(samples) < 10:
            raise DataError(f"{len(samples)} reference samples: a detector needs at least 10")
        max_samples = max(100, _FIT_VALUES // encoder.dim)
        encoded = [_encode(encoder, autoencoder, raw) for raw in samples.chunks(size=256, max_samples=max_samples)]
        codes = torch.cat([code for code, _ in encoded]).double()
        deviation = codes.std(0)
        tensors = {"mean": codes.mean(0), "scale": torch.where(deviation > 1e-12, 1 / deviation, 0.0)}
        rows = torch.linspace(0, len(codes) - 1, min(len(codes), most_stored(encoder.dim))).long()
        tensors["codes"] = ((codes[rows] - tensors["mean"]) * tensors["scale"]).float()
        if codes.shape[1] <= MAX_COVARIANCE:
            from sklearn.covariance import ledoit_wolf

            covariance = torch.from_numpy(ledoit_wolf((codes - tensors["mean"]).numpy(), assume_centered=True)[0])
            # With the root of the inverse, distances are norms. Directions without variance are dropped.
            values, vectors = torch.linalg.eigh(covariance)
            varying = values > 1e-12 * values.max().clamp(min=1e-300)
            tensors["whitening"] = vectors[:, varying] / values[varying].sqrt()
        detector = cls(encoder.digest, [], tensors)
        scores = {name: torch.cat([by_name[name] for _, by_name in encoded]).numpy() for name in encoded[0][1]}
        scores |= detector._distances(codes)
        if encoder.spec.is_vector:
            tensors |= fit_vectors(samples, encoder.preprocess)
            reference = tensors["raw.rows"].numpy()
            scores |= score_scaled(reference, reference)
        for name, score in scores.items():
            tensors[f"tail.{name}"], tensors[f"excess.{name}"] = _fit_tail(score)
        detector.names = [*scores, "combined"]
        embedding_score = "code" if "code" in scores else "neighbors"
        weights = {"reconstruction": 1.0, embedding_score: 1.0}
        if encoder.spec.is_vector:
            # Without a decoder the embedding has the vote of the network.
            of_normal = NORMAL_WEIGHTS if autoencoder is not None else {embedding_score: 1.0} | NORMAL_WEIGHTS
            weights = CONTAMINATED_WEIGHTS if contaminated else of_normal
        detector.weights = {name: weight for name, weight in weights.items() if name in scores}
        return detector

    @torch.inference_mode()
    def scores(self, encoder: Encoder, autoencoder: Autoencoder | None, raw: Tensor) -> dict[str, np.ndarray]:
        """Score (B, *shape) raw samples: name -> (B,) float64."""
        codes, network_scores = _encode(encoder, autoencoder, raw)
        scores = {name: values.numpy() for name, values in network_scores.items()} | self._distances(codes.double())
        if "raw-tails" in self.names:
            scores |= score_vectors(encoder.preprocess(raw), self.tensors)
        weights = {name: weight for name, weight in self.weights.items() if name in scores}
        parts = [weight * self.surprisal(name, scores[name]) for name, weight in weights.items()]
        scores["combined"] = np.sum(parts, axis=0) / sum(weights.values())
        return {name: scores[name].astype(np.float64) for name in self.names if name in scores}

    def surprisal(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return the negative logarithm of the fraction of reference samples that score at least as high: (B,) -> (B,) nats."""
        quantiles = self.tensors[f"tail.{name}"].numpy()
        levels = np.linspace(0, 1, len(quantiles))
        start = float(np.interp(1 - TAIL, levels, quantiles))
        below = -np.log(np.clip(1 - np.interp(values, quantiles, levels), TAIL, 1))
        excess = max(float(self.tensors[f"excess.{name}"]), 1e-9 * max(1.0, abs(start)))
        return np.where(values <= start, below, -np.log(TAIL) + (values - start) / excess)

    def exceeds_reference(self, scores: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (N,) bool: which samples score higher than every reference sample in a score that ``combined`` averages.

        Args:
            scores: name -> (N,), from `scores`.
        """
        names = [name for name in self.weights if name in scores]
        # Scores depend slightly on the batch; a reference sample does not exceed itself.
        most = {name: float(self.tensors[f"tail.{name}"][-1]) * (1 + 1e-5) + 1e-12 for name in names}
        return np.any([scores[name] > most[name] for name in names], axis=0)

    def _distances(self, codes: Tensor) -> dict[str, np.ndarray]:
        """Score (B, D) embeddings by their distance to the reference embeddings."""
        centered, scores = codes - self.tensors["mean"], {}
        if "whitening" in self.tensors:
            scores["code"] = (centered @ self.tensors["whitening"]).norm(dim=1).numpy()
        standardized = (centered * self.tensors["scale"]).float().numpy()
        return scores | {"neighbors": neighbor_distances(standardized, self.tensors["codes"].numpy())}

    def check(self, encoder: Encoder, owner: str = "the detector") -> None:
        """Check that the detector belongs to an encoder.

        Raises:
            IdentityError: it was fitted to the embeddings of another encoder.
        """
        check_same_encoder(encoder.digest, self.digest, what="the run", maker=f"{owner} was fitted to embeddings")

    def save(self, folder: Path, *, patches: bool = False) -> None:
        """Write ``detector.json`` and ``detector.safetensors`` into an existing folder, with or without a patch memory."""
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, folder / FORMAT.tensors)
        record = {"encoder": self.digest, "scores": self.names, "weights": self.weights, "patches": patches}
        FORMAT.write(folder, record)

    @classmethod
    def load(cls, folder: str | Path, encoder: Encoder) -> Detector:
        """Load a detector that `save` wrote.

        Raises:
            DataError: no detector in the folder.
            IdentityError: it was fitted to the embeddings of another encoder, or is damaged.
        """
        path = local_path(folder) / "detector.json"
        if not path.is_file():
            raise DataError(f"{folder}: no detector here; expected a folder that aekit anomalies wrote")
        description = FORMAT.read(path.parent)
        detector = cls(description["encoder"], description["scores"], weights=description["weights"])
        detector.has_patches = description["patches"]
        detector.check(encoder, f"the detector in {folder}")
        with explain_read_errors(path.with_name(FORMAT.tensors), FORMAT.remedy):
            detector.tensors = load_file(path.with_name(FORMAT.tensors))
            detector._check_tensors(encoder.dim, encoder.spec.size)
        return detector

    def _check_tensors(self, dim: int, size: int) -> None:
        """Raise a `ValueError` if a tensor of a score is missing, or does not fit embeddings and samples of these dimensions."""
        shapes: dict[str, tuple[int | None, ...]] = {"mean": (dim,), "scale": (dim,), "codes": (None, dim)}
        shapes |= {"whitening": (dim, None)} if "code" in self.names else {}
        if set(RAW_SCORES) & set(self.names):
            shapes |= {"raw.center": (size,), "raw.factor": (size,), "raw.rows": (None, size)}
        shapes |= {CALIBRATION: (None,)} if CALIBRATION in self.tensors else {}
        for name in self.names[:-1]:
            shapes |= {f"tail.{name}": (_LEVELS,), f"excess.{name}": (1,)}
        if (
            not self.weights.keys() <= set(self.names)
            or self.names[-1] != "combined"
            or self.tensors.keys() != shapes.keys()
        ):
            raise ValueError(f"holds {', '.join(sorted(self.tensors))}; expected {', '.join(sorted(shapes))}")
        for name, expected in shapes.items():
            tensor = self.tensors[name]
            same = len(expected) == tensor.ndim and all(e in (None, n) for e, n in zip(expected, tensor.shape))
            wide = torch.float32 if name in ("codes", "raw.rows") else torch.float64
            if not same or tensor.dtype != wide or not torch.isfinite(tensor).all():
                raise ValueError(
                    f"{name} is {tuple(tensor.shape)} {tensor.dtype}; expected finite {wide} of {expected}"
                )


def _fit_tail(score: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the quantiles (1001,) of reference scores (N,), and (1,) the mean excess of the highest tenth over its start."""
    levels = torch.linspace(0, 1, _LEVELS, dtype=torch.float64)
    start = np.quantile(score, 1 - TAIL)
    excess = score[score > start] - start
    mean_excess = [float(excess.mean()) if len(excess) else 0.0]
    return torch.quantile(torch.from_numpy(score).double(), levels), torch.tensor(mean_excess, dtype=torch.float64)


@torch.inference_mode()
def _encode(encoder: Encoder, autoencoder: Autoencoder | None, raw: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return embeddings (B, D) and the scores that need the network, each (B,) float64, on the CPU."""
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
            scores["negative-elbo"] = (autoencoder.likelihood(output, x) + divergence(features)).double().cpu()
    return code.cpu(), scores
