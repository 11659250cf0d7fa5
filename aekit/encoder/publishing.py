"""Publish encoders on the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aekit._arguments import checked_arguments
from aekit.encoder.encoder import Encoder
from aekit.encoder.identity import find_encoder_folder
from aekit.encoder.loading import load
from aekit.io.hub import push_folder
from aekit.io.remote_urls import is_remote, shown_url
from aekit.progress_display import ProgressOption, open_progress


@checked_arguments
def push_to_hub(
    encoder: Encoder | str | Path,
    repository: str,
    *,
    private: bool | None = None,
    message: str | None = None,
    revision: str | None = None,
    progress: ProgressOption = None,
) -> str:
    """Push an encoder to the Hugging Face Hub, in one commit, with its model card; `aekit.load` reads it from there.

    A missing repository is created. An encoder in it is replaced, and stays in the history of the repository. The
    token is that of ``hf auth login``, or ``HF_TOKEN``.

    Args:
        encoder: an encoder, or the path of an encoder or a run, whose encoder is pushed.
        repository: such as ``user/model``.
        private: whether a new repository is private; None: what the account or organization has as default.
        message: of the commit.
        revision: branch, which is created if it is missing; None: the main one.
        progress: shows messages and bars, as in `aekit.fit`.

    Returns:
        the URL to load it from, such as ``hf://user/model``.

    Raises:
        DataError: there is no encoder.
        IdentityError: it is damaged.
        OutputError: the repository holds something else, cannot be written, or is public where `private` was asked for.

    Examples:
        >>> encoder = aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp")
        >>> url = aekit.push_to_hub(encoder, "user/digits", private=True)
        >>> aekit.load(url).digest == encoder.digest
        True
    """
    display = open_progress(progress)
    url = repository if is_remote(repository) else f"hf://{repository}"
    url = f"{url.rstrip('/')}@{revision}" if revision else url
    if not isinstance(encoder, Encoder):
        folder = find_encoder_folder(encoder)
        load(folder)  # what others load is whole
        push_folder(folder, url, private=private, message=message, progress=display)
    else:
        with tempfile.TemporaryDirectory() as home:
            folder = Path(home) / "encoder"
            encoder.copy_to(folder)
            push_folder(folder, url, private=private, message=message, progress=display)
    return shown_url(url)
