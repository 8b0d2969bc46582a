# shellcheck shell=bash
# The floor of a backup: an archive to standard output, its SHA-256 to standard error. Argument: the name.
set -euo pipefail

name=$1
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
mariadb-dump --single-transaction --quick --routines --triggers "$name" >"$folder/database.sql"
tar -C "$folder" -cf - database.sql -C "/var/www/floor/$name/current/" live uploads | zstd -q -3 -T0 |
	tee >(sha256sum >"$folder/sum")
# The sum's process may end after tee.
until [[ -s $folder/sum ]]; do sleep 0.005; done
cut -d ' ' -f 1 "$folder/sum" >&2
