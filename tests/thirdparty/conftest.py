"""Run these tests only where this distribution is installed."""

from importlib.metadata import PackageNotFoundError, distribution

try:
    distribution("aekit-thirdparty")
except PackageNotFoundError:
    collect_ignore = ["tests"]
