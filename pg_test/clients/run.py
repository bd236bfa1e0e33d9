"""Plays one client of docs/clients.md, as run.mjs does: run.py NAME TOKENS, beside NAME_client.py
and errors.py, which are blocks of that page. Prints what it saw, as JSON."""

import asyncio
import importlib
import json
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

from errors import answer

name, given = sys.argv[1], json.loads(sys.argv[2])
if name == "django":
    os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"
    importlib.import_module("django").setup()
client = importlib.import_module(f"{name}_client")


class Threads:
    """A client that blocks: requests at once are threads."""

    def request(self, token, work):
        with client.as_user(token) as handle:
            return work(handle)

    def notes(self, token):
        return client.notes(token)

    def all(self, function, arguments):
        with ThreadPoolExecutor(10) as threads:
            return list(threads.map(function, arguments))

    def nobody(self):
        with client.pool.connection() as connection:
            return self.run(connection, READ)

    def run(self, handle, sql, *parameters):
        cursor = handle.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else None

    def close(self):
        client.pool.close()


class SQLAlchemy(Threads):
    def nobody(self):
        with client.engine.begin() as connection:
            return self.run(connection, READ)

    def run(self, handle, sql, *parameters):
        result = handle.exec_driver_sql(sql, parameters or None)
        return result.all() if result.returns_rows else None

    def close(self):
        client.engine.dispose()


class Django(Threads):
    def nobody(self):
        with client.connection.cursor() as cursor:
            return self.run(cursor, READ)

    def run(self, handle, sql, *parameters):
        handle.execute(sql, parameters or None)
        return handle.fetchall() if handle.description else None

    def all(self, function, arguments):
        def and_close(argument):
            try:
                return function(argument)
            finally:
                client.connection.close()  # each thread has one

        return super().all(and_close, arguments)

    def close(self):
        client.connection.close()


class AsyncPG:
    """Requests at once are tasks of one loop, in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.wait(client.connect())

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def request(self, token, work):
        async def request():
            async with client.as_user(token) as handle:
                # `work` waits for each statement, so it cannot be in the loop's thread.
                return await asyncio.to_thread(work, handle)

        return self.wait(request())

    def notes(self, token):
        return self.wait(client.notes(token))

    def all(self, function, arguments):
        with ThreadPoolExecutor(10) as threads:
            return list(threads.map(function, arguments))

    def nobody(self):
        return self.wait(client.pool.fetch(READ))

    def run(self, handle, sql, *parameters):
        return self.wait(handle.fetch(sql.replace("%s", "$1"), *parameters))

    def close(self):
        self.wait(client.pool.close())


class SQLAlchemyAsync(AsyncPG):
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def nobody(self):
        async def read():
            async with client.engine.begin() as connection:
                return (await connection.exec_driver_sql(READ)).all()

        return self.wait(read())

    def run(self, handle, sql, *parameters):
        async def run():
            result = await handle.exec_driver_sql(sql.replace("%s", "$1"), parameters or None)
            return result.all() if result.returns_rows else None

        return self.wait(run())

    def close(self):
        self.wait(client.engine.dispose())


READ = "SELECT body FROM notes"
way = {
    "psycopg": Threads,
    "sqlalchemy": SQLAlchemy,
    "sqlalchemy_async": SQLAlchemyAsync,
    "django": Django,
    "asyncpg": AsyncPG,
}[name]()


def bodies(rows):
    return sorted(body for (body,) in rows)


def pieces(token):
    """Parts of the token to look for, because a message may quote less than all of it."""
    return [token[at : at + 16] for at in range(len(token) - 15)]


def refusal(token, work=None):
    """The error of a request: the page's answer to it, and which of its sides has the token."""
    try:
        if work:
            way.request(token, work)
        else:
            way.notes(token)
    except Exception as error:
        status, log = answer(error)
        texts = {
            "log": log,
            "message": str(error),
            "printed": "".join(traceback.format_exception(error)),
            "hidden": repr(vars(error)),
        }
        return {
            "status": status,
            "log": log,
            "kind": type(error).__name__,
            **{
                side: getattr(of, "sqlstate", None)
                for side, of in (("code", error), ("orig", getattr(error, "orig", None)), ("cause", error.__cause__))
            },
            "leaks": [side for side, text in texts.items() if any(piece in text for piece in pieces(token))],
        }


class ApplicationError(Exception):
    pass


def of_the_application(handle):
    raise ApplicationError("of the application")


def no_token(handle):
    way.run(handle, "SET LOCAL pg_auth_jwt.require_token = on")
    way.run(handle, "SELECT auth.jwt_session_init(NULL)")
    way.run(handle, READ)


def another_token(handle):
    way.run(handle, "SET LOCAL pg_auth_jwt.evaluate_once = off")
    way.run(handle, "DECLARE c CURSOR FOR SELECT auth.user_id() FROM notes")
    way.run(handle, "FETCH 1 FROM c")
    way.run(handle, f"SELECT auth.jwt_session_init('{given['bob']}')")
    way.run(handle, "FETCH 1 FROM c")


FAILURES = {
    "of the application": of_the_application,
    "of a statement": lambda handle: way.run(handle, "SELECT 1 / 0"),
    "a row of another": lambda handle: way.run(handle, "INSERT INTO notes (owner, body) VALUES ('bob', 'x')"),
    "no such function": lambda handle: way.run(handle, "SELECT auth.no_such_function(%s)", given["alice"]),
    "no token": no_token,
    "another token in a query": another_token,
    "of the connection": lambda handle: way.run(handle, "SELECT pg_terminate_backend(pg_backend_pid())"),
}


def failing(fail):
    def work(handle):
        way.run(handle, "INSERT INTO notes (body) VALUES ('of a request that failed')")
        fail(handle)

    return work


def requests(n):
    """Several, one after the other; some are refused, some fail."""
    crossings = []
    for turn in range(5):
        user = ("alice", "bob")[(n + turn) % 2]
        if n % 8 == 0:
            refusal(given["refused"]["expired"])
        if n % 8 == 1:
            refusal(given[user], FAILURES["of a statement"])
        if n % 8 == 2 and way.nobody():
            crossings.append("nobody")
        if bodies(way.notes(given[user])) != wanted[user]:
            crossings.append(user)
    return crossings


seen = {"own": [bodies(way.notes(given[user])) for user in ("alice", "bob")]}
wanted = dict(zip(("alice", "bob"), seen["own"]))
seen["refused"] = {why: refusal(token) for why, token in given["refused"].items()}
seen["failed"] = {why: refusal(given["alice"], failing(fail)) for why, fail in FAILURES.items()}
if name == "django":
    client.connection.close()  # as Django does at the end of a request
done = way.all(requests, range(40))
seen["requests"] = 5 * len(done)
seen["crossings"] = sum(done, [])
seen["nobody"] = bodies(way.nobody())
way.close()
print(json.dumps(seen))
