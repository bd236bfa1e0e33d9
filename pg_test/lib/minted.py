"""Tokens of thousands of users, by the verifier's example `mint`: Python would take minutes for them."""

import json
import subprocess

from .pg import ROOT

ISSUER = "https://crowd.test.example"


def mint(alg, count):
    """A JWKS with a new key, and a line for each user: number, claims and token, with tabs between."""
    command = ["cargo", "run", "-q", "-p", "jwt_verify", "--example", "mint", alg, str(count)]
    jwks, *lines = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout.splitlines()
    return jwks, lines


def users(lines):
    """Pairs of `sub` and token."""
    parts = (line.split("\t") for line in lines)
    return [(json.loads(claims)["sub"], token) for _, claims, token in parts]
