"""These tests are for where this distribution is installed; elsewhere there is nothing to test."""

from importlib.metadata import PackageNotFoundError, distribution

try:
    distribution("aekit-thirdparty")
except PackageNotFoundError:
    collect_ignore = ["tests"]
