//! What somebody looks for in a list.

use std::str::FromStr;

/// Why a text cannot be looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 100 characters and no control characters")]
pub struct SearchTextError;

/// A part of a text: 1 to 100 characters, no control characters, the space around it left out. No character stands for
/// another, but `a` to `z` stand for `A` to `Z` and the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In small letters as far as they are ASCII, to be looked for in a text of such.
    pub fn in_small_letters(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Whether it is a part of `text`.
    pub fn is_in(&self, text: &str) -> bool {
        text.to_ascii_lowercase().contains(&self.in_small_letters())
    }
}

impl FromStr for SearchText {
    type Err = SearchTextError;

    fn from_str(text: &str) -> Result<Self, SearchTextError> {
        let text = text.trim();
        let length = text.chars().count();
        if (1..=100).contains(&length) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SearchTextError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_1_to_100_characters_without_control_characters() {
        assert_eq!(" Zoë's 100% ".parse::<SearchText>().unwrap().as_str(), "Zoë's 100%");
        assert!("ß".repeat(100).parse::<SearchText>().is_ok());
        for bad in ["", "  ", "a\nb", "\0", &"ß".repeat(101)] {
            assert_eq!(bad.parse::<SearchText>(), Err(SearchTextError), "{bad:?}");
        }
    }

    #[test]
    fn only_ascii_letters_are_taken_for_each_other() {
        let search = |text: &str| text.parse::<SearchText>().unwrap();
        assert!(search("SHOP").is_in("my-shop"));
        assert!(search("shop").is_in("My Shop"));
        assert!(search("É").is_in("CAFÉ") && !search("É").is_in("café"));
        assert!(!search("%").is_in("shop") && !search("s_op").is_in("shop"));
    }
}
