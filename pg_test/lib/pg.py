"""For the tests that psql and pgbench cannot express: many sessions at once, the extended protocol
message by message, clients that die; and clusters of a test's own. Needs nothing but Python."""

import functools
import os
import re
import socket
import struct
import subprocess
import sys
import time

# The folder pg_test, also where lib/ is found by a symbolic link.
HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
ROOT = os.path.dirname(HERE)


class PgError(Exception):
    """An ERROR from the server; `fields` by the protocol's letters (M message, D detail, H
    hint). `rows` came before it."""

    def __init__(self, fields):
        super().__init__(f"{fields['C']} {fields['M']}" + (f" ({fields['D']})" if "D" in fields else ""))
        self.code, self.fields, self.rows = fields["C"], fields, []
        self.message, self.detail, self.hint = (fields.get(letter, "") for letter in "MDH")


class Session:
    """A connection through a Unix socket, as a user who needs no password."""

    def __init__(self, dbname, user="authenticated", host=None, port=5432, **options):
        self.socket = self._connect(host or os.environ["PGHOST"], port)
        self.stream = self.socket.makefile("rb")
        self.said = []
        self.tag = self.backend = None
        start = {"user": user, "database": dbname, "client_encoding": "UTF8", **options}
        # Names of roles and databases have no encoding.
        body = b"".join(text.encode(errors="surrogateescape") + b"\0" for pair in start.items() for text in pair)
        self.socket.sendall(struct.pack("!ii", len(body) + 9, 196608) + body + b"\0")
        self._until_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _connect(self, host, port):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{host}/.s.PGSQL.{port}")
        return connection

    def _authenticate(self, request):
        """Answers the server's request for authentication. Here it asks for nothing."""

    # Messages: a batch is sent at once, as a pipelining client does.

    @staticmethod
    def _message(letter, *parts):
        body = b"".join(part.encode() + b"\0" if isinstance(part, str) else part for part in parts)
        return letter.encode() + struct.pack("!i", len(body) + 4) + body

    def parse(self, sql, name=""):
        return self._message("P", name, sql, b"\0\0")

    def bind(self, params=(), name="", portal=""):
        values = [param if param is None else str(param).encode() for param in params]
        packed = b"".join(struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v for v in values)
        return self._message("B", portal, name, struct.pack("!hh", 0, len(values)), packed, struct.pack("!h", 0))

    def run(self, rows=0, portal=""):
        return self._message("E", portal, struct.pack("!i", rows))

    SYNC = b"S\0\0\0\4"

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def receive(self):
        """The rows up to the end of the next Sync or query; raises the first error among them."""
        return self._until_ready()

    # Whole statements.

    def begin_query(self, sql):
        """Sends it by the simple protocol, to be received later."""
        self.send(self._message("Q", sql))

    def query(self, sql):
        """By the simple protocol; rows as lists of strings, of the last statement that has any."""
        self.begin_query(sql)
        return self.receive()

    def execute(self, sql, *params):
        """By the extended protocol, unnamed."""
        self.send(self.parse(sql), self.bind(params), self.run(), self.SYNC)
        return self.receive()

    def copy(self, sql, lines):
        """COPY ... FROM stdin."""
        self.begin_query(sql)
        self.send(self._message("d", "".join(f"{line}\n" for line in lines).encode()), self._message("c"))
        return self.receive()

    def value(self, sql, *params):
        rows = self.execute(sql, *params) if params else self.query(sql)
        return rows[0][0] if rows else None

    def error(self, *statement):
        """The error of a statement and its parameters, or None; without any, of what was sent before."""
        try:
            self.value(*statement) if statement else self.receive()
        except PgError as error:
            return error
        return None

    def code(self, *statement):
        """The SQLSTATE of its error, or None."""
        error = self.error(*statement)
        return error and error.code

    def notices(self, severity=None):
        """Notices since the last call, warnings too, with their fields as PgError has them; of one severity if
        given."""
        said, self.said = self.said, []
        return [fields for fields in said if severity in (None, fields["S"])]

    def warnings(self):
        return self.notices("WARNING")

    def close(self):
        self.send(self._message("X"))
        self.die()

    def die(self):
        """Closes the socket without a message."""
        self.stream.close()
        self.socket.close()

    def _until_ready(self):
        rows, error = [], None
        while True:
            head = self.stream.read(5)
            if len(head) < 5:
                raise error or ConnectionError("the server closed the connection")
            letter, length = head[:1], struct.unpack("!i", head[1:])[0]
            body = self.stream.read(length - 4)
            if letter == b"D":
                rows.append(self._row(body))
            elif letter in b"EN":
                fields = {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
                if letter == b"N":
                    self.said.append(fields)
                else:
                    error = error or PgError(fields)
                    if fields["S"] in ("FATAL", "PANIC"):
                        raise error
            elif letter == b"R":
                self._authenticate(body)
            elif letter == b"K":
                self.backend = struct.unpack("!i", body[:4])[0]  # its pid
            elif letter == b"C":
                self.tag = body[:-1].decode()
            elif letter == b"T":
                rows = []
            elif letter == b"Z":
                if error:
                    error.rows = rows
                    raise error
                return rows

    @staticmethod
    def _row(body):
        row, at = [], 2
        for _ in range(struct.unpack("!h", body[:2])[0]):
            length = struct.unpack("!i", body[at : at + 4])[0]
            at += 4
            row.append(None if length < 0 else body[at : at + length].decode())
            at += max(length, 0)
        return row


class Cluster:
    """A private cluster, by scripts/cluster: removed on leaving the `with`. It has the roles and
    the template of template.sql, unless `bare`, or is a standby of another one. Its Postgres is the
    tested one, or that of the given major version. `dir` has its data, log and socket; `environ` is
    added to the environment that the server starts with. Below pg_test/run it is a copy of the one
    that this made of template.sql."""

    def __init__(self, name, bare=False, standby_of=None, major=None, environ=None, **settings):
        self.name = f"test_{name}"
        self.environ = {**os.environ, "PG": major} if major else os.environ
        self.server_environ = {**self.environ, **(environ or {})}
        # Others are made by initdb: two clusters of a test must not have the same system identifier, and the extension
        # of the copied one is that of the server's own folder.
        own = bare or standby_of or major or "extension_control_path" in settings
        template = None if own else os.environ.get("PG_TEST_TEMPLATE")
        if template:
            self.server_environ["CLUSTER_TEMPLATE"] = template
        self.dir = shell('cluster_dir "$1"', self.name)
        self.script("stop")
        if standby_of:
            shell('make_cluster_dir "$1"', self.name)
            self.as_pg(
                "pg_basebackup",
                "-h",
                standby_of.dir,
                "-U",
                "postgres",
                "-D",
                f"{self.dir}/data",
                "-R",
                "--checkpoint=fast",
                "--no-sync",
            )
            with open(f"{self.dir}/data/postgresql.conf", "a") as conf:
                conf.write(f"unix_socket_directories = '{self.dir}'\n")
        self.script("start", *(f"{key}={value}" for key, value in settings.items()))
        if not (bare or standby_of or template):
            self.psql("-f", "template.sql", "postgres")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.script("stop")

    def script(self, action, *more):
        subprocess.run([f"{ROOT}/scripts/cluster", action, self.name, *more], check=True, env=self.server_environ)

    def as_pg(self, program, *args):
        """Runs one of Postgres's programs as the server's user, in the cluster's folder."""
        script = 'as_pg bash -c \'cd "$1" && shift && exec "$@"\' cd "$1" "$PG_BIN/$2" "${@:3}"'
        return shell(script, self.dir, program, *args, env=self.environ)

    def client(self, program, *args, check=True, **options):
        """Runs one of Postgres's programs as a client; returns its output."""
        environ = {**self.environ, "PGHOST": self.dir, "PGUSER": "postgres"}
        options = {"text": True, "stdout": subprocess.PIPE, "cwd": HERE, **options}
        program = f"{programs(self.environ.get('PG'))}/{program}"
        return subprocess.run([program, *args], env=environ, check=check, **options).stdout

    def psql(self, *args):
        return self.client("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *args)

    def create_db(self, name):
        self.client("createdb", "-T", "template_test", "-O", "owner_role", name)
        return name

    def session(self, dbname, user="authenticated", **options):
        return Session(dbname, user, host=self.dir, **options)

    def log(self):
        with open(f"{self.dir}/log", errors="replace") as file:
            return file.read()

    def crashes(self):
        """Lines of the log about processes that ended as none should."""
        return re.findall("terminated by signal|PANIC:|TRAP:|panicked", self.log())

    def control(self, action, *options):
        """pg_ctl's actions: start, stop, restart, promote."""
        more = ["-l", f"{self.dir}/log"] if action in ("start", "restart") else []
        self.as_pg("pg_ctl", action, "--silent", "-D", f"{self.dir}/data", *more, *options)


class SharedCluster(Cluster):
    """The cluster that pg_test/run started."""

    def __init__(self):
        self.dir, self.environ = os.environ["PGHOST"], os.environ

    def __exit__(self, *_):
        pass


def shell(script, *args, env=None):
    """The output of a line of shell that may use the scripts' lib.sh."""
    command = ["bash", "-c", f'. "$0/scripts/lib.sh"; {script}', ROOT, *args]
    run = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, env=env)
    if run.returncode:
        sys.exit(f"{script} {' '.join(args)}:\n{run.stdout}")
    return run.stdout.strip()


@functools.cache
def programs(major):
    """The folder of Postgres's programs, of this major version."""
    return shell("echo $PG_BIN", env={**os.environ, "PG": major} if major else None)


def has_library(name):
    """Whether this module of Postgres's contrib/ is installed."""
    return os.path.exists(shell('"$PG_BIN/pg_config" --pkglibdir') + f"/{name}.so")


def _caller():
    """File and line of the check that calls Checks: labels repeat, places do not."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


# The exit status by which pg_test/run knows a skipped test, as automake does.
SKIPPED = 77


class Checks:
    """Counts what was checked. `done` prints the one line of a test that passed."""

    def __init__(self):
        self.passed, self.failed, self.times = 0, [], []

    def equal(self, what, got, wanted):
        if got == wanted:
            self.passed += 1
        else:
            self.failed.append(what)
            if len(self.failed) <= 20:
                print(f"FAILED: {_caller()}: {what}: got {got!r:.500}, wanted {wanted!r:.500}", file=sys.stderr)

    def true(self, what, got):
        self.equal(what, bool(got), True)

    def skip(self, reason):
        """Prints that a part was not run. pg_test/run counts these lines."""
        print(f"SKIPPED {os.path.splitext(os.path.basename(sys.argv[0]))[0]}: {reason}")

    def skip_all(self, reason):
        """Ends a test that ran nothing: it counts as skipped and not as passed."""
        self.skip(reason)
        sys.exit(SKIPPED)

    def run(self, parts, *arguments):
        """Calls each part, a function or method, with these arguments. In place of an argument that is a function, a
        part gets what this makes of the part's name: `cluster.create_db` makes each a database of its own."""
        for part in parts:
            name, failed, begun = part.__name__, len(self.failed), time.monotonic()
            try:
                part(*(argument(name) if callable(argument) else argument for argument in arguments))
            except BaseException as error:
                print(f"FAILED: part {name} was ended by {type(error).__name__}", file=sys.stderr)
                raise
            if len(self.failed) > failed:
                print(f"FAILED: part {name}: {len(self.failed) - failed} checks", file=sys.stderr)
            self.times.append((name, time.monotonic() - begun))

    def done(self, line):
        if self.failed:
            sys.exit(f"{len(self.failed)} of {self.passed + len(self.failed)} checks failed")
        print(f"        {line} ({self.passed} checks)")
        # As of the tests, only of parts that take long.
        if long := [f"{name} {seconds:.0f} s" for name, seconds in self.times if seconds >= 5]:
            print(f"        longest parts: {', '.join(long)}")


def run(line, parts, *arguments):
    """A whole test: calls its parts with Checks and the arguments, as Checks.run does, and prints the line if all
    passed."""
    checks = Checks()
    checks.run(parts, checks, *arguments)
    checks.done(line)
