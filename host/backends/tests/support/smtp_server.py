"""A real SMTP server (aiosmtpd) for the tests.

Listens on a free loopback port, which is its first line of output, and ends when its standard
input does. Every message it takes becomes a JSON file in --directory. It refuses the recipient
refused@example.net for good and later@example.net for now, and asks for a login if --user is given.
"""

import argparse
import asyncio
import base64
import itertools
import json
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--directory", type=pathlib.Path, required=True)
parser.add_argument("--tls", choices=["none", "starttls", "tls"], required=True)
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--user")
parser.add_argument("--password")
options = parser.parse_args()
numbers = itertools.count()


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address == "refused@example.net":
            return "550 5.1.1 no such user"
        if address == "later@example.net":
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        number = next(numbers)
        message = {
            "recipients": envelope.rcpt_tos,
            "encrypted": options.tls == "tls" or session.ssl is not None,
            "authenticated": bool(session.authenticated),
            "raw": base64.b64encode(envelope.original_content).decode(),
        }
        part = options.directory / f"{number}.part"
        part.write_text(json.dumps(message))
        part.rename(options.directory / f"{number}.json")
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == options.user.encode() and data.password == options.password.encode()
    return AuthResult(success=good, handled=False)


async def main():
    context = None
    if options.tls != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    starttls = options.tls == "starttls"

    def session():
        return SMTP(
            Handler(),
            enable_SMTPUTF8=True,
            tls_context=context if starttls else None,
            require_starttls=starttls,
            auth_required=options.user is not None,
            auth_require_tls=starttls,
            authenticator=authenticate if options.user is not None else None,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", 0, ssl=None if starttls else context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
