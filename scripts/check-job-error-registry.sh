#!/usr/bin/env bash
# Checks that every error code is made by the code, asserted by a test, and documented.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

usage() {
	cat <<'EOF'
Usage: scripts/check-job-error-registry.sh

Every code of contracts/error-codes.json (of requests, jobs and readiness) is made by product code, asserted by a test that does
not itself make it, and has a row in docs/error-codes.md.

Exit status: 0 all of it holds, 1 something does not, 2 a bad argument.

  --help    show this text
EOF
}

case ${1:-} in
'') ;;
-h | --help)
	usage
	exit 0
	;;
*)
	usage >&2
	printf '\ncheck-job-error-registry: unknown argument: %s\n' "$1" >&2
	exit 2
	;;
esac

exec cargo --quiet xtask check-codes
