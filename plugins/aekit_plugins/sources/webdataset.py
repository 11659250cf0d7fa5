"""Tar files of samples, as WebDataset writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Unpack

from aekit.plugin import (
    DecodingOptions,
    Field,
    SampleSpec,
    Source,
    holds_only,
    list_shards,
    open_contents,
    read_tar_shards,
)

looks_for = "tar files of samples such as 000.jpg with 000.cls"
specific = True


def open_dataset(
    where: str,
    like: SampleSpec | None = None,
    *,
    member: Annotated[
        str, Field(description="ending of the samples' files, such as jpg; auto: images, else npy")
    ] = "auto",
    **decoding: Unpack[DecodingOptions],
) -> Source:
    """Open a tar file, a folder of them, or a range such as ``train-{000..003}.tar``.

    Files of one name are a sample: an image or a .npy array, and its label in ``.cls``, or in ``.json`` as ``label`` or
    ``class``. Ids are the names; names of the tar files that begin with train, val or test give the splits.

    Raises:
        DataError: a file is not a tar file, holds no samples, or several of a sample's files may be the sample.
    """
    contents = read_tar_shards(list_shards(where, (".tar", ".gz", ".tgz")), where, member)
    return open_contents(contents, like, {**decoding, "source": "webdataset"})


def claims(path: Path) -> bool:
    """Return True for a tar file, a range of them, or a folder that holds some and no images."""
    return not path.is_dir() or holds_only(path, (".tar", ".tgz"))


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    import io
    import tarfile

    from aekit.plugin import encoded_images

    with tarfile.open(folder / "samples-000.tar", "w") as archive:
        for row, content in enumerate(encoded_images()):
            for name, member in ((f"{row:03d}.png", content), (f"{row:03d}.cls", str(row % 3).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(member)
                archive.addfile(info, io.BytesIO(member))
    return str(folder / "samples-000.tar")
