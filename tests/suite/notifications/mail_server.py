"""A mail server for the tests: mail_server.py MODE DIRECTORY [CERTIFICATE KEY], MODE one of starttls, tls, plain.

Prints its port. Each mail becomes a file in DIRECTORY: its sender, its recipients, its text. Whoever doesn't sign in as skm gets nothing
taken (but by plain, where nobody signs in).
"""

import asyncio
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

mode, directory = sys.argv[1], pathlib.Path(sys.argv[2])
password = (directory / "password").read_bytes()


class Keep:
    taken = 0

    async def handle_DATA(self, server, session, envelope):
        Keep.taken += 1
        head = f"{envelope.mail_from}\n{' '.join(envelope.rcpt_tos)}\n".encode()
        temporary = directory / "mail.new"
        temporary.write_bytes(head + envelope.content)
        temporary.rename(directory / f"{Keep.taken:04}.mail")
        return "250 OK"


def sign_in(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.login == b"skm" and data.password == password
    return AuthResult(success=good)


async def main():
    context = None
    if mode != "plain":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[3], sys.argv[4])

    def factory():
        if mode == "plain":
            return SMTP(Keep())
        over_tls = {"tls_context": context, "require_starttls": True} if mode == "starttls" else {"auth_require_tls": False}
        return SMTP(Keep(), authenticator=sign_in, auth_required=True, **over_tls)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
