# Ends on a node what an Ansible run left there. Run by sh as root, with the arguments WHICH and MARK: `own` ends the processes
# of the run with that mark, `other` those of every other run. Descendants are ended with them, and found by their
# parents where they have shed their environment. TERM first, KILL after two seconds. Prints who is left, and exits with 3 then.

# No -e: a process that ends while it is looked at is no failure.
set -u

which=$1
mark=PL_NODE_RUN=$2

marked() {
	if [ "$which" = own ]; then
		grep -lszxF "$mark" /proc/[0-9]*/environ
	else
		grep -lsz '^PL_NODE_RUN=' /proc/[0-9]*/environ | while read -r file; do
			grep -qszxF "$mark" "$file" || printf '%s\n' "$file"
		done
	fi | cut -d / -f 3 | tr '\n' ' '
}

members() {
	roots=$(marked)
	[ -n "$roots" ] || return 0
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v roots="$roots" '
		BEGIN { count = split(roots, list, " "); for (i = 1; i <= count; i++) member[list[i]] = 1 }
		{
			pid = $1
			# The name of a program is in parentheses and may hold anything.
			sub(/^.*\) /, "")
			if ($1 != "Z") parent[pid] = $2
		}
		END {
			do {
				grown = 0
				for (pid in parent) if (!(pid in member) && (parent[pid] in member)) { member[pid] = 1; grown = 1 }
			} while (grown)
			for (pid in parent) if (pid in member) print pid
		}'
}

# A tenth of a second each: two seconds for TERM, three for KILL.
round=0
while [ "$round" -lt 50 ]; do
	pids=$(members)
	[ -n "$pids" ] || exit 0
	if [ "$round" -lt 20 ]; then signal=TERM; else signal=KILL; fi
	# shellcheck disable=SC2086 # one argument for each
	kill -s "$signal" $pids 2>/dev/null
	sleep 0.1
	round=$((round + 1))
done
# shellcheck disable=SC2086 # on one line
echo $pids
exit 3
