#!/usr/bin/env bash
# Checks that docs/contract-traceability.md is true.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

usage() {
	cat <<'EOF'
Usage: scripts/check-contract-traceability.sh

Every endpoint of contracts/openapi.yaml has one row in docs/contract-traceability.md and no row names another; its handler is
the one of the table of routes, its job types and error codes are those of the contracts, each test that it names exists. Every
endpoint is named in docs/api-contract.md.

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
	printf '\ncheck-contract-traceability: unknown argument: %s\n' "$1" >&2
	exit 2
	;;
esac

exec cargo --quiet xtask check-traceability
