//! Writes a value as YAML, the same on every build: keys in order, and quotes around every text that some reader could
//! take for something else (a date, a number, `no`).

use serde_json::Value;

/// The value as a YAML document. `first` names keys of the outermost map that come first, in this order.
pub(crate) fn document(value: &Value, first: &[&str]) -> String {
    let mut out = String::new();
    let Value::Object(map) = value else {
        block(value, 0, &mut out);
        return out;
    };
    let rank = |key: &str| first.iter().position(|known| *known == key).unwrap_or(first.len());
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_by_key(|key| (rank(key), key.as_str()));
    for key in keys {
        entry(key, &map[key], 0, &mut out);
    }
    out
}

/// Writes what comes after `key:` or `-`, from the line's end on.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys {
                entry(key, &map[key], indent, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                block_or_scalar(item, indent + 2, &mut inner);
                // The first line of the item stands on the line of its dash.
                out.push_str(&format!(
                    "{}- {}",
                    " ".repeat(indent),
                    inner.trim_start_matches([' ', '\n'])
                ));
            }
        }
        scalar => out.push_str(&format!("{}\n", text(scalar))),
    }
}

fn entry(key: &str, value: &Value, indent: usize, out: &mut String) {
    out.push_str(&format!("{}{}:", " ".repeat(indent), text(&Value::from(key))));
    block_or_scalar(value, indent + 2, out);
}

fn block_or_scalar(value: &Value, indent: usize, out: &mut String) {
    let is_nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    out.push(if is_nested { '\n' } else { ' ' });
    block(value, indent, out);
}

/// One line. JSON's texts, numbers and empty collections are YAML's too.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "y"];
    let safe = |c: char| c.is_ascii_alphanumeric() || " ._-/,;()'+=<>`".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(safe)
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && !text.eq_ignore_ascii_case("n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_that_could_be_read_as_something_else_are_quoted() {
        for text in [
            "2030-01-31T12:00:00Z",
            "200",
            "no",
            "NULL",
            "",
            "a: b",
            "a #b",
            "- a",
            "{id}",
            "ä",
            "a ",
            "n",
        ] {
            assert!(!is_plain(text), "{text:?}");
        }
        for text in ["/healthz", "first", "It's one.", "application/json", "nothing"] {
            assert!(is_plain(text), "{text:?}");
        }
    }

    #[test]
    fn maps_and_lists_nest() {
        let value = json!({"b": {"x": [], "w": [1, {"k": "v", "l": [true]}, [2, 3]]}, "a": null, "z": "first"});
        let yaml = "z: first\na: null\nb:\n  w:\n    - 1\n    - k: v\n      l:\n        - true\n    - - 2\n      - 3\n  x: []\n";
        assert_eq!(document(&value, &["z"]), yaml);
    }
}
