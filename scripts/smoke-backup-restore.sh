#!/usr/bin/env bash
# Smoke: a backup, damage, and a restore that brings everything back.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# Read by smoke.sh, which also sets what is read here.
# shellcheck disable=SC2034
smoke='backup-restore'
# shellcheck disable=SC2034
about='Creates a site on a ready node, or takes the one of an earlier run, puts a post and an upload into it, backs it up, damages it,
restores it, and compares. What it does to the site it does through WordPress itself, as its administrator.'
# shellcheck source=scripts/lib/smoke.sh
. "$root/scripts/lib/smoke.sh"

# expect STATUS PATH [CURL OPTION...]: asks the site; ends the script where the answer has another HTTP status, of which `2??` is a
# pattern.
expect() {
	local status=$1
	shift
	visit "$@" || preview_failed "nothing answers: $(<"$private/curl")"
	# shellcheck disable=SC2053 # A pattern is meant.
	[[ $visited == $status ]] || give_up 1 "command: $request" "reason: the answer is $visited, not $status: $(head -c 300 -- "$private/page")"
}

# In WordPress as its administrator. The password goes from file to file: it is nobody's argument.
log_in_to_wordpress() {
	ask POST "/api/environments/$environment/wordpress-login"
	field .password | tr -d '\n' >"$private/password"
	expect 302 /wp-login.php --cookie-jar "$private/wordpress" --data-urlencode "log=$(field .user)" --data-urlencode "pwd@$private/password"
	rm -- "$private/password"
	expect 200 '/wp-admin/admin-ajax.php?action=rest-nonce' --cookie "$private/wordpress"
	printf 'X-WP-Nonce: %s\n' "$(<"$private/page")" >"$private/nonce"
}

# wordpress METHOD PATH [CURL OPTION...]: asks WordPress's own API; the answer is in `$private/page`.
wordpress() {
	local method=$1 path=$2
	shift 2
	expect '2??' "/index.php?rest_route=$path" --request "$method" --cookie "$private/wordpress" --header "@$private/nonce" "$@"
}

# Sets `post`, `upload` (ids in WordPress) and `upload_path`, and keeps in `$private/upload` what the upload holds.
fill() {
	head -c 75000 /dev/urandom | base64 >"$private/upload"
	wordpress POST /wp/v2/media --header 'Content-Disposition: attachment; filename="smoke.txt"' --header 'Content-Type: text/plain' \
		--data-binary "@$private/upload"
	upload=$(jq -r .id "$private/page")
	upload_path=$(jq -r '.source_url | sub("^https?://[^/]+"; "")' "$private/page")
	wordpress POST /wp/v2/posts --data 'title=Kept' --data 'status=publish' --data "content=before+$mark"
	post=$(jq -r .id "$private/page")
	wordpress POST /wp/v2/settings --data "title=Smoke+$mark"
}

damage() {
	wordpress DELETE "/wp/v2/media/$upload&force=true"
	wordpress DELETE "/wp/v2/posts/$post&force=true"
	wordpress POST /wp/v2/settings --data 'title=Damaged'
	visit "$upload_path" || preview_failed "nothing answers: $(<"$private/curl")"
	[[ $visited != 200 ]] || give_up 1 "command: $request" "reason: the upload that was removed is still there"
}

# compare WHAT FILTER PATH: what WordPress's API answers has to pass a filter of jq, to which `mark` is known.
compare() {
	expect 200 "/index.php?rest_route=$3"
	jq -e --arg mark "$mark" "$2" "$private/page" >/dev/null || give_up 1 "command: $request" "reason: the $1 is not what was put there"
}

compare_all() {
	# shellcheck disable=SC2016 # The word with $ is jq's.
	compare post '.content.rendered | contains("before " + $mark)' "/wp/v2/posts/$post"
	# shellcheck disable=SC2016
	compare title '.name == "Smoke " + $mark' /
	expect 200 "$upload_path"
	cmp --silent -- "$private/upload" "$private/page" || give_up 1 "command: $request" "reason: the upload is not what was put there"
}

run() {
	local mark=$RANDOM$RANDOM$RANDOM backup
	take_site "$smoke"
	see_environment "$environment"
	check_preview
	log_in_to_wordpress
	fill
	compare_all
	say "backing it up"
	ask POST "/api/environments/$environment/backups" '{"backup_scope":"full","retention_days":1}'
	backup=$(field .backup_id)
	finish "$request" "$(field .job_id)"
	say "damaging it"
	damage
	say "restoring the backup $backup"
	ask POST "/api/environments/$environment/restore" "$(jq --null-input --arg backup "$backup" '{backup_id: $backup}')"
	finish "$request" "$(field .job_id)"
	see_environment "$environment"
	compare_all
	check_preview
}

smoke_main "$@"
