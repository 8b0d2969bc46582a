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
        if [ "$(id -u)" != 0 ]; then sudo -n timeout 10 sh -c "$4" sh "$5" ''; fi </dev/null >/dev/null 2>&1
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

/// Ends the process groups in which the mark ($1) is found in an environment: TERM, KILL after 2 s. It is looked for again each time, as
/// what carries it may just be starting, and for 2 s where there is none yet: on a busy node its start takes a while. Then waits for
/// what carries the leader's mark ($2), which ends by itself; empty where the leader itself asks. Exit status 3: something is left.
const END: &str = r#"
groups= ended=
now() { read -r up rest </proc/uptime; echo "${up%%.*}"; }
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
begun=$(now)
until look "$1" || [ -z "$2" ] || [ $(($(now) - begun)) -gt 2 ]; do sleep 0.1; done
for signal in TERM KILL; do
    begun=$(now)
    ended=
    while [ $(($(now) - begun)) -le 2 ]; do
        for group in $groups; do
            # Once each: what cleans up after TERM is let do so.
            case " $ended " in *" $group "*) continue ;; esac
            kill -s "$signal" -- "-$group" 2>/dev/null
            ended="$ended $group"
        done
        alive "$1" "$2" || exit 0
        sleep 0.1
    done
done
exit 3
"#;

/// Runs $1 with $2 and $3 as root where that is possible: only root may end what the script has started by sudo.
const AS_ROOT: &str = r#"
if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then set -- sudo -n timeout 10 sh -c "$1" sh "$2" "$3"
else set -- timeout 10 sh -c "$1" sh "$2" "$3"; fi
exec "$@"
"#;

/// The command line that ends what carries a mark.
pub(crate) fn end(mark: &RunMark) -> String {
    let (ended, awaited) = (mark.pattern(MARK), mark.pattern(LEADER));
    format!("exec sh -c {} sh {} {ended} {awaited}", quoted(AS_ROOT), quoted(END))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs what nodes run"
)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};
    use std::time::Instant;

    use super::*;

    /// What END says of a mark, and how long it took to.
    fn end_here(mark: &RunMark) -> (Option<i32>, Duration) {
        let bare = |name| mark.pattern(name).trim_matches('\'').to_owned();
        let begin = Instant::now();
        let status = Command::new("sh")
            .args(["-c", END, "sh", &bare(MARK), &bare(LEADER)])
            .status()
            .unwrap();
        (status.code(), begin.elapsed())
    }

    /// A run whose leader does `first` before it starts the script.
    fn start_after(first: &str, mark: &RunMark, script: &str) -> Child {
        let line = format!("{first}; exec env {} sh -c '{script}'", mark.variable(MARK));
        let mut leader = Command::new("sh");
        leader.args(["-c", &line]).env(LEADER, &mark.0).process_group(0);
        leader.spawn().unwrap()
    }

    #[test]
    fn what_is_only_starting_is_ended_all_the_same() {
        // Within the time that is looked for it, and after that, while its leader is seen to live.
        for first in ["sleep 1", "sleep 3.1"] {
            let mark = RunMark::new();
            let mut run = start_after(first, &mark, "exec sleep 300");
            let waiting = std::thread::spawn(move || run.wait().unwrap().signal());
            let (status, took) = end_here(&mark);
            assert_eq!(status, Some(0), "{first}, {took:?}");
            assert_eq!(waiting.join().unwrap(), Some(15), "{first}");
        }
    }

    #[test]
    fn what_minds_no_term_is_killed() {
        let mark = RunMark::new();
        let mut run = start_after("trap '' TERM", &mark, "while :; do sleep 0.05; done");
        let waiting = std::thread::spawn(move || run.wait().unwrap().signal());
        let (status, took) = end_here(&mark);
        assert_eq!((status, waiting.join().unwrap()), (Some(0), Some(9)), "{took:?}");
    }

    #[test]
    fn what_ended_before_is_not_waited_for_long() {
        let (status, took) = end_here(&RunMark::new());
        assert_eq!(status, Some(0));
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

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
