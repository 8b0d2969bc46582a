#!/usr/bin/env bash
# Smoke: a site on a ready node, whose preview answers.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# Read by smoke.sh, which also sets what is read here.
# shellcheck disable=SC2034
smoke='create-site-preview'
# shellcheck disable=SC2034
about='Creates a site on a ready node, or takes the one of an earlier run, and checks that its preview answers.'
# shellcheck source=scripts/lib/smoke.sh
. "$root/scripts/lib/smoke.sh"

run() {
	take_site "$smoke"
	see_environment "$environment"
	check_preview
}

smoke_main "$@"
