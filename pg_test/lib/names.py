"""Names and addresses of the test's own for a server (names.c): what each look-up of a name
answers, and which addresses the server's processes connect to."""

import os
import subprocess

from .pg import HERE, shell


class Names:
    """The folder that names.c reads. Give `environ` to the cluster."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        library = f"{folder}/names.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, f"{HERE}/lib/names.c", "-ldl"],
            check=True,
        )
        shell('chown -R "$PG_USER" "$1" && chmod 755 "$1"', folder)
        self.environ = {"LD_PRELOAD": library, "TEST_NAMES": folder}

    def set(self, name, *answers):
        """The answers of a name's look-ups from now on: each addresses, or "stall"."""
        with open(f"{self.folder}/{name}", "w") as file:
            file.write("".join(f"{answer}\n" for answer in answers))
        os.chmod(f"{self.folder}/{name}", 0o644)

    def redirect(self, port):
        """Sets the port at which a connection to any address but 127.0.0.1 arrives."""
        self.set("redirect", port)

    def log(self, kind):
        """Names or addresses that were looked up, or connected to, since the last clear()."""
        try:
            with open(f"{self.folder}/log") as file:
                return [line.split()[1] for line in file if line.startswith(kind)]
        except FileNotFoundError:
            return []

    def clear(self):
        open(f"{self.folder}/log", "w").close()
        shell('chown "$PG_USER" "$1"', f"{self.folder}/log")
