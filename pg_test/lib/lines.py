"""The scenario of clients/run.mjs for clients in other languages. Such a client is a process that
takes requests as lines, and does them at once, in any order:

  ID <tab> TOKEN <tab> STATEMENT ...     the page's function for a user, with these statements
  ID <tab> TOKEN                         the page's `notes`
  ID <tab> - <tab> STATEMENT             a statement on a connection of the pool, without a user

The statement "!" is an error of the application's own, "?" calls a function that is missing, with
the token as a parameter. It answers with a line for each; texts are hexadecimal:

  ID <tab> rows <tab> VALUE ...          the first column of the last statement's rows
  ID <tab> error <tab> STATUS <tab> LOG <tab> SQLSTATE <tab> CLASS <tab> MESSAGE <tab> PRINTED
"""

import subprocess
import threading

READ = "SELECT body FROM notes"
INSERT = "INSERT INTO notes (body) VALUES ('of a request that failed')"


def failures(bob):
    return {
        "of the application": ["!"],
        "of a statement": ["SELECT 1 / 0"],
        "a row of another": ["INSERT INTO notes (owner, body) VALUES ('bob', 'x')"],
        "no such function": ["?"],
        "no token": ["SET LOCAL pg_auth_jwt.require_token = on", "SELECT auth.jwt_session_init(NULL)", READ],
        "another token in a query": [
            "SET LOCAL pg_auth_jwt.evaluate_once = off",
            "DECLARE c CURSOR FOR SELECT auth.user_id() FROM notes",
            "FETCH 1 FROM c",
            f"SELECT auth.jwt_session_init('{bob}')",
            "FETCH 1 FROM c",
        ],
        "of the connection": ["SELECT pg_terminate_backend(pg_backend_pid())"],
    }


class Client:
    """The process, for the length of a `with`."""

    def __init__(self, command, environ):
        self.process = subprocess.Popen(command, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def all(self, requests):
        """The answers to requests, (token, statement, ...), in their order."""
        lines = "".join("\t".join((str(number), *request)) + "\n" for number, request in enumerate(requests))
        # Beside reading, or both sides could wait for the other with full pipes.
        writer = threading.Thread(target=lambda: (self.process.stdin.write(lines), self.process.stdin.flush()))
        writer.start()
        answers = {}
        while len(answers) < len(requests):
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"the client ended, after {len(answers)} of {len(requests)} answers")
            number, *answer = line.rstrip("\n").split("\t")
            answers[int(number)] = self.read(requests[int(number)][0], answer)
        writer.join()
        return [answers[number] for number in range(len(requests))]

    @staticmethod
    def read(token, answer):
        """Rows as a sorted list; an error as a dict, with the sides of it that have the token."""
        outcome, *fields = answer
        if outcome == "rows":
            return sorted(bytes.fromhex(field).decode() for field in fields)
        status, *texts = fields
        log, code, kind, message, printed = (bytes.fromhex(text).decode() for text in texts)
        pieces = [token[at : at + 16] for at in range(len(token) - 15)]
        leaks = [
            side
            for side, text in (("log", log), ("message", message), ("printed", printed))
            if any(piece in text for piece in pieces)
        ]
        return {"status": int(status), "log": log, "code": code, "kind": kind, "leaks": leaks}


def scenario(command, environ, given):
    """The input of clients.judge."""
    alice, bob, refused = given["alice"], given["bob"], given["refused"]
    failing = {what: (alice, INSERT, *statements) for what, statements in failures(bob).items()}
    with Client(command, environ) as client:

        def one(*request):
            (answer,) = client.all([request])
            return answer

        def error(*request):
            answer = one(*request)
            return answer if isinstance(answer, dict) else None

        seen = {
            "own": [one(alice), one(bob)],
            "refused": {why: error(token) for why, token in refused.items()},
            "failed": {what: error(*request) for what, request in failing.items()},
        }
        # The connection that was lost may be given to one more request.
        error(alice)
        wanted = dict(zip((alice, bob), seen["own"]))
        # More requests at once than connections; some are refused, some fail.
        requests = []
        for number in range(240):
            user = (alice, bob)[number // 3 % 2]
            requests += [
                (user,),
                {0: (refused["expired"],), 1: (user, INSERT, "SELECT 1 / 0"), 2: ("-", READ)}.get(
                    number % 8, (user, READ)
                ),
            ]
        answers = client.all(requests)
        seen["requests"] = len(requests)
        seen["crossings"] = [
            number
            for number, (request, answer) in enumerate(zip(requests, answers))
            if not isinstance(answer, dict) and answer != wanted.get(request[0], [])
        ]
        # The expired tokens and the failing statements, and no others.
        errors = [answer["log"] for answer in answers if isinstance(answer, dict)]
        seen["crossings"] += [log for log in errors if log[:5] not in ("28J05", "22012")]
        if len(errors) < 60:
            seen["crossings"].append(f"{len(errors)} errors")
        seen["nobody"] = one("-", READ)
    return seen
