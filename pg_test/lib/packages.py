"""Packages of npm, PyPI and crates.io that tests need, in .pg/: installed once for each version of
the file that pins them. Where no registry can be reached, the test is skipped; but in CI it
fails."""

import fcntl
import filecmp
import os
import re
import shutil
import subprocess
import sys

from .pg import HERE, shell

# Messages of npm and pip if no registry answers.
UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED"
    r"|\(from versions: none\)|Could not resolve host|Couldn't connect to server"
)
NODE = 20


def missing(checks, reason):
    if os.environ.get("CI"):
        raise SystemExit(f"in CI this test is not skipped: {reason}")
    checks.skip_all(reason)


def install(checks, name, pinned, files, command, env):
    """The folder .pg/NAME, where `command` installed what pg_test's file `pinned` says."""
    folder = shell('echo "$PGROOT/$1"', name)
    with open(f"{folder}.lock", "w") as lock:
        # Two tests that run side by side may need the same packages.
        fcntl.flock(lock, fcntl.LOCK_EX)
        install_once(checks, folder, pinned, files, command, env)
    return folder


def install_once(checks, folder, pinned, files, command, env):
    # Has the file that was installed from.
    installed = f"{folder}/installed"
    if not os.path.exists(installed) or not filecmp.cmp(f"{HERE}/{pinned}", installed, shallow=False):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for file in files:
            shutil.copy(f"{HERE}/{file}", folder)
        run = subprocess.run(
            command, check=False, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if run.returncode:
            if UNREACHABLE.search(run.stdout):
                missing(checks, f"{os.path.basename(command[0])} reaches no registry")
            raise SystemExit(run.stdout)
        shutil.copy(f"{HERE}/{pinned}", installed)


def node(checks):
    """Node.js, npm, and an environment whose PATH has both."""
    environ = {**os.environ, "PATH": shell("echo $PATH")}
    program = shutil.which("node", path=environ["PATH"])
    version = (
        subprocess.run([program, "--version"], text=True, stdout=subprocess.PIPE, check=True).stdout
        if program
        else "v0"
    )
    npm = shutil.which("npm", path=environ["PATH"])
    if int(version[1:].split(".")[0]) < NODE or not npm:
        missing(checks, f"needs Node.js {NODE} and npm")
    return program, npm, environ


def from_npm(checks, name, source):
    """The folder .pg/NAME with the packages of pg_test/SOURCE/package-lock.json, and Node.js."""
    program, npm, environ = node(checks)
    files = [f"{source}/package.json", f"{source}/package-lock.json"]
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    return install(checks, name, files[1], files, command, environ), program


def from_pypi(checks, name, requirements):
    """The folder with the packages that pg_test's file `requirements` pins, in packages/. Wheels
    are for one version of Python, so each version has a folder."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--root-user-action=ignore",
        "--disable-pip-version-check",
        "--target",
        "packages",
        "-r",
        f"{HERE}/{requirements}",
    ]
    return install(checks, f"{name}_{sys.implementation.cache_tag}", requirements, [], command, os.environ)


def with_cargo(checks, name, source, files):
    """The program that cargo builds in .pg/NAME from the crate pg_test/SOURCE and the page's code,
    `files`. What it depends on is built once."""
    folder = shell('echo "$PGROOT/$1"', name)
    os.makedirs(f"{folder}/src", exist_ok=True)
    for file in ("Cargo.toml", "Cargo.lock", "src/main.rs"):
        shutil.copy(f"{HERE}/{source}/{file}", f"{folder}/{file}")
    for file, text in files.items():
        with open(f"{folder}/{file}", "w") as out:
            out.write(text)
    toolchain = shell('use_installed_rust; echo "${RUSTUP_TOOLCHAIN-}"')
    environ = {**os.environ, **({"RUSTUP_TOOLCHAIN": toolchain} if toolchain else {})}
    run = subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--target-dir", "target"],
        check=False,
        cwd=folder,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if run.returncode:
        if UNREACHABLE.search(run.stdout):
            missing(checks, "cargo reaches no registry")
        raise SystemExit(run.stdout)
    return f"{folder}/target/debug/clients"
