# shellcheck shell=bash
# For scripts that use Pressluft as an operator's program would: a server of their own, its HTTP API, and its jobs. Source it with
# `root` (the repository) and `script` (the script's name) set. What fails ends the script by `give_up`, with the status of its
# class.
# shellcheck disable=SC2034,SC2154
set -euo pipefail

# How a script ends: the classes of failure besides 1 (anything else) and 2 (wrong usage).
readonly acquisition_unavailable=10 readiness_blocked=11 job_ended_badly=12 preview_is_dead=13

# The longest that a job is followed, in seconds: longer than the product lets one run, its retries included.
readonly follow_limit=7200

private=$(mktemp -d)
# Until whoever sources this sets what else is to be cleaned up.
trap 'rm -rf -- "$private"' EXIT
server=
server_log=$private/server.log
url=

# The status of the failure that this script ended in by `give_up`; none while it has not.
given_up=

# What the last request was and what came back.
request=
answer=
answer_status=

say() { printf '%s: %s\n' "$script" "$*"; }

# give_up STATUS LINE...: says why, and ends the script. Not for subshells.
give_up() {
	given_up=$1
	shift
	printf "$script: %s\n" "$@" >&2
	exit "$given_up"
}

# field FILTER: a value of the last answer; empty where it is null.
field() { jq -r "($1) // empty" <<<"$answer"; }

# Starts the server on PRESSLUFT_DATA_DIR and waits until it says where it listens. Its first login is made once and kept where
# only its owner reads it, never on a command line.
start_server() {
	local program=$1 data=$PRESSLUFT_DATA_DIR
	(umask 077 && mkdir -p -- "$data")
	login=$data/quickstart-login
	export PRESSLUFT_ADMIN_EMAIL=${PRESSLUFT_ADMIN_EMAIL:-admin@localhost.test}
	if [[ -z ${PRESSLUFT_ADMIN_PASSWORD:-} ]]; then
		if [[ ! -s $login ]]; then (umask 077 && head -c 18 /dev/urandom | base64 | tr -d '\n' >"$login"); fi
		PRESSLUFT_ADMIN_PASSWORD=$(<"$login")
		export PRESSLUFT_ADMIN_PASSWORD
	fi
	# In a session of its own: Ctrl-C is for the script, which ends the server when it has cleaned up.
	setsid "$program" dev >"$server_log" 2>&1 &
	server=$!
	local _
	for _ in $(seq 1 300); do
		url=$(sed -n 's/^Pressluft listens on //p' "$server_log")
		[[ -z $url ]] || break
		kill -0 "$server" 2>/dev/null || give_up 1 "the server did not start: $(tail -n 1 -- "$server_log")"
		sleep 0.1
	done
	[[ -n $url ]] || give_up 1 "the server did not say where it listens within 30 s"
	say "the server runs at $url"
}

# Ends the server that this script started, by its pid.
stop_server() {
	[[ -n $server ]] || return 0
	kill -TERM "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	server=
}

show_server_log() {
	if [[ -s $server_log ]]; then
		say "the server's last lines:"
		tail -n 20 -- "$server_log"
	fi
}

