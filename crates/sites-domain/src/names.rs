//! What people call sites and environments.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 100 characters and no control characters")]
pub struct SiteNameError;

/// A name for people, of a site or an environment: 1 to 100 characters, no control characters. It is the title of a new
/// WordPress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteName(String);

impl SiteName {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteName {
    type Err = SiteNameError;

    fn from_str(text: &str) -> Result<Self, SiteNameError> {
        let name = text.trim();
        let length = name.chars().count();
        if (1..=100).contains(&length) && !name.chars().any(char::is_control) {
            Ok(Self(name.to_owned()))
        } else {
            Err(SiteNameError)
        }
    }
}

impl TryFrom<String> for SiteName {
    type Error = SiteNameError;

    fn try_from(text: String) -> Result<Self, SiteNameError> {
        text.parse()
    }
}

impl From<SiteName> for String {
    fn from(name: SiteName) -> Self {
        name.0
    }
}

/// Why a text is not a slug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 63 lower-case letters, digits and single hyphens between them")]
pub struct SlugError;

/// A short name for programs: 1 to 63 of `a-z`, `0-9` and `-`, no hyphen at either end and none beside another. What
/// destroys a site or an environment is confirmed by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

impl Slug {
    /// The slug of every site's first environment.
    pub fn production() -> Self {
        Self("production".to_owned())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let words = text.split('-');
        let good = text.len() <= 63
            && words
                .into_iter()
                .all(|word| !word.is_empty() && word.bytes().all(plain));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(SlugError)
        }
    }
}

impl TryFrom<String> for Slug {
    type Error = SlugError;

    fn try_from(text: String) -> Result<Self, SlugError> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_words_of_letters_and_digits_with_single_hyphens_between() {
        let long = "a".repeat(63);
        for good in ["a", "shop", "shop-2", "0", &long] {
            assert_eq!(good.parse::<Slug>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(64);
        for bad in [
            "", "-", "-a", "a-", "a--b", "Shop", "shöp", "a b", "a_b", "a.b", "../x", &too_long,
        ] {
            assert_eq!(bad.parse::<Slug>(), Err(SlugError), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_any_text_of_1_to_100_characters_without_control_characters() {
        assert_eq!(" <b>Zoë's</b> ".parse::<SiteName>().unwrap().as_str(), "<b>Zoë's</b>");
        assert!("ß".repeat(100).parse::<SiteName>().is_ok());
        for bad in ["", "  ", "a\nb", "\0", &"ß".repeat(101)] {
            assert_eq!(bad.parse::<SiteName>(), Err(SiteNameError), "{bad:?}");
        }
    }
}
