"""Check that every plugin of this package meets aekit's contract: one test per check."""

from aekit.testing import conformance

test_noisy_code = conformance("variant", "noisy-code")
test_noisy_code_that_costs = conformance("variant", "noisy-code", {"deviation": 0.1, "price": 1.0})
test_rotation_lite = conformance("pretext", "rotation-lite")
test_patch_mixer = conformance("backbone", "patch-mixer")
test_rings = conformance("source", "rings")
test_centroid = conformance("evaluator", "centroid")
