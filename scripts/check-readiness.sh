#!/usr/bin/env bash
# Checks that plans, contracts and documents say what the code does. One line per check; ends with status 0 only when all held.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root"

usage() {
	cat <<'EOF'
Usage: scripts/check-readiness.sh

Runs every check of plans and contracts and prints a line for each: ok, or FAILED with what is wrong.

  documents            they are there, links between them lead somewhere
  contracts            contracts/ and the pages of the registries are the generated ones (builds the server)
  traceability         scripts/check-contract-traceability.sh
  error registry       scripts/check-job-error-registry.sh
  plan                 each task has a command that exists, and a state
  layers               which crate may depend on which
  playbook syntax      ansible-playbook --syntax-check on every playbook; skipped without .venv (scripts/setup makes it)

Exit status: 0 all held, 1 one did not, 2 a bad argument.

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
	printf '\ncheck-readiness: unknown argument: %s\n' "$1" >&2
	exit 2
	;;
esac

scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
failed=no

# check <name> <command...>: what the command says is shown where it fails.
check() {
	local name=$1
	shift
	if "$@" >"$scratch/said" 2>&1; then
		printf '%-16s ok\n' "$name"
	else
		printf '%-16s FAILED\n' "$name"
		sed 's/^/    /' "$scratch/said"
		failed=yes
	fi
}

# Compares what the code generates with what is committed.
contracts_are_current() {
	local generated=$scratch/generated file stale=no
	cargo run --quiet --locked --bin pressluft -- \
		openapi --write "$generated/contracts" --docs "$generated/docs" >/dev/null || return 1
	while IFS= read -r file; do
		diff -u -- "$file" "$generated/$file" || stale=yes
	done < <(cd -- "$generated" && find . -type f -printf '%P\n' | sort)
	[[ $stale == no ]] && return 0
	printf 'write them anew: cargo run --bin pressluft -- openapi --write contracts --docs docs\n'
	return 1
}

# Roles are found beside ansible.cfg.
playbooks_can_be_read() (
	cd ansible || exit 1
	export ANSIBLE_CONFIG=$PWD/ansible.cfg
	read=0
	for playbook in playbooks/*.yml; do
		"$root/.venv/bin/ansible-playbook" --syntax-check --inventory localhost, "$playbook" || exit 1
		read=$((read + 1))
	done
	[[ $read -gt 0 ]]
)

check "documents" cargo --quiet xtask check-documents
check "contracts" contracts_are_current
check "traceability" scripts/check-contract-traceability.sh
check "error registry" scripts/check-job-error-registry.sh
check "plan" cargo --quiet xtask check-plan
check "layers" cargo --quiet xtask check-layers
if [[ -x .venv/bin/ansible-playbook ]]; then
	check "playbook syntax" playbooks_can_be_read
else
	printf '%-16s skipped: there is no .venv, run scripts/setup\n' "playbook syntax"
fi
[[ $failed == no ]]
