"""The sections of a recipe and their settings; that of the data is in `_data_section`, that of the training in `settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aekit.evaluation.labels import TargetType
from aekit.training._data_section import DataSection
from aekit.training.settings import Settings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EncoderSection(_Section):
    backbone: Annotated[str, Field(description="backbone plugin; auto: by the kind of data")] = "auto"
    dim: Annotated[int, Field(ge=0, le=10**6, description="embedding dimensions; 0: the backbone's features")] = 64
    scaling: Annotated[
        Literal["auto", "unit", "standard", "none"], Field(description="scaling of raw samples; auto: by their range")
    ] = "auto"
    normalize: Annotated[bool, Field(description="scale embeddings to length 1")] = False
    hidden: Annotated[
        list[Annotated[int, Field(ge=1, le=10**6)]],
        Field(description="widths of dense layers on top of the backbone, which count as stages"),
    ] = []
    weights: Annotated[
        str,
        Field(
            description="initial weights: the folder of an aekit encoder or run, or a name the backbone knows; else random"
        ),
    ] = ""
    frozen: Annotated[
        Literal["all"] | Annotated[int, Field(ge=0)],
        Field(description="number of lowest stages to freeze; all: every stage of the backbone"),
    ] = 0


class ObjectiveSection(_Section):
    variants: Annotated[list[str], Field(description="autoencoder variants, composed in this order")] = []
    pretexts: Annotated[list[str], Field(description="pretext tasks, trained instead of or with an autoencoder")] = []
    weights: Annotated[dict[str, float], Field(description="weight of each pretext and of 'autoencoder'")] = {}
    loss: Annotated[
        Literal["auto", "bce", "mse", "gaussian", "logistic", "huber", "ssim"],
        Field(description="reconstruction loss; auto: bce for data in [0, 1], else mse"),
    ] = "auto"


class LayerSettings(_Section):
    epochs: Annotated[int | None, Field(ge=0, description="epochs of this layer; by default layerwise.epochs")] = None
    lr: Annotated[float | None, Field(gt=0, description="peak learning rate; by default train.lr")] = None
    variants: Annotated[
        list[str] | None, Field(description="variants of this layer; by default objective.variants")
    ] = None


class LayerwiseSection(_Section):
    epochs: Annotated[
        int,
        Field(ge=0, description="epochs of each layer, from the first, before the whole network is trained; 0: none"),
    ] = 0
    layers: Annotated[
        list[dict[str, Any]],
        Field(description="a table for each layer, from the first: epochs, lr, variants, and a table for each variant"),
    ] = []

    def layer(self, number: int) -> tuple[LayerSettings, Mapping[str, Mapping[str, Any]]]:
        """Return the settings of a layer, from 0, and the options of its variants."""
        settings, tables = split_table(self.layers[number] if number < len(self.layers) else {})
        return LayerSettings.model_validate(settings), tables


class EvaluateSection(_Section):
    evaluators: Annotated[list[str], Field(description="evaluators to run after training: names, all or quick")] = []
    baselines: Annotated[bool, Field(description="evaluate raw input, PCA and a random encoder too")] = True
    pretrained: Annotated[
        str,
        Field(description="pretrained network to compare with, such as timm:MODEL; none; auto: one on this machine"),
    ] = "auto"
    groups: Annotated[str | None, Field(description="regex: samples whose ids share its match share a split")] = None
    target_type: Annotated[
        TargetType, Field(description="type of the labels; auto: fractions and most integers with gaps are numbers")
    ] = "auto"


def split_table(table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """Split the table of a layer into its settings and the tables of its variants."""
    tables = {name: value for name, value in table.items() if isinstance(value, Mapping)}
    return {name: value for name, value in table.items() if name not in tables}, tables


SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSection,
    "encoder": EncoderSection,
    "objective": ObjectiveSection,
    "layerwise": LayerwiseSection,
    "train": Settings,
    "evaluate": EvaluateSection,
}
