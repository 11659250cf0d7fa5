"""Register the built-in plugins, exactly as an outside package registers its own.

Each folder registers one kind of plugin; the entry point names this module, whose hooks are those of the folders.
"""

from .backbones import aekit_register_backbones as aekit_register_backbones
from .evaluators import aekit_register_evaluators as aekit_register_evaluators
from .indexes import aekit_register_indexes as aekit_register_indexes
from .pretexts import aekit_register_pretexts as aekit_register_pretexts
from .sources import aekit_register_sources as aekit_register_sources
from .variants import aekit_register_variants as aekit_register_variants
