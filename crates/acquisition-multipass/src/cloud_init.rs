//! The user data of a new machine: Pressluft's key beside Multipass's own, and nothing else.

/// What `launch --cloud-init -` reads. A list is merged with Multipass's own; anything that replaced keys or users would
/// lock Multipass out.
pub(crate) fn user_data(key: &str) -> String {
    let quoted = quoted(key.trim());
    format!("#cloud-config\nssh_authorized_keys:\n  - {quoted}\n")
}

/// A text in YAML's double quotes, where everything can be said.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            letter => quoted.push_str(&format!("\\U{:08x}", u32::from(letter))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_one_quoted_entry_of_a_list_whatever_its_comment_says() {
        assert_eq!(
            user_data("ssh-ed25519 AAAA a: b # \"c\" \\ 'd'\n"),
            "#cloud-config\nssh_authorized_keys:\n  - \"ssh-ed25519 AAAA a: b # \\\"c\\\" \\\\ 'd'\"\n"
        );
    }

    #[test]
    fn no_text_leaves_its_entry() {
        assert_eq!(
            quoted("a\nusers: []\u{85}ä"),
            "\"a\\U0000000ausers: []\\U00000085\\U000000e4\""
        );
    }
}
