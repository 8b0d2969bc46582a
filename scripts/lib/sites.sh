# shellcheck shell=bash
# Sites and their previews, for scripts. Source it after client.sh.
# What is set here is read by who sources it.
# shellcheck disable=SC2034,SC2154
set -euo pipefail

# newest_job QUERY: the newest job that fits, as `answer`; null where there is none.
newest_job() {
	ask GET "/api/jobs?limit=1&$1"
	answer=$(jq '.items[0]' <<<"$answer")
}

# find_site SLUG: sets `site` and `site_status`; both are empty where there is none.
find_site() {
	local path='/api/sites?limit=100' cursor seen
	site='' site_status=''
	while [[ -n $path ]]; do
		ask GET "$path"
		seen=$(jq --arg slug "$1" '.items[] | select(.slug == $slug)' <<<"$answer")
		if [[ -n $seen ]]; then
			site=$(jq -r .id <<<"$seen")
			site_status=$(jq -r .status <<<"$seen")
			return
		fi
		cursor=$(field .next_cursor)
		path=${cursor:+/api/sites?limit=100&cursor=$cursor}
	done
}

# take_site SLUG: sets `site`, `environment` and `site_job`, its newest job: the active site of that slug, which is made on `node`
# where it is not there, waited for where a job works on it, and asked for once more where its last job failed.
take_site() {
	local slug=$1
	find_site "$slug"
	if [[ -n $site ]]; then
		say "the site $slug is here already"
		settle "$site_status"
	else
		say "creating the site $slug"
		ask POST /api/sites "$(jq --null-input --arg slug "$slug" --arg node "$node" '{name: $slug, slug: $slug, node_id: $node}')"
		site=$(field .site_id)
		site_job=$(field .job_id)
		finish "$request" "$site_job"
	fi
	ask GET "/api/sites/$site"
	[[ $(field .status) == active ]] || give_up 1 "the site $site is $(field .status), not active"
	environment=$(field .primary_environment_id)
}

# settle STATUS: waits for the job that works on the site; where the site or its environment has the status `failed`, asks for the
# creation that failed once more.
settle() {
	newest_job "site_id=$site"
	site_job=$(field .id)
	case "$(field .status) $(field .job_type)" in
	queued* | running*) finish "GET /api/jobs/$site_job" "$site_job" ;;
	failed\ *_create | cancelled\ *_create)
		if [[ $1 != failed ]]; then return; fi
		say "its last job failed; asking for that once more"
		ask POST "/api/jobs/$site_job/retry"
		site_job=$(field .job_id)
		finish "$request" "$site_job"
		;;
	esac
}

# see_environment ID: sets `preview`, `host`, its `node` and the node's `address`.
see_environment() {
	ask GET "/api/environments/$1"
	[[ $(field .status) == active ]] || give_up 1 "the environment $1 is $(field .status), not active"
	preview=$(field .preview_url)
	host=${preview#http://}
	node=$(field .node_id)
	ask GET "/api/nodes/$node"
	address=$(field .public_ip)
	if [[ $address == *:* ]]; then address="[$address]"; fi
}

# visit PATH [CURL OPTION...]: asks the preview at its node's own address: no name service takes part. The page is in
# `$private/page`, its HTTP status in `visited`. Fails where nothing answers.
visit() {
	local path=$1
	shift
	request="curl --resolve $host:80:$address '$preview$path'"
	visited=$(curl --silent --show-error --noproxy '*' --max-time 30 --resolve "$host:80:$address" --output "$private/page" \
		--write-out '%{http_code}' "$@" "$preview$path" 2>"$private/curl")
}

# preview_failed WHY: ends the script.
preview_failed() {
	give_up "$preview_is_dead" "command: $request" "code: PREVIEW_UNREACHABLE" "reason: $1" "remedy: $(remedy_of PREVIEW_UNREACHABLE)"
}

# answers PATH [CURL OPTION...]: as `visit`; ends the script where the answer is not 200.
answers() {
	visit "$@" || preview_failed "nothing answers: $(<"$private/curl")"
	[[ $visited == 200 ]] || preview_failed "the answer is $visited, not 200"
}

# check_preview: the page answers and names its own host. Pages without a query may come from a cache.
check_preview() {
	answers '/?preview-check'
	grep -qF -- "$host" "$private/page" || preview_failed "the page does not name its own host"
	say "$preview answers"
}
