//! What `ssh` says when it cannot log in, as an [`SshError`]. Its messages are not translated, and they are all there is:
//! it exits with 255 whatever happened.

use nodes_domain::SshError;

const OTHER_HOST_KEY: &[&str] = &[
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
    "Host key verification failed",
    "no matching host key type found",
    "you have requested strict checking",
];
const REJECTED: &[&str] = &["Permission denied (", "Too many authentication failures"];
const REFUSED: &[&str] = &["Connection refused"];
const NO_ANSWER: &[&str] = &[
    "timed out",
    "No route to host",
    "Network is unreachable",
    "Host is down",
    "Could not resolve hostname",
    "Connection closed by",
    "Connection reset by",
    "kex_exchange_identification",
    "banner exchange",
];

/// Reads the standard error of an `ssh` that ended without a login. The last line that is known decides: before it the
/// machine's banner may have said anything.
pub(crate) fn classify(stderr: &str) -> SshError {
    let known = stderr.lines().rev().find_map(meaning);
    let unusable = ["Load key ", "UNPROTECTED PRIVATE KEY"];
    let key_trouble = stderr
        .lines()
        .find(|line| unusable.iter().any(|text| line.contains(text)));
    match (known, key_trouble) {
        // The machine was not even offered the key.
        (Some(SshError::AuthRejected), Some(line)) => SshError::Other(short(line)),
        (Some(error), _) => error,
        (None, _) => SshError::Other(short(stderr)),
    }
}

fn meaning(line: &str) -> Option<SshError> {
    let says = |texts: &[&str]| texts.iter().any(|text| line.contains(text));
    if says(OTHER_HOST_KEY) {
        Some(SshError::HostKeyMismatch)
    } else if says(REJECTED) {
        Some(SshError::AuthRejected)
    } else if says(REFUSED) {
        Some(SshError::Refused)
    } else if says(NO_ANSWER) {
        Some(SshError::Unreachable(short(line)))
    } else {
        None
    }
}

/// The first line that says something, at most 200 characters, without what a terminal would obey.
pub(crate) fn short(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_ssh_has_its_meaning() {
        let unreachable = |line: &str| SshError::Unreachable(line.to_owned());
        let table = [
            (
                "ssh: connect to host 10.0.0.2 port 22: Connection refused\r\n",
                SshError::Refused,
            ),
            (
                "ssh: connect to host 10.0.0.2 port 22: Connection timed out",
                unreachable("ssh: connect to host 10.0.0.2 port 22: Connection timed out"),
            ),
            (
                "Connection timed out during banner exchange\r\nConnection to 10.0.0.2 port 22 timed out\r\n",
                unreachable("Connection to 10.0.0.2 port 22 timed out"),
            ),
            (
                "ssh: connect to host 10.0.0.2 port 22: No route to host",
                unreachable("ssh: connect to host 10.0.0.2 port 22: No route to host"),
            ),
            (
                "ssh: Could not resolve hostname n.invalid: Name or service not known",
                unreachable("ssh: Could not resolve hostname n.invalid: Name or service not known"),
            ),
            (
                "kex_exchange_identification: Connection closed by remote host",
                unreachable("kex_exchange_identification: Connection closed by remote host"),
            ),
            (
                "pl@10.0.0.2: Permission denied (publickey).\r\n",
                SshError::AuthRejected,
            ),
            (
                "Received disconnect from 10.0.0.2 port 22:2: Too many authentication failures",
                SshError::AuthRejected,
            ),
            (
                "@@@@@@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n@@@@@@@@@@@\r\nHost key verification failed.\r\n",
                SshError::HostKeyMismatch,
            ),
            (
                "Unable to negotiate with 10.0.0.2 port 22: no matching host key type found. Their offer: ssh-rsa",
                SshError::HostKeyMismatch,
            ),
            (
                "No ED25519 host key is known for pressluft-0123456789ab and you have requested strict checking.",
                SshError::HostKeyMismatch,
            ),
            (
                "Load key \"/k\": error in libcrypto\r\npl@10.0.0.2: Permission denied (publickey).",
                SshError::Other("Load key \"/k\": error in libcrypto".to_owned()),
            ),
            (
                "/c: line 3: Bad configuration option: foo",
                SshError::Other("/c: line 3: Bad configuration option: foo".to_owned()),
            ),
            (
                "Welcome. Connection refused, Host key verification failed\r\npl@10.0.0.2: Permission denied (publickey).",
                SshError::AuthRejected,
            ),
            ("", SshError::Other(String::new())),
        ];
        for (stderr, expected) in table {
            assert_eq!(classify(stderr), expected, "{stderr:?}");
        }
    }

    #[test]
    fn a_line_is_cut_and_cannot_steer_a_terminal() {
        assert_eq!(short("\n\n \u{1b}[31mred\u{7}\nnext"), "[31mred");
        assert_eq!(short(&"x".repeat(500)).len(), 200);
    }
}
