"""WordPress in a generation: its configuration, the must-use plugin, and WP-CLI."""

from __future__ import annotations

import json
import re

from ansible.module_utils.pressluft_site import (
    CommandError,
    Generation,
    SiteError,
    last_lines,
    read_as,
    remove_file,
    run,
    url_host,
    write_file,
)
from ansible.module_utils.pressluft_site_database import has_rare_serialized
from ansible.module_utils.pressluft_site_services import DISABLED_FUNCTIONS

# What is never part of a copy or a backup of the code: they are links into the generation.
LINKS = {"wp-config.php": "../../wp-config.php", "wp-content/uploads": "../../../uploads"}
PLUGIN = "wp-content/mu-plugins/pressluft-proof.php"
TABLE_PREFIX = "wp_"

SECRETS_SPEC = {
    "database_password": {"type": "str", "no_log": True},
    "redis_password": {"type": "str", "no_log": True},
    "proof_secret": {"type": "str", "no_log": True},
    "salts": {"type": "dict", "no_log": True},
}
SALTS = [f"{name}_{kind}" for kind in ("KEY", "SALT") for name in ("AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE")]

# Read by every answer of WordPress, so it costs one look at a header where there is no nonce. The address is asked of the
# table itself: neither a cache nor a constant may answer for the database.
PLUGIN_TEXT = r"""<?php
/* Plugin Name: Pressluft
 * Description: Proves to the control plane that this WordPress and its database answer. Written by Pressluft; changes are lost. */
if (!defined('ABSPATH')) {
    exit;
}
(function () {
    $nonce = $_SERVER['HTTP_X_PRESSLUFT_NONCE'] ?? '';
    if (!defined('PRESSLUFT_PROOF_SECRET') || !is_string($nonce) || !preg_match('/\A[0-9a-f]{32}\z/', $nonce) || headers_sent()) {
        return;
    }
    global $wpdb;
    $address = $wpdb->get_var("SELECT option_value FROM {$wpdb->options} WHERE option_name = 'siteurl'");
    if (!is_string($address)) {
        return;
    }
    header('X-Pressluft-Proof: ' . hash_hmac('sha256', $nonce . "\n" . $address, PRESSLUFT_PROOF_SECRET));
    header('Cache-Control: no-store');
})();
if (defined('PRESSLUFT_NOINDEX') && PRESSLUFT_NOINDEX) {
    if (!headers_sent()) {
        header('X-Robots-Tag: noindex');
    }
    add_filter('pre_option_blog_public', '__return_zero');
}
"""


def php_text(text: str) -> str:
    """A text as a literal of PHP."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def config_text(generation: Generation, environment_type: str, secrets: dict) -> str:
    """wp-config.php of a generation. `secrets` has the keys of SECRETS_SPEC."""
    environment = generation.environment
    constants: dict[str, str | bool | int] = {
        "DB_NAME": generation.database,
        "DB_USER": generation.database,
        "DB_PASSWORD": secrets["database_password"],
        "DB_HOST": "localhost",
        "DB_CHARSET": "utf8mb4",
        "DB_COLLATE": "",
        **{name: secrets["salts"][name] for name in SALTS},
        # For a plugin that keeps WordPress's object cache in Redis: its user reaches keys of this prefix alone.
        "WP_REDIS_HOST": "127.0.0.1",
        "WP_REDIS_PORT": 6379,
        "WP_REDIS_USERNAME": environment.user,
        "WP_REDIS_PASSWORD": secrets["redis_password"],
        "WP_REDIS_PREFIX": f"{environment.user}:",
        "WP_REDIS_DATABASE": 0,
        "WP_CACHE_KEY_SALT": f"{environment.user}:",
        "PRESSLUFT_PROOF_SECRET": secrets["proof_secret"],
        "PRESSLUFT_NOINDEX": environment_type != "production",
        # WordPress knows no type "clone".
        "WP_ENVIRONMENT_TYPE": "production" if environment_type == "production" else "staging",
        "WP_TEMP_DIR": environment.tmp,
        "FS_METHOD": "direct",
        "DISALLOW_FILE_EDIT": True,
        "WP_DEBUG": False,
    }
    lines = ["<?php", "// Written by Pressluft; changes are lost."]
    for name, value in constants.items():
        literal = php_text(value) if isinstance(value, str) else str(value).lower()
        lines.append(f"define({php_text(name)}, {literal});")
    # The file is reached through a link, so __DIR__ is not the release.
    lines += [
        f"$table_prefix = {php_text(TABLE_PREFIX)};",
        f"if (!defined('ABSPATH')) {{ define('ABSPATH', {php_text(generation.live + '/')}); }}",
        "require_once ABSPATH . 'wp-settings.php';",
        "",
    ]
    return "\n".join(lines)


def write_config(generation: Generation, environment_type: str, secrets: dict) -> bool:
    """Writes wp-config.php for root and the environment's group. Says whether anything changed."""
    missing = [name for name in SALTS if name not in secrets["salts"]]
    if missing:
        raise SiteError(f"salts are missing: {', '.join(missing)}")
    text = config_text(generation, environment_type, secrets)
    return write_file(generation.config, text, 0o640, generation.environment.user)


