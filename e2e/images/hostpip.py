"""How this machine reaches its package index, handed to builds without a word of it in the project or in an image.

Read from pip's own configuration files and ``PIP_*`` variables; used by ``build`` and ``environments``.
"""

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
CA_INSIDE = "/etc/ssl/certs/ca-certificates.crt"


def settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The settings that this machine states, files first, variables over them."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read(_files(environ), encoding="utf-8")
    found = {
        key: value
        for section in ("global", "install")
        if parser.has_section(section)
        for key, value in parser[section].items()
    }
    found |= {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_")
    }
    found.setdefault("timeout", found.get("default-timeout", "60"))
    return {key: found[key] for key in SETTINGS if key in found}


def _files(environ: Mapping[str, str]) -> list[Path]:
    home = Path.home()
    standard = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    return [*standard, Path(environ["PIP_CONFIG_FILE"])] if "PIP_CONFIG_FILE" in environ else standard


def certificates(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The certificate bundle that this machine states, if any."""
    stated = (environ.get(name) for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"))
    return next((Path(path) for path in stated if path and Path(path).is_file()), None)


def configuration(environ: Mapping[str, str] = os.environ) -> str:
    """A pip.conf for a build in which the bundle, if any, is mounted at ``CA_INSIDE``."""
    lines = [f"{key} = {value}" for key, value in settings(environ).items()]
    lines += [f"cert = {CA_INSIDE}"] if certificates(environ) else []
    return "\n".join(["[global]", *lines, ""])