# api METHOD PATH [BODY]: asks; sets `answer` and `answer_status`. Fails where the status is an error. The body is read by curl
# from its input: it may hold a password.
api() {
	local args=(--silent --show-error --noproxy '*' --max-time 60 --cookie "$private/cookies" --cookie-jar "$private/cookies"
		--request "$1" --output "$private/answer" --write-out '%{http_code}')
	if (($# > 2)); then args+=(--header 'Content-Type: application/json' --data-binary @-); fi
	request="$1 $2"
	: >"$private/answer"
	if ! answer_status=$(printf '%s' "${3:-}" | curl "${args[@]}" "$url$2" 2>"$private/curl"); then
		answer_status=000
		answer=$(jq --null-input --rawfile why "$private/curl" '{code: "no_answer", message: ($why | rtrimstr("\n"))}')
		return 1
	fi
	answer=$(<"$private/answer")
	[[ $answer_status == 2?? ]]
}

# remedy_of CODE: the next thing to do, by the registry of codes.
remedy_of() {
	jq -r --arg code "$1" '[.job[], .api[]] | map(select(.code == $code))[0].remedy // "Read what the server logged."' \
		"$root/contracts/error-codes.json"
}

# Prints the reasons of the nodes that are not ready, as lines.
reasons_of_nodes() {
	api GET '/api/nodes?limit=100' || return 0
	jq -r '.items[] | .id as $node | .readiness.guidance[] | "reason: \(.reason_code) on node \($node): \(.message)"' <<<"$answer"
}

# Says what the last request was refused with, and ends the script.
refused() {
	local status=1 code lines
	jq -e type <<<"$answer" >/dev/null 2>&1 || answer=$(jq --null-input --arg text "$answer" '{message: $text}')
	code=$(field .code)
	lines=("command: $request, answered $answer_status" "code: ${code:-none}" "message: $(field .message)")
	mapfile -t -O "${#lines[@]}" lines < <(jq -r '[.. | objects | select(has("reason_code")) | "reason: \(.reason_code): \(.message)"] | .[]' <<<"$answer")
	case $code in
	node_not_ready) status=$readiness_blocked ;;
	no_node_available)
		status=$readiness_blocked
		mapfile -t -O "${#lines[@]}" lines < <(reasons_of_nodes)
		;;
	esac
	give_up "$status" "${lines[@]}" "remedy: $(remedy_of "$code")"
}

# ask METHOD PATH [BODY]: as `api`, and ends the script where it is refused.
ask() { api "$@" || refused; }

log_in() {
	api POST /api/login "$(jq --null-input '{email: env.PRESSLUFT_ADMIN_EMAIL, password: env.PRESSLUFT_ADMIN_PASSWORD}')"
}

# follow JOB: prints the job's steps and tasks as they happen, until it ends; `answer` is then the job. Fails where it does.
follow() {
	local after=0 attempt=1 begun=$SECONDS events job
	while ((SECONDS - begun < follow_limit)); do
		api GET "/api/jobs/$1" || return 1
		job=$answer
		# Asked after the status, so that the last events are not missed.
		api GET "/api/jobs/$1/events?after=$after&limit=100" || return 1
		events=$answer
		answer=$job
		after=$(jq -r .next_after <<<"$events")
		jq -r '.items[]
			| if .kind == "step" then "  step \(.data.step): \(.data.detail // .data.status)"
			  elif .kind == "task" and .data.status != "started" then "    \(.data.status): \(.data.name)"
			  elif .kind == "log" and .data.stream == "pressluft" then "    \(.data.line)"
			  else empty end' <<<"$events"
		if (($(jq '.items | length' <<<"$events") > 0)); then continue; fi
		case $(field .status) in
		succeeded) return 0 ;;
		failed | cancelled) return 1 ;;
		esac
		if (($(field .attempt_count) > attempt)); then
			attempt=$(field .attempt_count)
			printf '  attempt %d of %d, after %s\n' "$attempt" "$(field .max_attempts)" "$(field .error_code)"
		fi
		sleep 0.3
	done
	return 1
}

# finish COMMAND JOB: follows a job that COMMAND asked for. Ends the script where it does not end well.
finish() {
	local asked=$1 id=$2 code status=$job_ended_badly lines seen
	follow "$id" && return 0
	[[ $(field .id) == "$id" ]] || refused
	seen=$answer
	code=$(field .error_code)
	lines=("command: $asked" "job: $id $(field .job_type) $(field .status)")
	mapfile -t -O "${#lines[@]}" lines < <(jq -r '.steps[] | select(.status != "succeeded")
		| "step: \(.name) \(.status) \(.detail // "")"' <<<"$seen")
	lines+=("code: ${code:-none}" "message: $(field .error_message)")
	case $code in
	LOCAL_*) status=$acquisition_unavailable ;;
	NODE_NOT_READY)
		status=$readiness_blocked
		mapfile -t -O "${#lines[@]}" lines < <(reasons_of_nodes)
		;;
	PREVIEW_UNREACHABLE) status=$preview_is_dead ;;
	esac
	give_up "$status" "${lines[@]}" "remedy: $(remedy_of "$code")"
}
