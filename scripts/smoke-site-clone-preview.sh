#!/usr/bin/env bash
# Smoke: a copy of a site, which names itself and not its source.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# Read by smoke.sh, which also sets what is read here.
# shellcheck disable=SC2034
smoke='site-clone-preview'
# shellcheck disable=SC2034
about='Creates a site on a ready node and a clone of it, or takes those of an earlier run, and checks that both previews answer and that the
clone names its own address and nowhere that of its source.'
# shellcheck source=scripts/lib/smoke.sh
. "$root/scripts/lib/smoke.sh"

# Sets `copy` to the clone of the site.
take_copy() {
	local path=/api/sites/$site/environments seen
	ask GET "$path"
	seen=$(jq '.items[] | select(.slug == "copy")' <<<"$answer")
	if [[ -n $seen ]]; then
		say "the clone is here already"
		copy=$(jq -r .id <<<"$seen")
		settle "$(jq -r .status <<<"$seen")"
		return
	fi
	say "cloning the site"
	ask POST "$path" "$(jq --null-input --arg source "$environment" '{name: "Copy", slug: "copy", type: "clone", source_environment_id: $source}')"
	copy=$(field .environment_id)
	finish "$request" "$(field .job_id)"
}

run() {
	local source
	take_site "$smoke"
	take_copy
	see_environment "$environment"
	check_preview
	source=$host
	see_environment "$copy"
	check_preview
	if grep -qF -- "$source" "$private/page"; then preview_failed "the clone's page names its source, $source"; fi
	grep -q noindex "$private/page" || preview_failed "the clone's page does not keep search engines away"
}

smoke_main "$@"
