"""The build backend: maturin's, once it is known that this machine can compile.

Whoever gets here by `pip install clarifai-annotations` got no wheel, may never have heard of Rust, and is to read
one message that says what to do, not the log of a compiler. maturin alone would fetch a Rust toolchain where it
finds none: hundreds of megabytes of programs, from another place than the package index, and nothing seen of it
under pip. Here that is left to the one whose machine it is.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import maturin

P = ParamSpec("P")
T = TypeVar("T")

# What .github/workflows/release.yml publishes, in the words of the module `platform`.
WHEELS = {
    "Linux": (["x86_64", "aarch64"], "glibc 2.17 or musl 1.2"),
    "Darwin": (["x86_64", "arm64"], "macOS 11"),
    "Windows": (["AMD64"], "Windows 10"),
}

INSTALL_RUST = (
    "install Rust from https://rustup.rs (where it is already: `rustup update`), open a new terminal"
)
INSTALL_C = (
    "install a C compiler (Debian, Ubuntu: `apt install build-essential`; Fedora: `dnf install gcc`;\n"
    "Alpine: `apk add build-base`; macOS: `xcode-select --install`)"
)


def output(command: list[str], given: str = "") -> str:
    """Run a program: what it prints, or a RuntimeError with the reason."""
    try:
        ran = subprocess.run(command, input=given, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"`{command[0]}` is not on the PATH") from error
    if ran.returncode != 0:
        raise RuntimeError(f"`{shlex.join(command)}` fails: {ran.stderr.strip()}")
    return ran.stdout.strip()


def check_rust() -> None:
    """Raise RuntimeError unless Rust is there, and new enough by Cargo.toml, whose folder is the current one."""
    [least] = re.findall(r'^rust-version = "([\d.]+)"', Path("Cargo.toml").read_text("utf-8"), re.MULTILINE)
    for program in ("cargo", "rustc"):
        version = output([program, "--version"])
        found = re.match(rf"{program} ([\d.]+)", version)
        if found is None or numbers(found[1]) < numbers(least):
            raise RuntimeError(f"it needs Rust {least} or later, and the one on the PATH is {version}")


def numbers(version: str) -> tuple[int, ...]:
    """Turn a version into what compares as versions do."""
    return tuple(int(number) for number in version.split(".") if number)


def check_compiler() -> None:
    """Raise RuntimeError unless there is a C compiler: some dependencies are C, and Rust has it call the linker."""
    if os.name != "nt":  # there Rust and its build scripts ask the registry, not the PATH
        output([*shlex.split(os.environ.get("CC") or "cc"), "-E", "-x", "c", "-"], "#include <stdlib.h>\n")


def of_wheels() -> str:
    """Say whether this Python could have had a wheel, which needs no compiler."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    python = "{} {}.{}{} on {}".format(
        platform.python_implementation(),
        *sys.version_info[:2],
        "t" if free_threaded else "",
        sysconfig.get_platform(),
    )
    machines, _ = WHEELS.get(platform.system(), ([], ""))
    musl = platform.system() == "Linux" and platform.libc_ver()[0] != "glibc"
    if (
        sys.implementation.name == "cpython"
        and sys.maxsize > 2**32
        and platform.machine() in machines
        and (not free_threaded or (sys.version_info[:2] == (3, 14) and not musl))
    ):
        return (
            f"A wheel needs no compiler, and releases have one for this Python, {python}.\n"
            "`pip install clarifai-annotations` takes it, unless pip is too old: `python -m pip install --upgrade pip`."
        )
    published = "".join(
        f"\n  {system.replace('Darwin', 'macOS')} {' and '.join(machines)}, {least} or later"
        for system, (machines, least) in WHEELS.items()
    )
    return (
        f"A wheel needs no compiler, but there is none for this Python, {python}.\n"
        f"There are wheels for CPython 3.10 and later, and for free-threaded 3.14 (not with musl), on{published}"
    )


def checked(hook: Callable[P, T], *, compiles: bool = True) -> Callable[P, T]:
    """Put a hook behind a look at what it needs."""
    remedies = {check_rust: INSTALL_RUST}
    if compiles:
        remedies[check_compiler] = INSTALL_C

    @functools.wraps(hook)
    def checked_hook(*args: P.args, **kwargs: P.kwargs) -> T:
        lacks, to_do = [], []
        for check, remedy in remedies.items():
            try:
                check()
            except RuntimeError as error:
                lacks.append(str(error))
                to_do.append(remedy)
        if lacks:
            advice = ",\n".join(to_do)
            sys.exit(
                f"\nclarifai-annotations cannot be compiled here: {'; '.join(lacks)}.\n\n"
                f"To compile it, {advice}\nand run the same command again.\n\n{of_wheels()}\n"
            )
        # maturin warns of a backend that is not its own.
        os.environ["MATURIN_NO_MISSING_BUILD_BACKEND_WARNING"] = "1"
        return hook(*args, **kwargs)

    return checked_hook


get_requires_for_build_wheel = checked(maturin.get_requires_for_build_wheel)
get_requires_for_build_editable = checked(maturin.get_requires_for_build_editable)
get_requires_for_build_sdist = checked(maturin.get_requires_for_build_sdist, compiles=False)
prepare_metadata_for_build_wheel = checked(maturin.prepare_metadata_for_build_wheel)
prepare_metadata_for_build_editable = checked(maturin.prepare_metadata_for_build_editable)
build_wheel = checked(maturin.build_wheel)
build_editable = checked(maturin.build_editable)
build_sdist = checked(maturin.build_sdist, compiles=False)
