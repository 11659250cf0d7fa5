"""Registers the deliberately broken plugins of `broken_plugins`: for each check of the kit, one that it has to catch."""

from __future__ import annotations

from aekit.registry.hookspecs import Entry, hookimpl

BROKEN = [
    ("variant", "entry", "Healthy"),
    ("backbone", "contract", "options_by_position"),
    ("variant", "options-described", "Undescribed"),
    ("variant", "options-through-toml", "OptionUnknownToToml"),
    ("variant", "overrides", "Penality"),
    ("variant", "overrides", "CorruptsWithoutGenerator"),
    ("pretext", "preprocesses-once", "PreprocessesTwice"),
    ("pretext", "transforms", "TransformsOneSample"),
    ("pretext", "shapes", "LossOfOneNumberInAList"),
    ("pretext", "shapes", "BatchNormOfOne"),
    ("pretext", "shapes", "NotANumberForOne"),
    ("pretext", "shapes", "LossAsATensor"),
    ("variant", "samples-keep-their-shape", "CropsTheSample"),
    ("variant", "generator-is-the-one-passed", "OwnGenerator"),
    ("variant", "generator-is-the-one-passed", "OwnGeneratorFromTheStart"),
    ("variant", "resumes", "CountsItsSteps"),
    ("variant", "processes-agree", "CentersItsShare"),
    ("variant", "processes-agree", "KeepsItsShare"),
    ("variant", "finite", "DividesByTheDeviation"),
    ("pretext", "gradients", "UnusedHead"),
    ("backbone", "embedding-deterministic", "DropoutInEvalMode"),
    ("variant", "randomness-from-generator", "GlobalRandomness"),
    ("backbone", "batch-independence", "CenterdByTheBatch"),
    ("variant", "input-untouched", "CorruptsInPlace"),
    ("variant", "input-untouched", "AugmentsInPlace"),
    ("pretext", "input-untouched", "TurnsInPlace"),
    ("variant", "same-seed-same-losses", "RemembersOtherRuns"),
    ("pretext", "loss-falls", "PredictsTheDice"),
    ("backbone", "save-and-load", "WeightsThatAreNotSaved"),
    ("backbone", "export", "BranchesOnTheData"),
    ("variant", "export", "HeadThatBranchesOnTheData"),
    ("variant", "autocast", "SolvesInBfloat16"),
    ("pretext", "labels-do-not-leak", "LooksUpTheLabels"),
    ("pretext", "hidden-values-do-not-leak", "BlursWhatItHides"),
    ("pretext", "hidden-values-do-not-leak", "ForgetsToHide"),
    ("pretext", "hidden-values-do-not-leak", "NeverHides"),
    ("pretext", "shows", "ShowsTooFew"),
    ("backbone", "any-size", "EvenSizesOnly"),
    ("backbone", "decoder", "DecoderOfEvenSizes"),
    ("backbone", "stages", "ForwardDoesMoreThanItsStages"),
    ("backbone", "mirror", "MirrorIsFlat"),
    ("source", "opens", "TooFew"),
    ("source", "what-is-missing-is-named", "RaisesKeyError"),
    ("source", "ids", "NumbersAsIds"),
    ("source", "read", "AnotherDtypeThanItSays"),
    ("source", "read", "SkippedButUsable"),
    ("source", "unreadable-files", "ReadsNoiseAsZeros"),
    ("source", "like-is-heeded", "IgnoresTheEncoder"),
    ("source", "order-respected", "SortsTheIndices"),
    ("source", "openings-agree", "NewSamplesAtEveryOpening"),
    ("source", "fingerprints", "OneFingerprintForAll"),
    ("source", "labels-and-splits", "UnknownSplit"),
    ("source", "labels-are-no-feature", "LabelAmongTheFeatures"),
    ("index", "finds-the-nearest", "FindsTheFarthest"),
    ("index", "best-first", "BestLast"),
    ("index", "adds", "AddsInFront"),
    ("index", "gives-vectors-back", "VectorsInAnyOrder"),
    ("index", "more-than-there-are", "RepeatsTheLast"),
    ("index", "searches-among-rows", "FindsOtherRows"),
    ("index", "searches-among-rows", "MissesRareRows"),
    ("index", "index-save-and-load", "ForgetsTheMetric"),
    ("index", "built-alike", "ProjectsAtRandom"),
    ("evaluator", "result", "not_a_number"),
    ("evaluator", "result-same-every-time", "global_resampling"),
    ("evaluator", "inputs-untouched", "standardizes_in_place"),
    ("evaluator", "chosen-without-test-labels", "chooses_on_the_test_split"),
    ("evaluator", "fits-without-test-labels", "fits_on_the_test_labels"),
    ("evaluator", "oracle-beats-noise", "counts_errors"),
    ("evaluator", "without-labels", "needs_labels_without_saying_so"),
    ("evaluator", "labels-of-its-tags", "takes_classes_alone"),
]
"""Kind, check, and what is wrong, in `broken_plugins`."""

TAGS = {"variant": (), "pretext": (), "backbone": ("image",), "source": (), "index": (), "evaluator": ("labels",)}
TAGS_OF = {
    "EvenSizesOnly": ("image",),
    "needs_labels_without_saying_so": (),
    "takes_classes_alone": ("labels", "numbers"),
}


def name_of(check: str, attribute: str) -> str:
    """A plugin is called as what is wrong with it; the one whose name is wrong has a name like its class."""
    if check == "entry":
        return attribute
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in attribute.replace("_", "-")).strip("-")


def _entries(kind: str) -> list[Entry]:
    return [
        Entry(name_of(check, a), f"broken_plugins:{a}", "broken on purpose", 2, TAGS_OF.get(a, TAGS[kind]))
        for of, check, a in BROKEN
        if of == kind
    ]


@hookimpl
def aekit_register_variants() -> list[Entry]:
    return _entries("variant")


@hookimpl
def aekit_register_pretexts() -> list[Entry]:
    return [*_entries("pretext"), Entry("masking", "broken_plugins:Masking", "fine", 2)]


@hookimpl
def aekit_register_backbones() -> list[Entry]:
    tagless = Entry("tagless", "broken_plugins:Small", "says not what it takes", 2)
    return [*_entries("backbone"), tagless, Entry("no-decoder", "broken_plugins:NoDecoder", "fine", 2, ("vector",))]


@hookimpl
def aekit_register_sources() -> list[Entry]:
    return [*_entries("source"), Entry("no-example", "broken_plugins:no_example", "cannot be tested", 2)]


@hookimpl
def aekit_register_indexes() -> list[Entry]:
    return [*_entries("index"), Entry("finds-little-until-tuned", "broken_plugins:FindsLittleUntilTuned", "fine", 2)]


@hookimpl
def aekit_register_evaluators() -> list[Entry]:
    return _entries("evaluator")
