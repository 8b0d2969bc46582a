"""What of a node's services belongs to one environment: a PHP-FPM pool, an nginx server, a Redis user."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import http.client
import os
import re
import secrets as random
import socket
import time

from ansible.module_utils.pressluft_site import (
    LOCKS,
    CommandError,
    Environment,
    SiteError,
    make_locks_folder,
    php_version,
    read_file,
    remove_file,
    remove_tree,
    run,
    url_host,
    write_file,
)
from ansible.module_utils.pressluft_systemd import parse_timestamp, parse_units, show_command

SITES_ENABLED = "/etc/nginx/sites-enabled"
CACHES = "/var/lib/nginx"
REDIS_USERS = "/etc/redis/users.acl"
REDIS_PASSWORD = "/etc/pressluft/redis-admin.password"
FLUSH = (
    "local c = '0' repeat local r = redis.call('SCAN', c, 'MATCH', ARGV[1], 'COUNT', 1000) c = r[1]"
    " for _, k in ipairs(r[2]) do redis.call('UNLINK', k) end until c == '0' return 'flushed'"
)
PAGE_SECONDS = 20
# What starts programs, or prepares that a started one runs something else. None of it is used by WordPress.
DISABLED_FUNCTIONS = (
    "dl exec shell_exec system passthru popen proc_open proc_close proc_get_status proc_nice proc_terminate putenv"
    " pcntl_alarm pcntl_exec pcntl_fork pcntl_rfork pcntl_forkx pcntl_signal pcntl_unshare pcntl_wait pcntl_waitpid"
    " posix_kill posix_mkfifo posix_setegid posix_seteuid posix_setgid posix_setpgid posix_setsid posix_setuid"
)
# Everything but what reaches other keys than the user's own, tells their names, or changes the server. Redis 7 or later.
REDIS_RULES = "+@all -@admin -@dangerous -scan -randomkey -dbsize -swapdb -script -function -fcall -fcall_ro"


def pool_path(environment: Environment) -> str:
    return f"/etc/php/{php_version()}/fpm/pool.d/{environment.user}.conf"


def server_path(environment: Environment) -> str:
    return f"{SITES_ENABLED}/{environment.user}.conf"


def cache_path(environment: Environment) -> str:
    return f"{CACHES}/{environment.user}"


def pool_text(environment: Environment, url: str) -> str:
    """The PHP-FPM pool: the environment's own user, and nothing outside of its folder.

    Not `ondemand`: a request that comes while the only idle process is being ended waits for the next request, for minutes
    (php-src issue 11765). Two idle processes stay instead, and are there at once: one for a visitor, and one for what his page
    asks of its own site. More are started within a second.
    """
    folder, tmp = environment.folder, environment.tmp
    return f"""; Written by Pressluft; changes are lost.
