#!/usr/bin/env python3
"""From Postgres 18 on, the extension works from a folder of its own, as CloudNativePG mounts an extension's image:
share/extension and lib, found by extension_control_path and dynamic_library_path. Both libraries are taken from
there, also where the server has others at its own place."""

import glob
import os
import re
import shutil
import threading

from lib.endpoint import Held, keys
from lib.following import Issuer, fetching, folder, until
from lib.pg import Checks, shell

checks = Checks()
if int(shell('"$PG_BIN/pg_config" --version | grep -o "[0-9]*" | head -n 1')) < 18:
    checks.skip_all("extension_control_path is of Postgres 18 and later")


def fill(place):
    """The image's tree, with a control file that can be told from the installed one."""
    for option, name in (("--sharedir", "share/extension"), ("--pkglibdir", "lib")):
        source = shell(f'"$PG_BIN/pg_config" {option}') + ("/extension" if option == "--sharedir" else "")
        os.makedirs(f"{place}/{name}")
        for file in glob.glob(f"{source}/pg_auth_jwt*"):
            shutil.copy(file, f"{place}/{name}")
    control = f"{place}/share/extension/pg_auth_jwt.control"
    with open(control) as file:
        text = file.read()
    with open(control, "w") as file:
        file.write(re.sub("^comment = .*$", "comment = 'of the image'", text, flags=re.MULTILINE))


def mapped(pid):
    """The files of the extension that a process has loaded."""
    with open(f"/proc/{pid}/maps") as file:
        return sorted({line.split()[-1] for line in file if "pg_auth_jwt" in line and line.split()[-1].startswith("/")})


with folder() as place:
    fill(place)
    paths = {
        "extension_control_path": f"{place}/share:$system",
        "dynamic_library_path": f"{place}/lib:$libdir",
    }
    with fetching(checks, "extension_image", **paths) as (cluster, endpoint):
        db = cluster.create_db("test")
        owner = cluster.session(db, "owner_role")
        comment = "SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'pg_auth_jwt'"
        checks.equal("the control file", owner.value(comment), "of the image")
        held = Held(keys(1))
        issuer = Issuer(owner, endpoint, "image", held)
        session = cluster.session(db)
        session.query("SET pg_auth_jwt.fetch_wait = '20 s'")
        waiting = threading.Thread(target=lambda: checks.equal("signs in", issuer.sign_in(session, 1, sub="u1"), None))
        waiting.start()
        until(issuer.seen, "the fetch has begun")
        for pid in cluster.workers():
            names = [f"{place}/lib/pg_auth_jwt.so", f"{place}/lib/pg_auth_jwt_fetch.so"]
            checks.equal("libraries of the fetching process", mapped(pid), names)
        checks.true("a process fetches", cluster.workers())
        held.release()
        waiting.join()
        checks.equal("the user", session.value("SELECT auth.user_id()"), "u1")
        pid = session.value("SELECT pg_backend_pid()")
        checks.equal("library of the session", mapped(pid), [f"{place}/lib/pg_auth_jwt.so"])
checks.done("the extension works from a folder of its own")
