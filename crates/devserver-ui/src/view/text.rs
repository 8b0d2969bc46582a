//! Sentences in which something stands between backticks: a command, a setting, a path.

use serde::Serialize;

/// Code from this length on has a block of its own, so that it can be copied whole.
const LONG: usize = 100;

/// A piece of a sentence.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Piece {
    text: String,
    code: bool,
    /// Whether it is a command to be copied whole.
    is_command: bool,
}

impl Piece {
    /// Whether it is a command to be copied whole.
    pub(crate) fn is_command(&self) -> bool {
        self.is_command
    }

    fn words(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            code: false,
            is_command: false,
        }
    }

    fn code(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            code: true,
            is_command: text.len() >= LONG,
        }
    }
}

/// The pieces of a sentence.
pub(crate) fn prose(text: &str) -> Vec<Piece> {
    // An odd backtick begins nothing.
    let whole = text.matches('`').count().is_multiple_of(2);
    if !whole {
        return vec![Piece::words(text)];
    }
    let pieces = text.split('`').enumerate();
    let pieces = pieces.map(|(at, piece)| {
        if at % 2 == 1 {
            Piece::code(piece)
        } else {
            Piece::words(piece)
        }
    });
    pieces.filter(|piece| !piece.text.is_empty()).collect()
}

/// The pieces of a text that may hold this command, with or without backticks around it.
pub(crate) fn prose_with(text: &str, command: Option<&str>) -> Vec<Piece> {
    let Some((command, (before, after))) = command.and_then(|command| Some((command, text.split_once(command)?)))
    else {
        return prose(text);
    };
    let (before, after) = match (before.strip_suffix('`'), after.strip_prefix('`')) {
        (Some(before), Some(after)) => (before, after),
        _ => (before, after),
    };
    let mut pieces = prose(before.trim_end());
    pieces.push(Piece {
        is_command: true,
        ..Piece::code(command)
    });
    // The stop of the sentence that the command ended.
    let after = after.strip_prefix('.').unwrap_or(after);
    pieces.extend(prose(after.trim()));
    pieces
}

/// The text as a sentence: with a capital and a stop.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    let stop = if text.is_empty() || text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{}{}{stop}", first.unwrap_or_default(), chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_backticks_is_code() {
        assert_eq!(
            prose("Run `pressluft doctor`: it helps."),
            [
                Piece::words("Run "),
                Piece::code("pressluft doctor"),
                Piece::words(": it helps.")
            ]
        );
        assert_eq!(prose("a ` b"), [Piece::words("a ` b")]);
    }

    #[test]
    fn a_command_stands_alone_without_the_stop_of_its_sentence() {
        let command = |text| Piece {
            is_command: true,
            ..Piece::code(text)
        };
        let alone = [Piece::words("No login yet. Run:"), command("echo `a'b")];
        for text in ["No login yet. Run: `echo `a'b`.", "No login yet. Run: echo `a'b"] {
            assert_eq!(prose_with(text, Some("echo `a'b")), alone);
        }
        let [.., last] = &prose_with("Run `x` on it, then look again.", Some("x"))[..] else {
            panic!("nothing");
        };
        assert_eq!(*last, Piece::words("on it, then look again."));
        assert_eq!(prose_with("a `b`", Some("x")), prose("a `b`"));
        let long = "x".repeat(LONG);
        assert_eq!(prose(&format!("Run `{long}`")), [Piece::words("Run "), command(&long)]);
    }

    #[test]
    fn a_text_becomes_a_sentence() {
        assert_eq!(sentence(" set X, then restart"), "Set X, then restart.");
        assert_eq!(sentence("Done!"), "Done!");
        assert_eq!(sentence(""), "");
    }
}
