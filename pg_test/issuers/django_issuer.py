"""django-oauth-toolkit as an OpenID provider, over HTTPS on loopback.

  django_issuer.py CERTIFICATE KEY

Prints its origin, as a line of JSON. Each line of standard input has it go on with a new key alone, and is answered by
a line. /login/NAME signs in."""

import json
import ssl
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command

APPS = ("auth", "contenttypes", "sessions")


def private_key():
    key = rsa.generate_private_key(65537, 2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


settings.configure(
    ALLOWED_HOSTS=["localhost"],
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:issuer?mode=memory&cache=shared"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[*(f"django.contrib.{app}" for app in APPS), "oauth2_provider"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    # Tables are made of the models: migrations take seconds.
    MIGRATION_MODULES=dict.fromkeys([*APPS, "oauth2_provider"]),
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": private_key(),
        "PKCE_REQUIRED": False,
        "SCOPES": {"openid": "who signs in"},
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY="of the test",
)
django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)

from django.contrib.auth import login  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402
from oauth2_provider.settings import oauth2_settings  # noqa: E402


def sign_in(request, name):
    user, _ = User.objects.get_or_create(username=name)
    login(request, user)
    return HttpResponse(str(user.pk))


urlpatterns = [path("login/<name>", sign_in), path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]
Application.objects.create(
    algorithm=Application.RS256_ALGORITHM,
    authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
    client_id="notes-web",
    client_secret="secret",
    client_type=Application.CLIENT_CONFIDENTIAL,
    hash_client_secret=False,
    redirect_uris="https://app.example.com/callback",
    skip_authorization=True,
)


class Handler(WSGIRequestHandler):
    def get_environ(self):
        return {**super().get_environ(), "HTTPS": "on"}

    def log_message(self, *_):
        pass


def say(line):
    print(json.dumps(line), flush=True)


server = make_server("127.0.0.1", 0, WSGIHandler(), handler_class=Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
say([f"https://localhost:{server.server_port}"])
for _ in sys.stdin:
    settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"] = private_key()
    oauth2_settings.reload()
    say("renewed")
