"""The section ``[data]`` of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class DataSection(BaseModel):
    """Which samples are trained on, and how they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(description="a folder, an array file, or SOURCE:NAME", min_length=1)]
    split: Annotated[str, Field(description="split to train on, if the data has splits; all: every sample")] = "train"
    strict: Annotated[bool, Field(description="stop at the first sample that cannot be read")] = False
    only_labels: Annotated[list[str], Field(description="labels of the samples to train on; empty: all")] = []
    streaming: Annotated[
        Literal["auto"] | bool,
        Field(
            description="read samples again in each epoch instead of keeping them decoded; auto: those that fit neither in "
            "memory nor on half of the free disk"
        ),
    ] = "auto"
    shuffle_buffer: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=1, le=10**7)],
        Field(description="samples among which one is shuffled in streaming; auto: 65,536 or as many as 512 MiB hold"),
    ] = "auto"
    target: Annotated[
        str | None,
        Field(description="the clean samples to reconstruct, if source holds damaged ones: data with the same ids"),
    ] = None
    targets: Annotated[
        dict[str, dict[str, Any]],
        Field(description="options of the source that opens target, in addition to those of source"),
    ] = {}
