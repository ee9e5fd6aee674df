"""The version of the package: it stands once, in pyproject.toml."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The installed version; "unknown" when run from a checkout that was never installed."""
    try:
        return version("infrender")
    except PackageNotFoundError:
        return "unknown"
