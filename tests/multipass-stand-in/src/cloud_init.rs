//! The one part of cloud-init's user data that is applied: the list `ssh_authorized_keys`.

/// The keys of the list. `None` where the text is no user data of the kind that is understood.
pub(crate) fn authorized_keys(text: &str) -> Option<Vec<String>> {
    let mut lines = text.lines().filter(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let mut keys = Vec::new();
    let mut in_list = false;
    for line in &mut lines {
        let trimmed = line.trim();
        if let Some(item) = trimmed.strip_prefix("- ") {
            if in_list {
                keys.push(scalar(item.trim())?);
            }
        } else if line.starts_with(char::is_whitespace) {
            // Deeper parts of something else.
        } else if let Some((name, value)) = trimmed.split_once(':') {
            in_list = name == "ssh_authorized_keys";
            if in_list && !value.trim().is_empty() {
                return None;
            }
        } else {
            return None;
        }
    }
    Some(keys)
}

fn scalar(text: &str) -> Option<String> {
    if text.starts_with('"') {
        return serde_json::from_str(text).ok();
    }
    match text.strip_prefix('\'') {
        Some(rest) => Some(rest.strip_suffix('\'')?.replace("''", "'")),
        None => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_however_they_are_quoted() {
        let text = "#cloud-config\nssh_authorized_keys:\n  - \"a \\\"b\\\"\"\n  - 'it''s'\n- c d\npackages:\n  - x\n";
        assert_eq!(authorized_keys(text).unwrap(), ["a \"b\"", "it's", "c d"]);
        assert_eq!(authorized_keys("#cloud-config\n").unwrap(), Vec::<String>::new());
        assert_eq!(authorized_keys("{"), None);
        assert_eq!(authorized_keys("ssh_authorized_keys: x"), None);
        assert_eq!(authorized_keys("ssh_authorized_keys:\n  - \"open\n"), None);
    }
}
