"""Watch the operations of torch without importing its compiler."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class OperationWatcher(TorchDispatchMode):
    """A mode whose ``__torch_dispatch__`` is called for every operation within the context; it is never compiled itself."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return whether torch marks the mode for its compiler, which it imports for that: 1.5 s at the first operation."""
        return False
