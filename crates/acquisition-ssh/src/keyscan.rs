//! What `ssh-keyscan` prints: a line `<host> <type> <base64>` for each key, in any order, between comments.

use nodes_domain::HostKey;

/// The kinds of host keys that a node can be pinned to, the preferred one first, and how the data of each begins: with the
/// length and the name of the kind (RFC 4253, 6.6).
const KEY_TYPES: &[(&str, &str)] = &[
    ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5"),
    ("ecdsa-sha2-nistp256", "AAAAE2VjZHNhLXNoYTItbmlzdHAyNT"),
    ("ecdsa-sha2-nistp384", "AAAAE2VjZHNhLXNoYTItbmlzdHAzOD"),
    ("ecdsa-sha2-nistp521", "AAAAE2VjZHNhLXNoYTItbmlzdHA1Mj"),
    ("ssh-rsa", "AAAAB3NzaC1yc2"),
];

/// The same as `ssh-keyscan -t` calls them.
pub(crate) const KINDS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// The keys in an output, the preferred one first, each once. What is no key is left out: the other end wrote it.
pub(crate) fn keys_in(stdout: &[u8]) -> Vec<HostKey> {
    let text = String::from_utf8_lossy(stdout);
    let mut ranked: Vec<_> = text.lines().filter_map(ranked_key).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut keys: Vec<HostKey> = Vec::new();
    for (_, key) in ranked {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn ranked_key(line: &str) -> Option<(usize, HostKey)> {
    let mut words = line.split_ascii_whitespace();
    let host = words.next()?;
    let (kind, data) = (words.next()?, words.next()?);
    if host.starts_with('#') {
        return None;
    }
    let rank = KEY_TYPES
        .iter()
        .position(|(known, begin)| *known == kind && data.starts_with(begin))?;
    let key: HostKey = format!("{kind} {data}").parse().ok()?;
    // Data that cannot be read has no fingerprint, so nobody could compare it.
    key.fingerprint().map(|_| (rank, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q";

    fn long(kind: &str) -> String {
        let begin = KEY_TYPES
            .iter()
            .find(|(known, _)| *known == kind)
            .map_or("", |(_, begin)| begin);
        let data = format!("{begin:A<160}");
        format!("{kind} {data}")
    }

    #[test]
    fn keys_come_in_the_order_of_preference_whatever_order_they_were_shown_in() {
        let (rsa, ecdsa) = (long("ssh-rsa"), long("ecdsa-sha2-nistp256"));
        let output = format!(
            "# 192.0.2.7:22 SSH-2.0-OpenSSH_9.2p1\n192.0.2.7 {rsa}\r\n# 192.0.2.7:22 SSH-2.0\n\
             192.0.2.7 {ecdsa}\n[192.0.2.7]:2222 {ED25519}\n192.0.2.7 {ED25519} a comment\n"
        );
        let keys: Vec<_> = keys_in(output.as_bytes()).iter().map(ToString::to_string).collect();
        assert_eq!(keys, [ED25519.to_owned(), ecdsa, rsa]);
    }

    #[test]
    fn what_is_no_key_is_left_out() {
        let garbage = [
            String::new(),
            "\n\n \t\n".to_owned(),
            "192.0.2.7".to_owned(),
            "192.0.2.7 ssh-ed25519".to_owned(),
            "192.0.2.7 ssh-ed25519 short".to_owned(),
            "192.0.2.7 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0w;N/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q".to_owned(),
            format!("192.0.2.7 ssh-ed25519 {}", "=".repeat(60)),
            format!("192.0.2.7 ssh-ed25519 {}", "A".repeat(41)),
            format!("# {ED25519}"),
            format!("#192.0.2.7 {ED25519}"),
            ED25519.to_owned(),
            format!("192.0.2.7 {}", long("ssh-dss")),
            format!("192.0.2.7 {}", long("sk-ssh-ed25519@openssh.com")),
            format!("192.0.2.7 ssh-rsa {}", &ED25519["ssh-ed25519 ".len()..]),
            "HTTP/1.1 400 Bad Request".to_owned(),
        ];
        for text in garbage {
            assert_eq!(keys_in(text.as_bytes()), [], "{text:?}");
            let around = format!("{text}\n192.0.2.7 {ED25519}\n{text}");
            assert_eq!(keys_in(around.as_bytes()).len(), 1, "{text:?}");
        }
        assert_eq!(keys_in(&[0xff, 0xfe, b' ', 0x00, b'\n']), []);
    }

    #[test]
    fn output_that_was_cut_anywhere_gives_whole_keys_or_none() {
        let output = format!("192.0.2.7 {ED25519}\n");
        for end in 0..output.len() {
            for key in keys_in(&output.as_bytes()[..end]) {
                assert!(ED25519.starts_with(key.as_str()), "{key}");
            }
        }
    }
}
