"""Whether a generation that is not live yet would work: the checks that come before the switch."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets as random
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin, urlsplit

from ansible.module_utils.pressluft_site import CommandError, Generation, run, url_host
from ansible.module_utils.pressluft_site_database import query, site_address
from ansible.module_utils.pressluft_site_wordpress import TABLE_PREFIX, why_not_installed

MAX_REDIRECTS = 5
REQUEST_SECONDS = "60"
# The status of `timeout` where it ended the program.
TIMED_OUT = 124


class Unhealthy(Exception):
    """A check that failed: `args[0]` says which, and why."""


def check(generation: Generation, url: str, password: str, proof_secret: str, wp_cli: str) -> None:
    """Raises Unhealthy where the generation would not serve `url`."""
    check_query(generation, password)
    check_address(generation, password, url)
    # Two programs that load WordPress, at once.
    with ThreadPoolExecutor(max_workers=1) as other:
        installed = other.submit(why_not_installed, generation, wp_cli)
        check_proof(generation, url, proof_secret)
        if reason := installed.result():
            raise Unhealthy(f"`wp core is-installed` fails: {reason}")


def check_query(generation: Generation, password: str) -> None:
    try:
        rows = query(generation, password, f"SELECT COUNT(*) FROM {TABLE_PREFIX}posts;")
    except CommandError as error:
        raise Unhealthy(f"a query of the posts fails: {error.output}") from error
    if len(rows) != 1 or not rows[0][0].isdigit():
        raise Unhealthy("a query of the posts has no answer")


def check_address(generation: Generation, password: str, url: str) -> None:
    address = site_address(generation, password)
    if address != url:
        raise Unhealthy(f"the database says that its address is {address or 'none'}, not {url}")


def check_proof(generation: Generation, url: str, proof_secret: str) -> None:
    """The preview proof, asked of PHP-FPM itself: nginx leads to what is live."""
    nonce = random.token_hex(16)
    wanted = hmac.new(proof_secret.encode(), f"{nonce}\n{url}".encode(), hashlib.sha256).hexdigest()
    asked = url + "/"
    for _redirect in range(MAX_REDIRECTS + 1):
        status, headers = ask(generation, asked, nonce)
        if status in (301, 302, 303, 307, 308) and "location" in headers:
            asked = urljoin(asked, headers["location"])
            if urlsplit(asked).netloc != url_host(url):
                raise Unhealthy("the preview leads to another host")
            continue
        if status != 200:
            raise Unhealthy(f"the preview answers with status {status}")
        if not hmac.compare_digest(headers.get("x-pressluft-proof", ""), wanted):
            raise Unhealthy(f"the preview answers with {'a wrong' if 'x-pressluft-proof' in headers else 'no'} proof")
        return
    raise Unhealthy("the preview redirects without end")


def ask(generation: Generation, url: str, nonce: str) -> tuple[int, dict[str, str]]:
    """Status and headers (names in lower case) that PHP-FPM answers for the generation's live release."""
    parts = urlsplit(url)
    root = generation.release
    script = parts.path if parts.path.endswith(".php") and ".." not in parts.path else "/index.php"
    if not os.path.isfile(root + script):
        script = "/index.php"
    env = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "nginx",
        "SERVER_NAME": parts.hostname or "",
        "SERVER_PORT": str(parts.port or (443 if parts.scheme == "https" else 80)),
        "SERVER_ADDR": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_SCHEME": parts.scheme,
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": parts.path + (f"?{parts.query}" if parts.query else ""),
        "QUERY_STRING": parts.query,
        "DOCUMENT_ROOT": root,
        "SCRIPT_NAME": script,
        "SCRIPT_FILENAME": root + script,
        "REDIRECT_STATUS": "200",
        "HTTP_HOST": parts.netloc,
        "HTTP_X_PRESSLUFT_NONCE": nonce,
        **({"HTTPS": "on"} if parts.scheme == "https" else {}),
    }
    command = ["timeout", "-k", "2", REQUEST_SECONDS, "cgi-fcgi", "-bind", "-connect", generation.environment.socket]
    try:
        answer = run(command, env=env).stdout
    except CommandError as error:
        why = f"nothing within {REQUEST_SECONDS} s" if error.status == TIMED_OUT else error.output
        raise Unhealthy(f"PHP-FPM does not answer: {why}") from error
    return parse_answer(answer)


def parse_answer(answer: str) -> tuple[int, dict[str, str]]:
    """Status and headers of a CGI answer; a status of 0 where it is none. Without `Status` it is 200."""
    head, separator, _body = answer.replace("\r\n", "\n").partition("\n\n")
    if not separator:
        return 0, {}
    headers: dict[str, str] = {}
    for line in head.split("\n"):
        name, _colon, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    status = headers.get("status", "200").split(" ")[0]
    return int(status) if status.isdigit() else 0, headers