[{environment.user}]
user = {environment.user}
group = {environment.user}
listen = {environment.socket}
listen.owner = www-data
listen.group = www-data
listen.mode = 0600
pm = dynamic
pm.max_children = 8
pm.start_servers = 2
pm.min_spare_servers = 2
pm.max_spare_servers = 3
pm.max_requests = 500
request_terminate_timeout = 120s
security.limit_extensions = .php
php_admin_value[open_basedir] = {folder}/
php_admin_value[disable_functions] = {",".join(DISABLED_FUNCTIONS.split())}
php_admin_value[upload_tmp_dir] = {tmp}
php_admin_value[sys_temp_dir] = {tmp}
php_admin_value[session.save_path] = {tmp}
php_admin_flag[session.cookie_secure] = {"on" if url.startswith("https://") else "off"}
php_admin_flag[allow_url_include] = off
"""


def server_text(environment: Environment, url: str, environment_type: str) -> str:
    """The nginx server. Only production caches pages: what others see is what was changed just now."""
    name = environment.user
    zone = cache = ""
    if environment_type == "production":
        zone = f"fastcgi_cache_path {cache_path(environment)} keys_zone={name}:1m max_size=128m inactive=10m use_temp_path=off;\n"
        # Seconds, so that nobody waits for a change and nothing has to be purged. The generation is part of the key, so
        # that a restore shows at once.
        cache = f"""
        fastcgi_cache {name};
        fastcgi_cache_key $realpath_root$scheme$request_method$host$request_uri;
        fastcgi_cache_valid 200 10s;
        fastcgi_cache_lock on;
        fastcgi_cache_bypass $pressluft_no_cache $is_args $http_authorization $http_x_pressluft_nonce;
        fastcgi_no_cache $pressluft_no_cache $is_args $http_authorization $http_x_pressluft_nonce;"""
    return f"""# Written by Pressluft; changes are lost.
{zone}server {{
    listen 80;
    server_name {url_host(url).partition(":")[0]};
    root {environment.current}/live;
    index index.php;
    include /etc/nginx/snippets/pressluft-security-headers.conf;
    include /etc/nginx/snippets/pressluft-hidden-files.conf;
    # No access_log here: the one of all servers, and the log of refused logins, then count here too.
    # PHP may not lead nginx, which reads what other environments serve too, to files of others.
    disable_symlinks if_not_owner from=$document_root;

    set $pressluft_no_cache 0;
    if ($http_cookie ~* "wordpress_(?!test_cookie)|wp-postpass_|comment_author_|woocommerce_|wp_woocommerce_") {{
        set $pressluft_no_cache 1;
    }}
    if ($request_uri ~ "^/+(wp-admin|wp-json|wp-[a-z-]+\\.php|xmlrpc\\.php)") {{
        set $pressluft_no_cache 1;
    }}

    location / {{
        try_files $uri $uri/ /index.php?$args;
    }}
    # What was uploaded is never run, and never shown as source.
    location ~* ^/wp-content/uploads/.*\\.(ph(p[0-9s]?|tml|ar|t)|inc)(/|$) {{
        return 404;
    }}
    location ~ \\.php$ {{
        try_files $uri =404;
        include /etc/nginx/fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
        fastcgi_param DOCUMENT_ROOT $realpath_root;
        fastcgi_param HTTP_PROXY "";
        fastcgi_pass unix:{environment.socket};
        fastcgi_read_timeout 120s;
        fastcgi_buffer_size 32k;
        fastcgi_buffers 16 16k;{cache}
    }}
    location ~* \\.ph(p[0-9s]?|tml|ar|t)$ {{
        return 404;
    }}
}}
"""


def shared_path() -> str:
    return f"/etc/php/{php_version()}/fpm/pool.d/pressluft.conf"


# A reload for one environment must not cut off what runs for another: PHP-FPM's own default ends it at once.
SHARED_TEXT = """; Written by Pressluft; changes are lost.
[global]
process_control_timeout = 5s
"""


def wanted_files(environment: Environment, url: str, environment_type: str) -> dict[str, str]:
    """The text of every configuration file of an environment, by its path."""
    return {
        shared_path(): SHARED_TEXT,
        pool_path(environment): pool_text(environment, url),
        server_path(environment): server_text(environment, url, environment_type),
    }


@contextlib.contextmanager
def node_locked(shared: bool = False):
    """Held while something is changed that all environments of a node share; `shared` where nothing else may change it."""
    make_locks_folder()
    with open(f"{LOCKS}/pressluft-node.lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def stale_services() -> list[str]:
    """The services that have not read their configuration since it changed, those that do not run too."""
    version = php_version()
    folders = {f"php{version}-fpm": f"/etc/php/{version}/fpm/pool.d", "nginx": SITES_ENABLED}
    out = run(show_command(list(folders), ["ActiveState", "StateChangeTimestamp"])).stdout
    states = dict(zip(folders, parse_units(out), strict=True))
    return [name for name, state in states.items() if _is_stale(state, folders[name])]


def _is_stale(state: dict, folder: str) -> bool:
    # The folder's own time tells of a file that was removed.
    paths = [folder, *(entry.path for entry in os.scandir(folder))]
    newest = max(os.lstat(path).st_mtime for path in paths)
    return state["ActiveState"] != "active" or parse_timestamp(state["StateChangeTimestamp"]) <= newest


def reload_services() -> list[str]:
    """Has PHP-FPM and nginx take their configuration where they have not, tested first. The services that did."""
    stale = stale_services()
    for name in stale:
        test = ["nginx", "-t", "-q"] if name == "nginx" else [f"php-fpm{php_version()}", "--test"]
        run(test)
        run(["systemctl", "reload-or-restart", "--", name])
    return stale


def configure(environment: Environment, url: str, environment_type: str) -> bool:
    """Writes the pool and the server and has them taken. A text that its program refuses is taken back."""
    with node_locked():
        wanted = wanted_files(environment, url, environment_type)
        before = {path: read_file(path) for path in wanted}
        changed = [write_file(path, text) for path, text in wanted.items()]
        try:
            return bool(reload_services()) or any(changed)
        except CommandError:
            # Nothing else on this node could be taken over while it stands there.
            for path, text in before.items():
                remove_file(path) if text is None else write_file(path, text)
            raise


def wait_for_pool(environment: Environment, seconds: float = PAGE_SECONDS) -> None:
    """Returns as soon as the environment's pool takes connections: PHP-FPM opens it a moment after its reload."""
    end = time.monotonic() + seconds
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.connect(environment.socket)
            return
        if time.monotonic() > end:
            raise SiteError(f"PHP-FPM does not open {environment.socket} within {seconds:g} s")
        time.sleep(0.01)


