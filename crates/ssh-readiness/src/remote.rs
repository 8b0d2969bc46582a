//! The shell command lines that are run on a node: a script within its limit, and what ends one early.

use std::time::Duration;

/// Names one run of a script on the node: all that it starts carries it in the environment.
pub(crate) struct RunMark(String);

const MARK: &str = "PRESSLUFT_RUN";

/// Carries the same value from a step earlier on: the shell that leads the run has it, too.
const LEADER: &str = "PRESSLUFT_LEADER";

impl RunMark {
    /// A new mark.
    pub(crate) fn new() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    /// A variable, as `env` sets it.
    fn variable(&self, name: &str) -> String {
        format!("{name}={}", self.0)
    }

    /// A pattern for `grep` that finds a variable and not itself: sudo writes its command line into the environment.
    fn pattern(&self, name: &str) -> String {
        let (first, rest) = self.0.split_at(1);
        format!("'{name}=[{first}]{rest}'")
    }
}

/// Puts a text into single quotes for any shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The limit in whole seconds, at least one.
pub(crate) fn whole_seconds(limit: Duration) -> u64 {
    let started = u64::from(limit.subsec_nanos() > 0);
    limit.as_secs().saturating_add(started).max(1)
}

/// Runs the script $2 for $1 seconds at most, marked with $3. `timeout` leads the process group of all that the script starts and ends
/// it at the limit even when nobody is connected any more: a local limit alone would leave it running. What the script
/// has started by sudo only root may end, so that is looked for ($4, with the pattern $5) when `timeout` has struck.
const LIMITED: &str = r#"
env LC_ALL=C.UTF-8 "$3" timeout -k 2 "$1" sh -c "$2"
code=$?
case $code in
    124 | 137)
        if [ "$(id -u)" != 0 ]; then sudo -n timeout 7 sh -c "$4" sh "$5" ''; fi </dev/null >/dev/null 2>&1
        ;;
esac
exit "$code"
"#;

/// The command line for a script.
pub(crate) fn limited(script: &str, limit: Duration, mark: &RunMark) -> String {
    format!(
        "exec env {} sh -c {} sh {} {} {} {} {}",
        mark.variable(LEADER),
        quoted(LIMITED),
        whole_seconds(limit),
        quoted(script),
        mark.variable(MARK),
        quoted(END),
        mark.pattern(MARK)
    )
}

/// Ends the process groups in which the mark ($1) is found in an environment: TERM, 2 s, KILL. It is looked for again each time, as
/// what carries it may just be starting, and for 2 s where there is none yet: on a busy node its start takes a while. Then waits for
/// what carries the leader's mark ($2), which ends by itself; empty where the leader itself asks. Exit status 3: something is left.
const END: &str = r#"
groups=
look() {
    found=1
    for file in $(grep -la -e "$1" /proc/[0-9]*/environ 2>/dev/null); do
        stat=$(cat "${file%environ}stat" 2>/dev/null) || continue
        group=$(echo "${stat##*) }" | cut -d ' ' -f 3)
        case " $groups " in *" $group "*) ;; *) groups="$groups $group" ;; esac
        found=0
    done
    return "$found"
}
alive() {
    look "$1" && return 0
    for group in $groups; do
        kill -s 0 -- "-$group" 2>/dev/null && return 0
    done
    [ -n "$2" ] && grep -qa -e "$2" /proc/[0-9]*/environ 2>/dev/null
}
tries=0
until look "$1" || [ -z "$2" ] || [ "$tries" -ge 10 ]; do
    tries=$((tries + 1))
    sleep 0.2
done
for signal in TERM KILL; do
    waits=0
    while [ "$waits" -lt 20 ]; do
        for group in $groups; do
            kill -s "$signal" -- "-$group" 2>/dev/null
        done
        alive "$1" "$2" || exit 0
        sleep 0.1
        waits=$((waits + 1))
    done
done
exit 3
"#;

/// Runs $1 with $2 and $3 as root where that is possible: only root may end what the script has started by sudo.
const AS_ROOT: &str = r#"
if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then set -- sudo -n timeout 7 sh -c "$1" sh "$2" "$3"
else set -- timeout 7 sh -c "$1" sh "$2" "$3"; fi
exec "$@"
"#;

/// The command line that ends what carries a mark.
pub(crate) fn end(mark: &RunMark) -> String {
    let (ended, awaited) = (mark.pattern(MARK), mark.pattern(LEADER));
    format!("exec sh -c {} sh {} {ended} {awaited}", quoted(AS_ROOT), quoted(END))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_rounded_up_to_whole_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(3)), 3);
    }

    #[test]
    fn a_script_is_quoted_as_one_word() {
        assert_eq!(quoted("echo 'a'; echo \"$b\""), r#"'echo '\''a'\''; echo "$b"'"#);
        let line = limited("true", Duration::from_secs(3), &RunMark("0123".to_owned()));
        assert!(line.contains(" sh 3 'true' PRESSLUFT_RUN=0123 '"), "{line}");
    }
}
