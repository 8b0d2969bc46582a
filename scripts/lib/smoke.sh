# shellcheck shell=bash
# What the smokes have in common: their arguments, a server, a ready node, and how they end. Source it with `root`, `smoke` (its
# name), `about` (what it does) and `run` and `clean` defined, and call `smoke_main "$@"`.
# shellcheck disable=SC2034,SC2154
set -euo pipefail

script=smoke-$smoke
# shellcheck source=scripts/lib/client.sh
. "$root/scripts/lib/client.sh"
# shellcheck source=scripts/lib/sites.sh
. "$root/scripts/lib/sites.sh"

# How long a machine that stopped with its host may take to be started again by the server, in seconds, until a job shows it.
readonly start_limit=30

usage() {
	cat <<EOT
Usage: scripts/$script.sh [--clean]

$about

Takes every setting from the environment and chooses no provider itself: PRESSLUFT_LOCAL_PROVIDER and the others of README.md.
  PRESSLUFT_URL   a running server, with PRESSLUFT_ADMIN_EMAIL and PRESSLUFT_ADMIN_PASSWORD; otherwise one is started, and
                  stopped at the end, on PRESSLUFT_DATA_DIR (default: .pressluft) and PRESSLUFT_BIND (default: a free port)
  PRESSLUFT_BIN   the server's program; otherwise it is built here, and what is missing is installed (scripts/setup)

An active node that is ready is used; otherwise one is asked for, once, and waited for. Node and site stay: a second run uses
them again.

  --clean   remove the site of this smoke instead, with all that belongs to it
  --help    show this text

Ends with 0 passed, 1 something else failed, 2 wrong usage, 10 no node could be acquired, 11 a node is not ready, 12 a job failed,
13 the preview does not answer. On success the last line is
  smoke $smoke passed node=<id> site=<id> preview=<url> seconds=<n>
EOT
}

misused() {
	usage >&2
	printf '\n%s: %s\n' "$script" "$1" >&2
	exit 2
}

cleanup() {
	local status=$?
	trap - EXIT
	# A program's own status is none of the classes.
	if ((status != 0 && status < 128)); then status=${given_up:-1}; fi
	stop_server
	# A job that failed has said why; what else went wrong may stand in the server's log.
	if ((status == 1)); then show_server_log >&2; fi
	rm -rf -- "$private"
	exit "$status"
}

open_server() {
	if [[ -n ${PRESSLUFT_URL:-} ]]; then
		url=${PRESSLUFT_URL%/}
	else
		export PRESSLUFT_DATA_DIR=${PRESSLUFT_DATA_DIR:-$root/.pressluft} PRESSLUFT_BIND=${PRESSLUFT_BIND:-127.0.0.1:0}
		local program=${PRESSLUFT_BIN:-}
		if [[ -z $program ]]; then
			"$root/scripts/setup"
			PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
			say "building (the first time takes some minutes)"
			cargo build --quiet --locked --workspace --bins
			program=$root/target/debug/pressluft
		fi
		start_server "$program"
	fi
	log_in || refused
}

# Sets `checked` to the node that is ready now, or to nothing, and `unready` to the lines that say why the others are not.
look_at_nodes() {
	local id
	checked='' unready=()
	ask GET '/api/nodes?limit=100'
	for id in $(jq -r '.items[] | select(.status == "active" or .status == "unreachable") | .id' <<<"$answer"); do
		ask POST "/api/nodes/$id/readiness-check"
		if [[ $(field '.is_ready | tostring') == true ]]; then
			checked=$id
			return
		fi
		unready+=("command: $request")
		mapfile -t -O "${#unready[@]}" unready < <(
			jq -r --arg node "$id" '.guidance[] | "reason: \(.reason_code) on node \($node): \(.message)"' <<<"$answer"
		)
	done
}

# Sets `node_job` to the job that prepares a node, or to nothing.
look_for_preparation() {
	local status
	for status in running queued; do
		newest_job "kind=node_provision&status=$status"
		node_job=$(field .id)
		if [[ -n $node_job ]]; then return; fi
	done
}

# Sets `node`: an active node that is ready, else the one that is being prepared, else one that is asked for, once.
take_node() {
	local begun=$SECONDS failed command
	while :; do
		look_at_nodes
		if [[ -n $checked ]]; then
			node=$checked
			say "node $node is ready"
			return
		fi
		look_for_preparation
		if [[ -n $node_job || ${#unready[@]} -eq 0 ]]; then break; fi
		# The server starts machines that stopped with their host, soon after its own start.
		if [[ ${unready[*]} != *node_unreachable* ]] || ((SECONDS - begun >= start_limit)); then
			give_up "$readiness_blocked" "${unready[@]}" "code: NODE_NOT_READY" "remedy: $(remedy_of NODE_NOT_READY)"
		fi
		sleep 1
	done
	command="GET /api/jobs/$node_job"
	if [[ -z $node_job ]]; then
		ask GET '/api/nodes?limit=100'
		failed=$(field '[.items[] | select(.status == "failed" and .is_local)][0].id')
		if [[ -n $failed ]]; then
			say "provisioning the node $failed, which failed before, again"
			ask POST "/api/nodes/$failed/provision"
		else
			say "asking for a local node"
			ask POST /api/nodes '{"acquisition_source":"local"}'
		fi
		command=$request
		node_job=$(field .job_id)
	fi
	say "waiting for the node's job $node_job"
	finish "$command" "$node_job"
	node=$(field .node_id)
	ask GET "/api/nodes/$node"
	[[ $(field '.readiness.is_ready | tostring') == true ]] ||
		give_up "$readiness_blocked" "command: $request" "job: $node_job" "code: NODE_NOT_READY" \
			"$(jq -r '.readiness.guidance[] | "reason: \(.reason_code): \(.message)"' <<<"$answer")" "remedy: $(remedy_of NODE_NOT_READY)"
}

# Removes the site of this smoke.
clean() {
	find_site "$smoke"
	if [[ -z $site ]]; then
		say "there is no site $smoke"
		return
	fi
	ask DELETE "/api/sites/$site" "$(jq --null-input --arg slug "$smoke" '{confirm: $slug}')"
	finish "$request" "$(field .job_id)"
	say "the site $site is removed"
}

smoke_main() {
	local what=run
	while (($# > 0)); do
		case $1 in
		--clean) what=clean ;;
		-h | --help)
			usage
			exit 0
			;;
		*) misused "unknown argument: $1" ;;
		esac
		shift
	done
	if [[ -n ${PRESSLUFT_URL:-} && (-z ${PRESSLUFT_ADMIN_EMAIL:-} || -z ${PRESSLUFT_ADMIN_PASSWORD:-}) ]]; then
		misused "PRESSLUFT_URL needs PRESSLUFT_ADMIN_EMAIL and PRESSLUFT_ADMIN_PASSWORD"
	fi
	cd -- "$root"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	open_server
	if [[ $what == clean ]]; then
		clean
		exit 0
	fi
	take_node
	run
	stop_server
	printf 'smoke %s passed node=%s site=%s preview=%s seconds=%d\n' "$smoke" "$node" "$site" "$preview" "$SECONDS"
}