def prepare_release(generation: Generation) -> None:
    """Puts the links and the must-use plugin into the live release, as the environment's user.

    As that user, and not as root: what is in a release may have been put there by PHP, links included.
    """
    links = "".join(
        # What stands there already belongs to another place: an empty folder of the archive, or a file of a backup.
        f'if [ "$(readlink {name})" != {target} ]; then rm -rf {name} && ln -s {target} {name}; fi\n'
        for name, target in LINKS.items()
    )
    script = (
        "set -eu\numask 022\n"
        f"cd {generation.release}\n{links}"
        f"mkdir -p {PLUGIN.rpartition('/')[0]}\ncat > {PLUGIN}.new\nmv -f {PLUGIN}.new {PLUGIN}\n"
    )
    run(["sh", "-c", script], input=PLUGIN_TEXT, user=generation.environment.user)


def wp(generation: Generation, arguments: list[str], wp_cli: str, stdin: str | None = None, check: bool = True):
    """Runs WP-CLI on the generation's live folder as the environment's system user; a CompletedProcess with text.

    No secret may stand in `arguments`. Raises a SiteError with WP_CLI_FAILED and the last lines of its output.
    """
    user, tmp = generation.environment.user, generation.environment.tmp
    env = {
        "HOME": tmp,
        "TMPDIR": tmp,
        "WP_CLI_CACHE_DIR": f"{tmp}/wp-cli",
        "WP_CLI_DISABLE_AUTO_CHECK_UPDATE": "1",
        # Nothing that a site keeps in its home configures the program.
        "WP_CLI_CONFIG_PATH": "/dev/null",
        "WP_CLI_PACKAGES_DIR": "/nonexistent",
    }
    settings = ["-d", "memory_limit=512M", "-d", f"sys_temp_dir={tmp}", "-d", "display_errors=stderr"]
    # Must-use plugins are loaded whatever is asked to be skipped: they are to start no program here either.
    settings += ["-d", f"disable_functions={','.join(DISABLED_FUNCTIONS.split())}"]
    command = ["php", *settings, wp_cli, f"--path={generation.live}", "--no-color", *arguments]
    try:
        return run(command, input=stdin, env=env, user=user, check=check)
    except CommandError as error:
        raise SiteError(f"wp {' '.join(arguments[:2])} failed: {error.output}", "WP_CLI_FAILED") from error