def unconfigure(environment: Environment) -> bool:
    """Removes the pool and the server, with what nginx cached."""
    with node_locked():
        removed = [remove_file(path) for path in (server_path(environment), pool_path(environment))]
        # Also where a run that was killed has removed them: it may not have come to this.
        reload_services()
        removed.append(remove_tree(cache_path(environment)))
        removed.append(remove_file(environment.socket))
        return any(removed)


def redis(arguments: list[str], user: str, password: str) -> str:
    """What Redis answers a user of its; the password stands in the client's environment alone."""
    env = {"REDISCLI_AUTH": password}
    return run(["redis-cli", "-h", "127.0.0.1", "--user", user, *arguments], env=env, check=False).stdout.strip()


def redis_line(environment: Environment, password: str) -> str:
    digest = hashlib.sha256(password.encode()).hexdigest()
    name = environment.user
    return f"user {name} on #{digest} resetkeys ~{name}:* resetchannels &{name}:* {REDIS_RULES}"


def _write_redis_users(environment: Environment, line: str | None) -> bool:
    """Puts a user's line into the file of Redis's users, or takes it out, and has Redis read it."""
    text = read_file(REDIS_USERS) or ""
    if not re.search(r"^user pressluft ", text, re.MULTILINE):
        # Redis would take it, and forget the only user that can change anything again.
        raise SiteError(f"{REDIS_USERS} does not name Redis's admin")
    others = [old for old in text.splitlines() if not old.startswith(f"user {environment.user} ")]
    changed = write_file(REDIS_USERS, "\n".join(others + ([line] if line else [])) + "\n", 0o640, "redis")
    answer = redis(["ACL", "LOAD"], "pressluft", (read_file(REDIS_PASSWORD) or "").strip())
    if answer != "OK":
        if changed:
            write_file(REDIS_USERS, text, 0o640, "redis")
        raise SiteError(f"Redis does not take its users: {answer or 'no answer'}")
    return changed


def has_redis_user(environment: Environment, password: str) -> bool:
    """Whether the file has the user as it should be, and Redis knows it."""
    lines = (read_file(REDIS_USERS) or "").splitlines()
    wanted = redis_line(environment, password)
    return wanted in lines and redis(["EXISTS", f"{environment.user}:"], environment.user, password) == "0"


def add_redis_user(environment: Environment, password: str) -> bool:
    with node_locked():
        if has_redis_user(environment, password):
            return False
        _write_redis_users(environment, redis_line(environment, password))
        return True


def remove_redis_user(environment: Environment) -> bool:
    """Removes the user and its keys."""
    admin = (read_file(REDIS_PASSWORD) or "").strip()
    with node_locked():
        known = redis(["ACL", "GETUSER", environment.user], "pressluft", admin) != ""
        named = re.search(rf"^user {environment.user} ", read_file(REDIS_USERS) or "", re.MULTILINE) is not None
        if known or named:
            _write_redis_users(environment, None)
    script = (
        "local n, c = 0, '0' repeat local r = redis.call('SCAN', c, 'MATCH', ARGV[1], 'COUNT', 1000) c = r[1]"
        " for _, k in ipairs(r[2]) do n = n + redis.call('UNLINK', k) end until c == '0' return n"
    )
    removed = redis(["EVAL", script, "0", f"{environment.user}:*"], "pressluft", admin)
    return known or named or removed not in ("", "0")


def flush_redis(environment: Environment) -> None:
    """Removes all keys of an environment: what is cached there is not what its database says any more."""
    password = (read_file(REDIS_PASSWORD) or "").strip()
    answer = redis(["EVAL", FLUSH, "0", f"{environment.user}:*"], "pressluft", password)
    if answer != "flushed":
        raise SiteError(f"the environment's keys in Redis could not be removed: {answer or 'no answer'}")


def page_answer(url: str, proof_secret: str) -> str | None:
    """None where WordPress answers through nginx with the right proof, else what came instead."""
    nonce = random.token_hex(16)
    wanted = hmac.new(proof_secret.encode(), f"{nonce}\n{url}".encode(), hashlib.sha256).hexdigest()
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=PAGE_SECONDS)
    try:
        connection.request("GET", "/", headers={"Host": url_host(url), "X-Pressluft-Nonce": nonce})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    if answer.status >= 400:
        return f"status {answer.status}"
    proof = answer.getheader("X-Pressluft-Proof")
    return None if proof == wanted else f"status {answer.status} with {'a wrong' if proof else 'no'} proof"


def wait_for_page(url: str, proof_secret: str, seconds: float = PAGE_SECONDS) -> None:
    """Returns as soon as WordPress answers through nginx with the right proof: services take a configuration over a moment."""
    end = time.monotonic() + seconds
    while (problem := page_answer(url, proof_secret)) is not None:
        if time.monotonic() > end:
            raise SiteError(f"{url} does not answer on the node itself after {seconds:g} s: {problem}", "PREVIEW_UNREACHABLE")
        time.sleep(0.02)
