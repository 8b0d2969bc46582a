//! Sentences in which something stands between backticks: a command, a setting, a path.

use serde::Serialize;

/// A piece of a sentence.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Piece {
    text: String,
    code: bool,
}

/// The pieces of a sentence.
pub(crate) fn prose(text: &str) -> Vec<Piece> {
    // An odd backtick begins nothing.
    let whole = text.matches('`').count().is_multiple_of(2);
    if !whole {
        return vec![Piece {
            text: text.to_owned(),
            code: false,
        }];
    }
    let pieces = text.split('`').enumerate().map(|(at, piece)| Piece {
        text: piece.to_owned(),
        code: at % 2 == 1,
    });
    pieces.filter(|piece| !piece.text.is_empty()).collect()
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
        let piece = |text: &str, code| Piece {
            text: text.to_owned(),
            code,
        };
        assert_eq!(
            prose("Run `pressluft doctor`: it helps."),
            [
                piece("Run ", false),
                piece("pressluft doctor", true),
                piece(": it helps.", false)
            ]
        );
        assert_eq!(prose("a ` b"), [piece("a ` b", false)]);
    }

    #[test]
    fn a_text_becomes_a_sentence() {
        assert_eq!(sentence(" set X, then restart"), "Set X, then restart.");
        assert_eq!(sentence("Done!"), "Done!");
        assert_eq!(sentence(""), "");
    }
}
