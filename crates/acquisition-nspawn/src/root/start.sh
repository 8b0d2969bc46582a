# Turns into a machine: enters its cgroups, writes down who it is, and becomes the program. Started detached, so that it
# outlives the server; a lock and the process file keep it alone, however often and from wherever it is started.
# Arguments: the machine's folder, its cgroup folders, `--`, the program and its arguments.
set -eu
cd "$1"
shift
exec </dev/null >>console.log 2>&1

exec 9>start.lock
flock 9
# A machine that was released meanwhile has no record any more.
[ -e machine.json ] || exit 0

boot=$(cat /proc/sys/kernel/random/boot_id)
# Prints the state and the start time of a line of /proc/PID/stat, whose name field may hold anything.
life() {
    # shellcheck disable=SC2086 # one argument for each field
    set -- ${1##*) }
    printf '%s %s' "$1" "${20}"
}
if [ -e process ]; then
    { read -r old && read -r old_boot; } <process || old_boot=
    if [ "$old_boot" = "$boot" ] && now=$(cat "/proc/${old%% *}/stat" 2>/dev/null); then
        old_life=$(life "$old")
        now_life=$(life "$now")
        if [ "${old_life#* }" = "${now_life#* }" ] && [ "${now_life%% *}" != Z ]; then
            exit 0
        fi
    fi
fi

while [ "$1" != -- ]; do
    echo 0 >"$1/cgroup.procs"
    shift
done
shift
{
    cat "/proc/$$/stat"
    echo "$boot"
} >process.new
mv process.new process
exec "$@" 9>&-