# Runs in the environment's own PHP-FPM pool, so that what it compiles is there for the first page. WP-CLI does the same work
# in a process that forgets it. Arguments come as the body of the request.
INSTALLER = r"""<?php
ini_set('display_errors', '1');
ini_set('html_errors', '0');
header('Content-Type: text/plain');
$asked = json_decode(file_get_contents('php://input'), true, 4, JSON_THROW_ON_ERROR);
$_SERVER['HTTP_HOST'] = $asked['host'];
$_SERVER['REQUEST_URI'] = '/';
define('WP_INSTALLING', true);
define('WP_SITEURL', $asked['url']);
// No mail is sent: who asked for the site knows of it.
function wp_mail() { return true; }
function wp_new_blog_notification() {}
require dirname(__FILE__) . '/live/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
// Set from the start: else WordPress asks itself over HTTP whether they work, while nothing answers yet.
add_filter('pre_option_permalink_structure', fn() => '/%postname%/');
wp_install($asked['title'], $asked['admin_user'], $asked['admin_email'], $asked['public'], '', wp_slash($asked['admin_password']));
remove_all_filters('pre_option_permalink_structure');
$wp_rewrite->set_permalink_structure('/%postname%/');
$wp_rewrite->flush_rules(false);
update_option('siteurl', $asked['url']);
update_option('home', $asked['url']);
echo is_blog_installed() && username_exists($asked['admin_user']) ? "\ninstalled\n" : "\nnot installed\n";
"""


def install(generation: Generation, url: str, title: str, admin_user: str, admin_email: str, password: str, public: bool) -> None:
    """Fills the empty database with a new WordPress, by its own installer, through the environment's running pool.

    Raises a SiteError with WP_CLI_FAILED and the last lines of the installer's output.
    """
    asked = {
        "host": url_host(url),
        "url": url,
        "title": title,
        "admin_user": admin_user,
        "admin_email": admin_email,
        "admin_password": password,
        "public": public,
    }
    body = json.dumps(asked)
    script = f"{generation.path}/install.php"
    write_file(script, INSTALLER, 0o640, generation.environment.user)
    env = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_FILENAME": script,
        "SCRIPT_NAME": "/install.php",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
    }
    done = run(["cgi-fcgi", "-bind", "-connect", generation.environment.socket], input=body, env=env, check=False)
    if done.stdout.splitlines()[-1:] != ["installed"]:
        raise SiteError(f"WordPress could not be installed: {last_lines(done.stdout + done.stderr)}", "WP_CLI_FAILED")
    remove_file(script)


def rewrite_addresses(generation: Generation, old_url: str, new_url: str, wp_cli: str) -> None:
    """Replaces the host of one address by that of another in every table, inside serialized values too.

    The bare host stands in all forms of the address: with http, https and neither, escaped in JSON, encoded in a query.
    Also in guid: a copy is a site of its own, and nothing of it may lead to the source.
    """
    old, new = url_host(old_url), url_host(new_url)
    if old == new:
        return
    options = ["--all-tables-with-prefix", "--skip-plugins", "--skip-themes", "--report=0", "--quiet"]
    if has_rare_serialized(generation.database, old):
        # Every row by PHP, one by one: right, and slow where thousands of posts name their address.
        options.append("--precise")
    wp(generation, ["search-replace", old, new, *options], wp_cli)


def why_not_installed(generation: Generation, wp_cli: str) -> str | None:
    """What `wp core is-installed` says against it; None where it says nothing."""
    said = wp(generation, ["core", "is-installed", "--skip-plugins", "--skip-themes"], wp_cli, check=False)
    return None if said.returncode == 0 else last_lines(said.stderr) or "it is not installed"


def wordpress_version(generation: Generation) -> str:
    """The version that the live release's own file names."""
    text = read_as(generation.environment.user, f"{generation.live}/wp-includes/version.php")
    found = re.search(r"^\$wp_version\s*=\s*'([0-9A-Za-z.+-]+)'", text, re.MULTILINE)
    if not found:
        raise SiteError("wp-includes/version.php names no version")
    return found.group(1)
